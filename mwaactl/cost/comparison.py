"""Bills of modes, or of a stack before and after a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mwaactl.cost.bill import Bill, bill, difference
from mwaactl.cost.charges import Usage
from mwaactl.cost.levers import Lever, Saving, levers_of
from mwaactl.cost.prices import Table
from mwaactl.cost.program import (
    REGION,
    Settings,
    answered,
    deployed,
    overrides,
    registered,
    settings_of_stack,
)
from mwaactl.cost.resources import Resource
from mwaactl.errors import UsageError
from mwaactl.json_model import Model

DEFAULT_REGION = "us-east-1"
LEAST_USD = 0.005  # a month; what saves less saves nothing


class Bills(Model):
    """What `mwaactl cost` prints. `is_change`: each bill is that of the one before it with other settings.

    `steps`: USD a month from each bill of a change to the next; None where it depends on an unknown price.
    `difference`: likewise, from the first to the last.
    `savings`: what each lever saves of the last bill; only for a single mode or stack.
    """

    region: str
    usage: Usage
    bills: tuple[Bill, ...]
    is_change: bool = False
    steps: tuple[float | None, ...] = ()
    difference: float | None = None
    savings: tuple[Saving, ...] = ()


@dataclass(frozen=True)
class Question:
    """What bills are made for. `region` None: that of the settings."""

    folder: Path
    usage: Usage
    table: Table
    region: str | None = None
    changes: Mapping[str, str] | None = None

    def of_modes(self, modes: Sequence[str]) -> Bills:
        """The bills of modes with the settings of their stack files; of one mode, with what would save."""
        region = self.region or DEFAULT_REGION
        plain = [Settings(mode, changes={REGION: region}) for mode in modes]
        if len(modes) == 1:
            return self._of_one(modes[0], None, plain[0], region)
        runs = [each.changed(self.changes or {}) for each in plain]
        found = registered(self.folder, runs)
        bills = [self._bill(mode, region, resources) for mode, resources in zip(modes, found, strict=True)]
        return Bills(region=region, usage=self.usage, bills=tuple(bills))

    def of_stack(self, stack: str) -> Bills:
        """The bills of a stack as it is deployed, as its settings would make it, and with the changes."""
        settings = settings_of_stack(stack, self.folder)
        region = self.region or (settings.config or {}).get(REGION) or DEFAULT_REGION
        return self._of_one(stack, deployed(stack, self.folder), settings.changed({REGION: region}), region)

    def _of_one(
        self, name: str, present: Sequence[Resource] | None, settings: Settings, region: str
    ) -> Bills:
        """`present`: what is deployed; None for a mode."""
        wanted = settings.changed(self.changes or {})
        unchanged = f"{name}, settings" if present else name
        runs = {unchanged: settings} | ({f"{name}, changed": wanted} if self.changes else {})
        columns: dict[str, Sequence[Resource]] = dict(
            zip(runs, registered(self.folder, [*runs.values()]), strict=True)
        )
        *_, after = columns.values()
        levers = levers_of(after, overrides(wanted, self.folder))
        if present:
            columns = {f"{name}, deployed": present, **columns}
        bills = [self._bill(label, region, resources) for label, resources in columns.items()]
        last = bills[-1]
        return Bills(
            region=region,
            usage=self.usage,
            bills=tuple(bills),
            is_change=len(bills) > 1,
            steps=tuple(difference(before, later) for before, later in pairwise(bills)),
            difference=difference(bills[0], last) if len(bills) > 1 else None,
            savings=self._savings(levers, wanted, last),
        )

    def _savings(self, levers: Sequence[Lever], settings: Settings, present: Bill) -> tuple[Saving, ...]:
        """What each lever saves: the bill of the program with its settings beside the present one.

        Without those that the program refuses, and those that save nothing.
        """
        found = answered(self.folder, [settings.changed(each.changes) for each in levers])
        savings = []
        for lever, resources in zip(levers, found, strict=True):
            if isinstance(resources, UsageError):
                continue
            after = self._bill(lever.what, present.region, resources)
            usd = difference(after, present)
            if usd is None or usd >= LEAST_USD:
                savings.append(Saving(what=lever.what, how=lever.how, costs=lever.costs, usd=usd))
        return tuple(sorted(savings, key=lambda each: -(each.usd or 0)))

    def _bill(self, name: str, region: str, resources: Sequence[Resource]) -> Bill:
        return bill(name, region, resources, self.usage, self.table.prices(region))
