"""A month's bill: what each resource costs, from its inputs, the assumed usage and the table of prices."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from mwaactl.cost.charges import Usage, assumptions, charges, unclassified
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
    """`usd`: the sum of the lines with a known price.

    `unknown`: the quantity of each item, and the number of resources of each type, without one.
    `assumptions`: the fields of the usage that it depends on.
    """

    name: str
    region: str
    lines: tuple[Line, ...]
    usd: float
    unknown: Mapping[str, float]
    assumptions: tuple[str, ...]

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
    unknown: dict[str, float] = dict(Counter(unclassified(resources)))
    for line in lines:
        if line.price is None:
            unknown[line.item] = unknown.get(line.item, 0) + line.quantity
    return Bill(
        name=name,
        region=region,
        lines=tuple(lines),
        usd=sum(line.usd for line in lines if line.usd is not None),
        unknown=dict(sorted(unknown.items())),
        assumptions=assumptions(resources, usage),
    )


def difference(before: Bill, after: Bill) -> float | None:
    """USD a month from one bill to another; None unless what has no price is the same in both."""
    same = before.unknown.keys() == after.unknown.keys() and all(
        math.isclose(quantity, after.unknown[item]) for item, quantity in before.unknown.items()
    )
    return after.usd - before.usd if same else None
