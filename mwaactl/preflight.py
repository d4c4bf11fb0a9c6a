"""The checks before a switch. Each has a name; one that fails stops the switch before anything is written.

A check is a function of what was seen of both sides. One that has no answer is `not checked`: shown, but no
hindrance, since the side that the work leaves may be the one that is broken. That the target cannot be
asked is itself a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal

from mwaactl.airflow_models import Dag
from mwaactl.errors import UsageError
from mwaactl.model import Model
from mwaactl.observe import Observation
from mwaactl.stack import Colour

Result = Literal["pass", "fail", "not checked"]
NAMED = 5  # how many names are listed before the rest is counted


class Check(Model):
    """One check's outcome. A failure that was overridden by name stays a failure, with `forced`."""

    name: str
    result: Result
    detail: str
    forced: bool = False

    @property
    def stops(self) -> bool:
        return self.result == "fail" and not self.forced


class Sides(Model):
    """What the checks look at; `source` is None where the stack has no other environment."""

    target: Observation
    source: Observation | None
    dags: tuple[str, ...] = ()  # the DAGs that are to move alone; none: all move


Outcome = tuple[Result, str]


def _available(sides: Sides) -> Outcome:
    target = sides.target
    if target.status is None:
        return "fail", target.not_checked["status"]
    if target.status != "AVAILABLE":
        return "fail", f"{target.name} is {target.status}: wait until it is AVAILABLE"
    return "pass", f"{target.name} is AVAILABLE"


def _api(sides: Sides) -> Outcome:
    target = sides.target
    reason = next(
        (target.not_checked[field] for field in ("scheduler", "dags") if field in target.not_checked), None
    )
    if reason is not None:
        return "fail", reason
    return "pass", f"Airflow {target.airflow_version} answers"


def _scheduler(sides: Sides) -> Outcome:
    target = sides.target
    if target.scheduler is None:
        return "not checked", target.not_checked["scheduler"]
    if target.scheduler != "healthy":
        return "fail", f"Airflow says that {target.name}'s scheduler is {target.scheduler}"
    return "pass", "its heartbeat is fresh"


def _imports(sides: Sides) -> Outcome:
    errors = sides.target.import_errors
    if errors is None:
        return "not checked", sides.target.not_checked["import_errors"]
    if errors:
        first = errors[0]
        return "fail", f"{len(errors)} on {sides.target.name}, first {first.file}: {first.message}"
    return "pass", "none"


def _same_dags(sides: Sides) -> Outcome:
    dags, missing = _dags_of_both(sides)
    if dags is None:
        return "not checked", missing
    target, source = dags
    parts = [
        f"only on {where}: {listed(only)}"
        for where, only in (
            (sides.target.colour, target.keys() - source.keys()),
            (_colour(sides.source), source.keys() - target.keys()),
        )
        if only
    ]
    if parts:
        return "fail", "; ".join(parts) + ". Upload one directory to both: mwaactl dags push"
    return "pass", f"{len(target)} DAGs on both sides"


def _pause_state(sides: Sides) -> Outcome:
    dags, missing = _dags_of_both(sides)
    if dags is None:
        return "not checked", missing
    target, source = dags
    parts = _paused_on_one(sides, target, source)
    if parts:
        return "fail", "; ".join(parts)
    return "pass", f"{sum(dag.paused for dag in target.values())} paused on both sides"


def _moving_dags(sides: Sides) -> Outcome | None:
    """Stricter than the two before for the DAGs that move alone: forcing those does not cover these."""
    if not sides.dags:
        return None
    named = set(sides.dags)
    parts = [
        f"not on {side.colour}: {listed(absent)}"
        for side in (sides.target, sides.source)
        if side is not None and side.dags is not None and (absent := named - side.dags.keys())
    ]
    dags, missing = _dags_of_both(sides)
    if dags is not None:
        target, source = ({name: side[name] for name in named & side.keys()} for side in dags)
        parts += _paused_on_one(sides, target, source)
    if parts:
        return "fail", "; ".join(parts)
    if dags is None:
        return "not checked", missing
    return "pass", f"on both sides, in the same pause state: {listed(named)}"


def _paused_on_one(sides: Sides, target: Mapping[str, Dag], source: Mapping[str, Dag]) -> list[str]:
    both = target.keys() & source.keys()
    differing = {dag_id for dag_id in both if target[dag_id].paused != source[dag_id].paused}
    return [
        f"paused on {where} only: {listed(names)}"
        for where, names in (
            (sides.target.colour, {dag_id for dag_id in differing if target[dag_id].paused}),
            (_colour(sides.source), {dag_id for dag_id in differing if source[dag_id].paused}),
        )
        if names
    ]


def _dags_of_both(sides: Sides) -> tuple[tuple[Mapping[str, Dag], Mapping[str, Dag]] | None, str]:
    for side in (sides.target, sides.source):
        if side is not None and side.dags is None:
            return None, side.not_checked["dags"]
    if sides.source is None or sides.source.dags is None or sides.target.dags is None:
        return None, "the stack has no other environment to compare with"
    return (sides.target.dags, sides.source.dags), ""


def _colour(side: Observation | None) -> Colour | str:
    return side.colour if side is not None else "the other side"


def listed(names: Collection[str]) -> str:
    """The names in order, the first few of many: "a, b, c, d, e and 2 more"."""
    first = ", ".join(sorted(names)[:NAMED])
    return first if len(names) <= NAMED else f"{first} and {len(names) - NAMED} more"


CHECKS: Mapping[str, Callable[[Sides], Outcome | None]] = {
    "target-available": _available,
    "target-api": _api,
    "target-scheduler": _scheduler,
    "import-errors": _imports,
    "same-dags": _same_dags,
    "pause-state": _pause_state,
    "moving-dags": _moving_dags,
}


def known(names: Iterable[str]) -> frozenset[str]:
    """The names of checks to override; UsageError if one is not a check's name."""
    chosen = frozenset(names)
    unknown = sorted(chosen - CHECKS.keys())
    if unknown:
        raise UsageError(f"--force: no check is called {', '.join(unknown)}. The checks: {', '.join(CHECKS)}")
    return chosen


def run_checks(sides: Sides, force: Collection[str] = ()) -> tuple[Check, ...]:
    """All checks that concern this switch, in the order in which they are shown."""
    done: list[Check] = []
    for name, check in CHECKS.items():
        outcome = check(sides)
        if outcome is None:
            continue
        result, detail = outcome
        before = next((other.name for other in done if other.detail == detail), None)
        if result == "not checked" and before is not None:
            detail = f"for the same reason as {before}"
        done.append(Check(name=name, result=result, detail=detail, forced=result == "fail" and name in force))
    return tuple(done)
