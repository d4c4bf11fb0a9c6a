"""The checks before a switch. Each has a name; one that fails stops the switch before anything is written.

A check is a function of what was seen of both sides. One that has no answer is `not checked`: shown, but no
hindrance, since the side that the work leaves may be the one that is broken. That the target cannot be
asked is itself a failure. One that warns tells what the operator should know.

| check | fails if (warns if) |
|---|---|
| target-available | Amazon does not call the target AVAILABLE |
| target-api | Airflow on the target does not answer, though its web server is not private |
| target-scheduler | its heartbeat is old or missing, by this machine's or AWS's clock |
| import-errors | the target cannot import a DAG file |
| same-dags | a DAG is on one side only |
| same-files | a DAG file is in one bucket only, or has another content |
| pause-state | a DAG is paused on one side only |
| pools | the target lacks a pool of the source, or has it in another size |
| variables | variables in Airflow's own database differ (warns: they are equal now) |
| connections | one is in one database only (warns: on both, contents unknown) |
| gate | the target executed a scheduled run that the other side owned |
| fenced | the target is fenced since a failover (`mwaactl unfence`) |
| next-runs | a run on the target is due for more than a minute and not made |
| same-instants | (warns: a DAG's due instants differ between the sides) |
| asset-events | events on the source wait for the others of their DAG's condition |
| serial-dags | the source cannot be asked whether DAGs run there that must not overlap themselves |
| moving-dags | with `--dag`: one of them is not on both sides in the same pause state |
| cross-dag | with `--dag`: DAGs that depend on each other would be on different sides |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

from bluegreen.timeline import Colour, Timeline

from mwaactl import clock
from mwaactl.airflow.client import AirflowApi
from mwaactl.checks import both_sides as checks_sides
from mwaactl.checks import fenced, serial
from mwaactl.checks import runs as checks_runs
from mwaactl.checks.evidence import gather
from mwaactl.checks.observation import Observation, observe
from mwaactl.checks.outcome import Check, Outcome, Sides
from mwaactl.deployment import Deployment
from mwaactl.errors import UsageError
from mwaactl.ownership.reading import newest_owner

CHECKS: Mapping[str, Callable[[Sides], Outcome | None]] = {
    "target-available": checks_sides.available,
    "target-api": checks_sides.api,
    "target-scheduler": checks_sides.scheduler,
    "import-errors": checks_sides.imports,
    "same-dags": checks_sides.same_dags,
    "same-files": checks_sides.same_files,
    "pause-state": checks_sides.pause_state,
    "pools": checks_sides.pools,
    "variables": checks_sides.variables,
    "connections": checks_sides.connections,
    "gate": checks_runs.gate,
    "fenced": fenced.check,
    "next-runs": checks_runs.next_runs,
    "same-instants": checks_runs.same_instants,
    "asset-events": checks_runs.asset_events,
    "moving-dags": checks_sides.moving_dags,
    "cross-dag": checks_runs.cross_dag,
    serial.CHECK: serial.check,
}


def preflight(
    deployment: Deployment,
    target: Colour,
    timeline: Timeline | None,
    *,
    dags: tuple[str, ...] = (),
    force: Collection[str] = (),
    now: Callable[[], datetime] | None = None,
) -> tuple[Check, ...]:
    """Look at both sides (`look`) and make all checks of a switch to `target`."""
    return run_checks(look(deployment, target, timeline, dags=dags, now=now), force)


def look(
    deployment: Deployment,
    target: Colour,
    timeline: Timeline | None,
    *,
    dags: tuple[str, ...] = (),
    now: Callable[[], datetime] | None = None,
    apis: Mapping[Colour, AirflowApi] | None = None,
    seen: Mapping[Colour, Observation] | None = None,
    thorough: bool = True,
) -> Sides:
    """See all that the checks of a switch to `target` (of `dags` alone, if any are named) need.

    `timeline` is the ownership as Airflow applies it, None if it cannot be read; `now` tells AWS's time
    (None: this machine's); `apis` and `seen` are what the caller has already. Not `thorough`: without the
    questions that take a call per DAG. What cannot be reached is no error here, but not checked. Raises
    UsageError if the stack has no such environment.
    """
    deployment.stack.require(target)
    apis = apis or {colour: deployment.airflow(colour) for colour in deployment.stack.airflow_environments}
    seen = seen or observe(deployment, apis=apis)
    evidence = gather(deployment, seen, apis, target, timeline, dags, thorough=thorough)
    return Sides(
        target=seen[target],
        source=next((observation for colour, observation in seen.items() if colour != target), None),
        dags=dags,
        settled=_settled(timeline, target, seen),
        now=(now or clock.now)(),
        evidence=evidence,
    )


def _settled(timeline: Timeline | None, target: Colour, seen: Mapping[Colour, Observation]) -> frozenset[str]:
    if timeline is None:
        return frozenset()
    known_dags = {dag_id for side in seen.values() for dag_id in side.dags or ()}
    return frozenset(dag_id for dag_id in known_dags if newest_owner(timeline, dag_id) == target)


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
