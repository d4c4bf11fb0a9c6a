"""The checks of runs: what the gate skipped, which runs come next, and which DAGs depend on each other."""

from __future__ import annotations

import re
from datetime import timedelta

from mwaactl.airflow.models import Dag
from mwaactl.checks.outcome import NO_OTHER, Outcome, Sides, colour_of, counted, listed, of_both
from mwaactl.json_model import iso

GRACE = timedelta(seconds=60)  # for the scheduler to create a run that is due
# An instant at least this far ahead is certainly the next one on both sides, although they are observed one
# after the other and their clocks differ.
AHEAD = timedelta(seconds=10)
PERIOD = re.compile(
    r"(?:(?P<days>-?\d+) days?, )?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d+)?)"
)


def next_runs(sides: Sides) -> Outcome:
    target = sides.target
    if target.dags is None:
        return "not checked", target.not_checked["dags"]
    next_due = {
        dag.dag_id: dag.next_due
        for dag in target.dags.values()
        if not dag.paused and dag.next_due is not None and sides.moving(dag.dag_id)
    }
    late = {dag_id: due for dag_id, due in next_due.items() if due < sides.now - GRACE}
    if late:
        oldest = min(late.values())
        return "fail", (
            f"{target.colour} has not created runs that have been due since {iso(oldest)}: {listed(late)}. A "
            "new environment with catchup=True is still creating (and skipping) its history: wait until it "
            "has caught up"
        )
    return "pass", f"in the future for {counted(len(next_due), 'DAG')}"


def same_instants(sides: Sides) -> Outcome:
    dags = of_both(sides, "dags", lambda side: side.dags)
    if isinstance(dags, str):
        return "not checked", dags
    target, source = dags
    both = sorted(dag_id for dag_id in target.keys() & source.keys() if sides.moving(dag_id))
    active = [dag_id for dag_id in both if not (target[dag_id].paused or source[dag_id].paused)]
    names = [
        f"{dag_id} ({difference})"
        for dag_id in active
        if (difference := _different_instants(sides, target[dag_id], source[dag_id]))
    ]
    if names:
        return "warn", (
            f"due at different instants on each side: {listed(names)}. Each instant has one owner, but "
            "around the switch a run may come early, late or not at all: use cron or "
            "DeltaDataIntervalTimetable"
        )
    return "pass", f"no difference known for {counted(len(active), 'DAG')}"


def _different_instants(sides: Sides, target: Dag, source: Dag) -> str | None:
    """Evidence that the two sides have different due instants; None if there is none."""
    if "@continuous" in (target.schedule, source.schedule):
        return "@continuous"
    on_target, on_source = target.next_due, source.next_due
    if on_target is None or on_source is None:
        return None
    if min(on_target, on_source) > sides.now + AHEAD:
        if on_target == on_source:  # a schedule has only one next instant
            return None
        here, there = sides.target.colour, colour_of(sides.source)
        return f"next on {here} at {iso(on_target)}, on {there} at {iso(on_source)}"
    period = _period(target.schedule)
    if period and period == _period(source.schedule) and (on_target - on_source) % period:
        return f"every {target.schedule}, but out of phase"
    return None


def _period(schedule: str | None) -> timedelta | None:
    """The period of a schedule that is a bare timedelta: "0:05:00", "1 day, 0:00:00"."""
    match = PERIOD.fullmatch(schedule or "")
    if match is None:
        return None
    return timedelta(**{unit: float(number or 0) for unit, number in match.groupdict().items()})


def asset_events(sides: Sides) -> Outcome:
    waiting = sides.evidence.waiting_assets
    if sides.source is None:
        return "not checked", NO_OTHER
    if waiting is None:
        return "not checked", sides.evidence.why_not("waiting_assets")
    if waiting:
        names = [f"{dag_id} ({listed(assets)})" for dag_id, assets in waiting.items()]
        return "fail", (
            f"on {sides.source.colour}, asset events wait for the rest of their DAG's condition, which may "
            f"arrive on {sides.target.colour}: {listed(names)}. Wait until these DAGs have run, or add "
            "--force asset-events"
        )
    return "pass", f"no event on {sides.source.colour} waits for the rest of its DAG's condition"


def cross_dag(sides: Sides) -> Outcome | None:
    if not sides.dags:
        return None
    dependencies = sides.evidence.cut_dependencies
    if dependencies is None:
        return "not checked", sides.evidence.why_not("cut_dependencies")
    cut = [f"{each.dag_id} {each.relation} {each.other}" for each in dependencies if each.other is not None]
    if cut:
        return "fail", (
            f"these would be on different sides: {listed(cut)}. Move them together: repeat --dag for each DAG"
        )
    unknown = [f"{each.dag_id} ({each.relation})" for each in dependencies]
    if unknown:
        return "warn", f"unknown until the first run, which DAG it depends on: {listed(unknown)}"
    return "pass", "no dependency between DAGs is cut"
