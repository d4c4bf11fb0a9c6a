"""What a check before a switch is, and what it looks at."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from bluegreen.timeline import Colour
from pydantic import Field

from mwaactl import clock
from mwaactl.airflow.models import Dag
from mwaactl.checks.observation import Observation
from mwaactl.json_model import Instant, Model

Result = Literal["pass", "warn", "fail", "not checked"]
Outcome = tuple[Result, str]
NAMED = 5  # how many names are listed before the rest is counted


class Check(Model):
    """One check's outcome. A failure that was overridden by name stays a failure, with `forced`.

    "warn" is for the operator to know: it does not stop a switch.
    """

    name: str
    result: Result
    detail: str
    forced: bool = False

    @property
    def stops(self) -> bool:
        return self.result == "fail" and not self.forced


class FileComparison(Model):
    """The DAG files that are not the same on both sides, by name below the DAGs folder."""

    only_target: tuple[str, ...] = ()
    only_source: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    same: int = 0


class GateProof(Model):
    """Scheduled runs on the target that the other side owned."""

    skipped: int = 0
    executed: tuple[tuple[str, str], ...] = ()  # DAG id, run id


class Tie(Model):
    """What makes one DAG depend on another; `other` is None where it could not be found out."""

    dag_id: str
    other: str | None
    how: str


class Evidence(Model):
    """What took a second look, with the reasons for what was not looked at by field."""

    files: FileComparison | None = None
    gate: GateProof | None = None
    waiting: dict[str, tuple[str, ...]] | None = None  # DAG id -> assets, on the source
    split: tuple[Tie, ...] | None = None  # between DAGs that would be executed on different sides
    fenced: bool | None = None  # whether the target may not reach AWS since a failover
    not_checked: dict[str, str] = Field(default_factory=dict)

    def why_not(self, field: str) -> str:
        return self.not_checked.get(field, "it was not looked at")


class Sides(Model):
    """What the checks look at; `source` is None where the stack has no other environment."""

    target: Observation
    source: Observation | None
    dags: tuple[str, ...] = ()  # the DAGs that are to move alone; none: all move
    settled: frozenset[str] = frozenset()  # DAGs that the target owns, or is decided to own
    now: Instant = Field(default_factory=lambda: clock.now())  # by AWS's clock, after looking
    evidence: Evidence = Evidence()
    serial: frozenset[str] | None = None  # DAGs known by their tasks to be serial (mwaactl.switching.serial)

    def moving(self, dag_id: str) -> bool:
        """Whether the switch concerns the DAG."""
        return dag_id not in self.settled and (not self.dags or dag_id in self.dags)


def dags_of_both(sides: Sides) -> tuple[tuple[Mapping[str, Dag], Mapping[str, Dag]] | None, str]:
    """The target's and the source's DAGs, or the reason why they cannot be compared."""
    for side in (sides.target, sides.source):
        if side is not None and side.dags is None:
            return None, side.not_checked["dags"]
    if sides.source is None or sides.source.dags is None or sides.target.dags is None:
        return None, NO_OTHER
    return (sides.target.dags, sides.source.dags), ""


NO_OTHER = "the stack has no other environment to compare with"


def colour_of(side: Observation | None) -> Colour | str:
    return side.colour if side is not None else "the other side"


def listed(names: Collection[str]) -> str:
    """The names in order, the first few of many: "a, b, c, d, e and 2 more"."""
    first = ", ".join(sorted(names)[:NAMED])
    return first if len(names) <= NAMED else f"{first} and {len(names) - NAMED} more"
