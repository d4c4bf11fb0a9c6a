"""What the screens share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bluegreen.timeline import from_the_beginning
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl.checks.outcome import Check
from mwaactl.checks.ungated import UngatedExecution
from mwaactl.json_model import iso

SHOWN = 10  # rows of a listing; the rest is only counted
MARKS = {
    "pass": ("✓", "green"),
    "warn": ("!", "yellow"),
    "fail": ("✗", "red"),
    "not checked": ("?", "yellow"),
}


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    if not checks:
        return
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for check in checks:
        mark, colour = MARKS[check.result]
        result = f"{check.result}, forced" if check.forced else check.result
        table.add_row(
            Text(f"  {mark}", style=colour),
            check.name,
            Text(result, style=colour),
            Text(check.detail, overflow="fold"),
        )
    console.print(table)


def print_note(console: Console, text: str) -> None:
    console.print(f"[yellow]Note:[/] {escape(text)}", highlight=False, soft_wrap=True)


def show_ungated(console: Console, executions: Sequence[UngatedExecution], shown: int = SHOWN) -> None:
    """The executions that no gate judged."""
    for execution in executions[:shown]:
        line = f"Executed without a gate, {iso(execution.at)}: {execution}"
        console.print(Text(line, style="red"), soft_wrap=True)
    for more in remainder(executions, shown):
        console.print(more, highlight=False)


def remainder(items: Sequence[object], shown: int = SHOWN) -> list[str]:
    """The last line of a listing that shows the first `shown` items."""
    return [f"and {len(items) - shown} more (--json shows all)"] if len(items) > shown else []


def since_text(since: datetime) -> str:
    return "since the beginning" if from_the_beginning(since) else f"since {iso(since)}"
