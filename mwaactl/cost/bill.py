"""A month's bill: what each resource costs, from its inputs, the assumed usage and the table of prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mwaactl.cost.charges import Usage, charges, unclassified
from mwaactl.cost.prices import Price
from mwaactl.cost.resources import Resource
from mwaactl.json_model import Model


class Line(Model):
    """One item of one resource; `price` and `usd` are None where the price is unknown."""

    area: str
    resource: str
    item: str
    quantity: float
    price: Price | None
    usd: float | None


class Bill(Model):
    """`usd`: the sum of the lines with a known price; `unknown`: the items, and types, that have none."""

    name: str
    region: str
    lines: tuple[Line, ...]
    usd: float
    unknown: tuple[str, ...]

    @property
    def total(self) -> str:
        """`$835`, or the known part."""
        return f"more than ${self.usd:,.0f}" if self.unknown else f"${self.usd:,.0f}"


def bill(
    name: str, region: str, resources: Sequence[Resource], usage: Usage, prices: Mapping[str, Price]
) -> Bill:
    """The bill of these resources; `prices`: the region's part of the table."""
    lines = []
    for charge in charges(resources, usage):
        price = prices.get(charge.item)
        lines.append(
            Line(
                area=charge.area,
                resource=charge.resource,
                item=charge.item,
                quantity=charge.quantity,
                price=price,
                usd=None if price is None else charge.quantity * price.usd,
            )
        )
    unknown = {line.item for line in lines if line.usd is None}
    return Bill(
        name=name,
        region=region,
        lines=tuple(lines),
        usd=sum(line.usd for line in lines if line.usd is not None),
        unknown=(*sorted(unknown), *unclassified(resources)),
    )
