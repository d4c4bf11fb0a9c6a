"""The checks of runs: the gate's work so far, the next ones, and what ties DAGs to each other."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from mwaactl.airflow.models import Dag
from mwaactl.checks.outcome import NO_OTHER, Outcome, Sides, colour_of, dags_of_both, listed
from mwaactl.json_model import iso

GRACE = timedelta(seconds=60)  # for the scheduler to make a run that is due
# How far ahead an instant must lie to be surely the next one of both sides: they are looked at one after the
# other, by clocks that differ.
AHEAD = timedelta(seconds=10)
PERIOD = re.compile(
    r"(?:(?P<days>-?\d+) days?, )?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d+)?)"
)


def gate(sides: Sides) -> Outcome:
    proof, source = sides.evidence.gate, colour_of(sides.source)
    if proof is None:
        return "not checked", sides.evidence.why_not("gate")
    if proof.executed:
        runs = [f"{dag_id} {run_id}" for dag_id, run_id in proof.executed]
        return "fail", (
            f"{sides.target.colour} executed what {source} owned: {listed(runs)}. Its gate does not work: "
            "look for `bluegreen` in the scheduler's and the tasks' logs"
        )
    if not proof.skipped:
        return "not checked", (
            f"nothing proves it: none of the newest scheduled runs on {sides.target.colour} was {source}'s"
        )
    return "pass", f"skipped the newest scheduled runs that {source} owned ({proof.skipped} DAGs)"


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
            f"{target.colour} has not made runs that are due since {iso(oldest)}: {listed(late)}. A new "
            "environment with catchup=True is still making (and skipping) its history: wait for it"
        )
    return "pass", f"in the future for {len(next_due)} DAGs"


def same_instants(sides: Sides) -> Outcome:
    dags, missing = dags_of_both(sides)
    if dags is None:
        return "not checked", missing
    target, source = dags
    both = sorted(dag_id for dag_id in target.keys() & source.keys() if sides.moving(dag_id))
    active = [dag_id for dag_id in both if not (target[dag_id].paused or source[dag_id].paused)]
    apart = {dag_id: how for dag_id in active if (how := _apart(target[dag_id], source[dag_id], sides.now))}
    if apart:
        names = [f"{dag_id} ({how})" for dag_id, how in apart.items()]
        return "warn", (
            f"due at other instants on each side: {listed(names)}. "
            "Each instant has one owner, but around the switch a run may come early, late or not at all: use "
            "cron or DeltaDataIntervalTimetable"
        )
    return "pass", f"nothing speaks against it for {len(active)} DAGs"


def _apart(target: Dag, source: Dag, now: datetime) -> str | None:
    """How it is known that the two sides have different due instants; None: it is not."""
    if "@continuous" in (target.schedule, source.schedule):
        return "@continuous"
    ours, theirs = target.next_due, source.next_due
    if ours is None or theirs is None:
        return None
    if min(ours, theirs) > now + AHEAD:
        # The next instant of one schedule is one instant.
        return f"next at {iso(ours)} and {iso(theirs)}" if ours != theirs else None
    period = _period(target.schedule)
    if period and period == _period(source.schedule) and (ours - theirs) % period:
        return f"every {target.schedule}, from another beginning"
    return None


def _period(schedule: str | None) -> timedelta | None:
    """The period of a schedule that is a bare timedelta: "0:05:00", "1 day, 0:00:00"."""
    found = PERIOD.fullmatch(schedule or "")
    return (
        timedelta(**{unit: float(number or 0) for unit, number in found.groupdict().items()})
        if found
        else None
    )


def asset_events(sides: Sides) -> Outcome:
    waiting = sides.evidence.waiting
    if sides.source is None:
        return "not checked", NO_OTHER
    if waiting is None:
        return "not checked", sides.evidence.why_not("waiting")
    if waiting:
        names = [f"{dag_id} ({listed(assets)})" for dag_id, assets in waiting.items()]
        return "fail", (
            f"on {sides.source.colour} events wait for the others of their DAG's condition, which may come "
            f"on {sides.target.colour}: {listed(names)}. Wait until these DAGs ran, or --force asset-events"
        )
    return "pass", f"none waits on {sides.source.colour} for the others of its condition"


def cross_dag(sides: Sides) -> Outcome | None:
    if not sides.dags:
        return None
    ties = sides.evidence.split
    if ties is None:
        return "not checked", sides.evidence.why_not("split")
    split = [f"{tie.dag_id} {tie.how} {tie.other}" for tie in ties if tie.other is not None]
    if split:
        return "fail", f"these would be on different sides: {listed(split)}. Move them together"
    unknown = [f"{tie.dag_id} ({tie.how})" for tie in ties]
    if unknown:
        return "warn", f"which DAG it depends on is only known when it runs: {listed(unknown)}"
    return "pass", "no dependency between DAGs is cut"
