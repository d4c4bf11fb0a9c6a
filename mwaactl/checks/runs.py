"""The checks of runs: what the gate skipped, which runs come next, and which DAGs depend on each other."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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
        dag.dag_id: dag.next_run_after
        for dag in target.dags.values()
        if not dag.paused and dag.next_run_after is not None and sides.moving(dag.dag_id)
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
    apart = {
        dag_id: difference
        for dag_id in active
        if (difference := _different_instants(sides, target[dag_id], source[dag_id]))
    }
    early = [dag_id for dag_id in active if _early_on_airflow_2(sides, target[dag_id], source[dag_id])]
    problems = []
    if apart:
        names = [f"{dag_id} ({difference})" for dag_id, difference in apart.items()]
        problems.append(
            "due at different instants on each side, so around the switch a run may come early, late or not "
            f"at all: {listed(names)}. Use cron, or a start_date that is a multiple of the timedelta since "
            "1970"
        )
    if early:
        problems.append(
            "runs start before their data interval ends, whose end is the only instant that Airflow 2 keeps, "
            f"so both sides or neither would execute them: {listed(early)}. Let the timetable's run_after be "
            "the interval's end or later"
        )
    if problems:
        return "fail", ". ".join(problems)
    if endless := [dag_id for dag_id in active if target[dag_id].endless]:
        return "warn", (
            f"@continuous, so due at different instants on each side: {listed(endless)}. Around the switch a "
            "run may come early or late"
        )
    return "pass", f"no difference known for {counted(len(active), 'DAG')}"


def _early_on_airflow_2(sides: Sides, target: Dag, source: Dag) -> bool:
    versions = [side.airflow_version for side in (sides.target, sides.source) if side is not None]
    return (target.early or source.early) and any(version.startswith("2.") for version in versions)


def _different_instants(sides: Sides, target: Dag, source: Dag) -> str | None:
    """Evidence that the two sides have different due instants; None if there is none."""
    if target.endless or source.endless:
        return None
    on_target, on_source = target.next_run_after, source.next_run_after
    if on_target is None or on_source is None:
        return None
    if min(on_target, on_source) > sides.now + AHEAD:
        if on_target == on_source and target.next_due == source.next_due:
            return None  # a schedule has only one next instant
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
    evidence = sides.evidence
    if sides.source is None:
        return "not checked", NO_OTHER
    here, there = sides.target.colour, sides.source.colour
    problems = []
    if evidence.waiting_assets:
        problems.append(
            f"on {there}, asset events wait, or will wait, for the rest of their DAG's condition, which may "
            f"arrive on {here}: {_by_dag(evidence.waiting_assets)}. Wait until these DAGs have run"
        )
    if evidence.left_assets:
        problems.append(
            f"on {here}, asset events are left from before, and the next one would complete the condition "
            f"with them: {_by_dag(evidence.left_assets)}. Delete them there with Airflow's REST API "
            "(docs/checks.md says how)"
        )
    if problems:
        return "fail", f"{'; '.join(problems)}, or add --force asset-events"
    for field, waiting in (
        ("waiting_assets", evidence.waiting_assets),
        ("left_assets", evidence.left_assets),
    ):
        if waiting is None:
            return "not checked", evidence.why_not(field)
    return "pass", f"no event on {here} or {there} waits for the rest of its DAG's condition"


def _by_dag(assets: Mapping[str, Collection[str]]) -> str:
    return listed([f"{dag_id} ({listed(names)})" for dag_id, names in assets.items()])


def cleared_runs(sides: Sides) -> Outcome:
    if sides.source is None:
        return "not checked", NO_OTHER
    cleared = sides.evidence.cleared_runs
    if cleared is None:
        return "not checked", sides.evidence.why_not("cleared_runs")
    counts = {dag_id: count for dag_id, count in cleared.items() if sides.moving(dag_id)}
    if counts:
        names = [f"{dag_id} ({count})" for dag_id, count in counts.items()]
        return "warn", (
            f"{counted(sum(counts.values()), 'cleared run')} on {sides.source.colour} may start after the "
            f"switch only: {listed(names)}. They are executed there, since they were cleared before it"
        )
    return "pass", f"no cleared run waits on {sides.source.colour}"


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
