"""How bills look: one resource by resource, several item by item side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mwaactl.cost.bill import Bill, Line
from mwaactl.cost.comparison import Bills
from mwaactl.cost.prices import Price
from mwaactl.screens.common import print_note

AREAS = ("airflow", "marquez", "network", "monitoring", "other", "usage")
NOT_INCLUDED = (
    "Not included: S3 storage and requests other than those of lineage events, data that leaves AWS, "
    "requests to KMS and Parameter Store, Airflow's own metrics, backups, taxes. "
    "Free tiers are not subtracted."
)


def show_bills(console: Console, result: Bills) -> None:
    console.print(f"USD a month, {result.region}", highlight=False)
    console.print(_alone(result.bills[0]) if len(result.bills) == 1 else _beside(result.bills))
    for bill in result.bills:
        if bill.unknown:
            print_note(
                console,
                f"{bill.name}: no price is known in {bill.region} of {', '.join(bill.unknown)}. "
                f"Read AWS's price list: mwaactl cost --update --region {bill.region}",
            )
        if result.usage.workers and "workers" not in bill.assumptions:
            print_note(console, f"{bill.name}: mw1.micro has one worker, so --workers adds none there.")
    if result.is_change:
        _show_change(console, result)
    if result.savings:
        console.print("\nWhat would save, each by itself:", highlight=False)
        console.print(_savings(result))
    usage = ", ".join(
        f"--{key.replace('_', '-')} {'minimum' if value is None else f'{value:g}'}"
        for key, value in result.usage.model_dump().items()
        if any(key in bill.assumptions for bill in result.bills)
    )
    console.print(f"\nAssumed: {usage}.\n{NOT_INCLUDED}", highlight=False, soft_wrap=True)


def _show_change(console: Console, result: Bills) -> None:
    if len(result.steps) > 1:
        for before, after, usd in zip(result.bills, result.bills[1:], result.steps, strict=False):
            text = f"From {before.name!r} to {after.name!r}: {_more(usd)} a month"
            console.print(escape(text), highlight=False)
    console.print(f"The change: {_more(result.difference)} a month", highlight=False)


def _more(usd: float | None) -> str:
    return "unknown" if usd is None else f"{usd:+,.2f}"


def bills_csv(result: Bills) -> str:
    """One line for each line of each bill, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "bill",
            "region",
            "area",
            "resource",
            "item",
            "quantity",
            "unit",
            "unit_usd",
            "usd",
            "source",
            "date",
        ]
    )
    for bill in result.bills:
        for line in _sorted(bill.lines):
            price = line.price
            rest = (
                ["", "", "unknown", "", ""]
                if price is None or line.usd is None
                else [price.unit, price.usd, round(line.usd, 4), price.source.name, price.source.date]
            )
            row = [bill.name, bill.region, line.area, line.resource, line.item, round(line.quantity, 4)]
            writer.writerow([*row, *rest])
    return text.getvalue()


def _table(*columns: str) -> Table:
    """Columns that begin with `#` are right-aligned."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            escape(column.removeprefix("#")), justify="right" if column.startswith("#") else "left"
        )
    return table


def _sorted(lines: Sequence[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (AREAS.index(line.area), -(line.usd or 0), line.item))


def _alone(bill: Bill) -> Table:
    table = _table("part", "resource", "item", "#quantity", "unit price", "#USD", "source")
    for line in _sorted(bill.lines):
        table.add_row(
            line.area,
            escape(line.resource),
            line.item,
            f"{line.quantity:,g}",
            _unit(line.price),
            _usd(line.usd),
            _source(line.price),
        )
    table.add_row("", "", "total", "", "", bill.total)
    return table


def _beside(bills: Sequence[Bill]) -> Table:
    """A row per part and item; each bill with quantity and USD."""
    table = _table("part", "item", "unit price", *(f"#{bill.name}" for bill in bills), "source")
    prices: dict[tuple[str, str], Price | None] = {}
    for bill in bills:
        for line in _sorted(bill.lines):
            prices.setdefault((line.area, line.item), line.price)
    for area, item in sorted(prices, key=lambda row: AREAS.index(row[0])):
        cells = [
            _cell([line for line in bill.lines if (line.area, line.item) == (area, item)]) for bill in bills
        ]
        price = prices[area, item]
        table.add_row(area, item, _unit(price), *cells, _source(price))
    table.add_row("", "total", "", *(bill.total for bill in bills))
    return table


def _cell(lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    quantity = sum(line.quantity for line in lines)
    known = [line.usd for line in lines if line.usd is not None]
    return f"{quantity:,g} = {_usd(sum(known) if known else None)}"


def _unit(price: Price | None) -> str:
    return "unknown" if price is None else f"{price.usd:g} per {price.unit}"


def _source(price: Price | None) -> str:
    return "" if price is None else f"{escape(price.source.name)}, {price.source.date}"


def _usd(usd: float | None) -> str:
    return "unknown" if usd is None else f"{usd:,.2f}"


def _savings(result: Bills) -> Table:
    table = _table("#USD a month", "what", "how", "what it costs you")
    for saving in result.savings:
        table.add_row(
            _usd(saving.usd), escape(saving.what), escape(", ".join(saving.how)), escape(saving.costs)
        )
    return table
