"""The outcome of a check before a switch, what the checks compare, and how they word it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal, TypeVar

from bluegreen.timeline import Colour
from pydantic import Field

from mwaactl import clock
from mwaactl.checks.observation import Observation
from mwaactl.checks.probe import SideProof
from mwaactl.checks.ungated import UngatedExecution
from mwaactl.errors import CheckFailed
from mwaactl.json_model import Instant, Model

Result = Literal["pass", "warn", "fail", "not checked"]
Outcome = tuple[Result, str]
_T = TypeVar("_T")
NO_OTHER = "the stack has no other environment to compare with"
NAMED = 5  # how many names are listed before the rest is counted


class Check(Model):
    """One check's outcome. A failure that was overridden by name stays a failure, with `forced`.

    "warn" informs the operator and does not stop a switch.
    """

    name: str
    result: Result
    detail: str
    forced: bool = False

    @property
    def stops(self) -> bool:
        return self.result == "fail" and not self.forced


def checks_failed(checks: Iterable[Check], stands: str = "nothing was written") -> CheckFailed | None:
    """The error for a command that its checks stop, with what it left as it was; None if they do not."""
    failed = [check.name for check in checks if check.stops]
    if not failed:
        return None
    return CheckFailed(
        f"{stands}: {', '.join(failed)} failed. Fix the cause, or override with "
        + " ".join(f"--force {name}" for name in failed)
    )


class FileComparison(Model):
    """The DAG files that differ between the sides, by name below the DAGs folder."""

    only_target: tuple[str, ...] = ()
    only_source: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    same: int = 0
    unfinished: str | None = None  # a push of DAGs that has not ended


class PluginsComparison(Model):
    """Whether both sides have the same plugins.zip; `missing`: the sides that have none."""

    same: bool
    missing: tuple[Colour, ...] = ()


class GateProof(Model):
    """What shows whether the gates of both sides work."""

    skipped: int = 0  # scheduled runs on the target that the other side owned
    executed: tuple[tuple[str, Instant], ...] = ()  # of them: DAG id, due instant (ids differ by version)
    sides: dict[Colour, SideProof] = Field(default_factory=dict)  # by the probe
    ungated: tuple[UngatedExecution, ...] = ()  # of late, on either side
    unknown: str | None = None  # why it is not known whether there are ungated executions
    by_probes_only: str = ""  # why no other execution can show it


class Dependency(Model):
    """The dependency of one DAG on another; `other` is None while no run has named it."""

    dag_id: str
    other: str | None
    relation: str  # "waits for", "triggers", ...


class Evidence(Model):
    """What takes further calls; `not_checked` has the reason for each missing field."""

    files: FileComparison | None = None
    gate: GateProof | None = None
    plugins: PluginsComparison | None = None
    # On the source, and on the target, the assets whose event waits for the rest of a DAG's condition, by
    # DAG id.
    waiting_assets: dict[str, tuple[str, ...]] | None = None
    left_assets: dict[str, tuple[str, ...]] | None = None
    # On the source, the number of cleared runs that have yet to start, by DAG id.
    cleared_runs: dict[str, int] | None = None
    # Between DAGs that would be executed on different sides.
    cut_dependencies: tuple[Dependency, ...] | None = None
    # Whether a failover has cut the target off from AWS.
    fenced: bool | None = None
    not_checked: dict[str, str] = Field(default_factory=dict)

    def why_not(self, field: str) -> str:
        return self.not_checked.get(field, "it was not observed")


class Sides(Model):
    """What the checks compare; `source` is None where the stack has no other environment."""

    target: Observation
    source: Observation | None
    dags: tuple[str, ...] = ()  # the DAGs that are to move alone; none: all move
    settled: frozenset[str] = frozenset()  # DAGs that the target owns, or will own by a decision
    now: Instant = Field(default_factory=lambda: clock.now())  # by AWS's clock, after the observation
    evidence: Evidence = Evidence()
    serial: frozenset[str] | None = None  # DAGs whose tasks make them serial (mwaactl.switching.held_dags)

    def moving(self, dag_id: str) -> bool:
        """Whether the switch concerns the DAG."""
        return dag_id not in self.settled and (not self.dags or dag_id in self.dags)


def of_both(sides: Sides, field: str, value: Callable[[Observation], _T | None]) -> tuple[_T, _T] | str:
    """The target's and the source's `value` of a field, or the reason why they cannot be compared."""
    target, source = value(sides.target), value(sides.source) if sides.source is not None else None
    if target is not None and source is not None:
        return target, source
    both = (side for side in (sides.target, sides.source) if side is not None)
    return next((side.not_checked[field] for side in both if field in side.not_checked), NO_OTHER)


def colour_of(side: Observation | None) -> Colour | str:
    return side.colour if side is not None else "the other side"


def differences(groups: Mapping[str, Collection[str]]) -> str:
    """The groups that have names, as in "only on blue: a, b; only on green: c"; "" if none has."""
    return "; ".join(f"{title}: {listed(names)}" for title, names in groups.items() if names)


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 DAG", "2 DAGs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Collection[str]) -> str:
    """The names in order, the first few of many: "a, b, c, d, e and 2 more"."""
    first = ", ".join(sorted(names)[:NAMED])
    return first if len(names) <= NAMED else f"{first} and {len(names) - NAMED} more"
