"""The audit's verdict on one scheduled run: a pure function of what both sides record.

| the owner's run | nothing elsewhere | executed elsewhere | rerun elsewhere by `mwaactl` |
|---|---|---|---|
| executed | executed, or failed | both | both |
| has the other side's states | nobody | executed | executed |
| skipped, or missing | nobody | wrong side | executed, or failed |

A run that is not finished on one of the sides is unfinished. Where the table has "nobody", the run may also
have yet to come (unfinished), or the owner may be silent (unknown).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from bluegreen.timeline import Colour, Timeline

from mwaactl.airflow.models import Dag, Run, TaskInstance
from mwaactl.airflow.notes import has_copied_states, was_rerun
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.reading import named
from mwaactl.recovery.completed_runs import Key

Kind = Literal["both", "nobody", "wrong side"]


class Finding(Model):
    """A run that was not executed exactly once, by the owner of its instant."""

    kind: Kind
    dag_id: str
    due: Instant
    owner: Colour  # of the instant
    runs: dict[Colour, str]  # the state of the run on each side that has it
    detail: str
    backfill_on: Colour | None = None  # where --backfill executes it; None: it does not

    @property
    def key(self) -> Key:
        return self.dag_id, self.due


Verdict = Finding | Literal["executed", "failed", "unfinished", "unknown"]


@dataclass(frozen=True)
class SideRecords:
    """What one environment records about the window; with `from_lineage`, what the lineage log does."""

    dags: Mapping[str, Dag]
    runs: Mapping[Key, Run]
    tasks: Mapping[tuple[str, str], Sequence[TaskInstance]]  # of finished runs, by Run.key
    busy: frozenset[str]  # DAGs with an unfinished run
    from_lineage: bool = False  # only the states of runs that were worked on

    def worked_on(self, run: Run) -> bool:
        """Whether a run that another side owned was worked on here.

        The copied states of a mirror prove nothing; rendered template fields do.
        """
        if self.from_lineage:
            return True
        tasks = [task for task in self.tasks[run.key] if task.worked]
        return any(task.rendered for task in tasks) if has_copied_states(run) else bool(tasks)

    def skipped(self, run: Run) -> bool:
        """Whether a run that this side owned ended without any task being started."""
        tasks = self.tasks.get(run.key, ())
        untried = all(task.state in ("skipped", "removed") and not task.started for task in tasks)
        return run.state == "success" and bool(tasks) and untried and not was_rerun(run)

    def is_past(self, dag_id: str, due: datetime) -> bool:
        """Whether the scheduler will no longer create a run for this instant."""
        dag = self.dags.get(dag_id)
        if dag is None:
            return True
        if dag.next_due is None:  # the schedule is over; or max_active_runs is reached (Airflow before 3.3)
            return dag_id not in self.busy
        return dag.next_due > due


@dataclass(frozen=True)
class Records:
    """The records that the audit judges by."""

    timeline: Timeline
    now: datetime  # by AWS's clock
    sides: Mapping[Colour, SideRecords]
    silent: Mapping[Colour, str]  # sides that do not answer, and why

    @property
    def keys(self) -> list[Key]:
        """Every (DAG id, due instant) for which a side has a run, ordered by instant."""
        return sorted({key for side in self.sides.values() for key in side.runs}, key=lambda key: key[::-1])

    def runs(self, key: Key) -> dict[Colour, Run]:
        """Each side's run for one instant."""
        return {colour: side.runs[key] for colour, side in self.sides.items() if key in side.runs}


def judge(records: Records, key: Key) -> Verdict:
    """The verdict on one run: whether its owner executed it exactly once."""
    owner = records.timeline.owner(key[1], key[0])
    if owner is None:  # an environment that no longer exists, and its records with it
        return "unknown"
    case = _Case(records, key, owner)
    if any(not run.finished for run in case.runs.values()):
        return "unfinished"
    others = ", ".join(case.others)
    match case.on_owner, case.on_others:
        case "executed", "nothing":
            return _outcome([case.runs[owner]])
        case "executed", _:
            return case.finding("both", f"{owner} owned it, but {others} worked on it too")
        case _, "nothing":
            return _judge_unexecuted(case)
        case "copied", _:  # an operator decided that the other side's execution counts
            return "executed"
        case _, "rerun":
            return _outcome([case.runs[colour] for colour in case.others])
        case _:
            return case.finding("wrong side", f"{owner} owned it, but {others} executed it")


class _Case:
    """One instant: its owner, and what each side did."""

    def __init__(self, records: Records, key: Key, owner: Colour) -> None:
        self.records, self.key, self.owner = records, key, owner
        self.runs = records.runs(key)

    @cached_property
    def on_owner(self) -> Literal["executed", "copied", "skipped", "missing"]:
        """What happened to the owner's run."""
        run = self.runs.get(self.owner)
        if run is None:
            return "missing"
        if has_copied_states(run):
            return "copied"
        return "skipped" if self.records.sides[self.owner].skipped(run) else "executed"

    @cached_property
    def others(self) -> list[Colour]:
        """The sides that worked on the run without owning it."""
        return [
            colour
            for colour, run in self.runs.items()
            if colour != self.owner and self.records.sides[colour].worked_on(run)
        ]

    @property
    def on_others(self) -> Literal["nothing", "executed", "rerun"]:
        """What happened to the run there."""
        if not self.others:
            return "nothing"
        return "rerun" if any(was_rerun(self.runs[colour]) for colour in self.others) else "executed"

    def finding(self, kind: Kind, detail: str, backfill_on: Colour | None = None) -> Finding:
        note = next((run.note for run in self.runs.values() if was_rerun(run)), None)
        return Finding(
            kind=kind,
            dag_id=self.key[0],
            due=self.key[1],
            owner=self.owner,
            runs={colour: run.state for colour, run in self.runs.items()},
            detail=f"{detail} ({note})" if note else detail,
            backfill_on=backfill_on,
        )


def _outcome(runs: Sequence[Run]) -> Verdict:
    return "failed" if all(run.state == "failed" for run in runs) else "executed"


def _judge_unexecuted(case: _Case) -> Verdict:
    """The verdict on a run that no side is known to have executed."""
    dag_id, due = case.key
    owner, side = case.owner, case.records.sides.get(case.owner)
    if side is not None and side.from_lineage:
        return "unknown"
    if case.on_owner != "missing":
        cause = f"all its tasks were skipped on {owner}, its owner"
    elif side is None or dag_id not in side.dags:
        cause = f"{owner}, its owner, has no such DAG"
    elif side.is_past(dag_id, due):
        cause = f"{owner}, its owner, never created it"
    elif side.dags[dag_id].paused:
        cause = f"the DAG is paused on {owner}, its owner"
    else:
        return "unfinished"
    target = _backfill_target(case)
    if isinstance(target, _Obstacle):
        return case.finding("nobody", f"{cause}; {target.reason}")
    return case.finding("nobody", cause, target)


@dataclass(frozen=True)
class _Obstacle:
    """Why a run cannot be backfilled now."""

    reason: str


def _backfill_target(case: _Case) -> Colour | _Obstacle:
    """The environment that can execute the run now, or the obstacle."""
    records, (dag_id, due) = case.records, case.key
    if records.silent:
        silent = ", ".join(records.silent)
        return _Obstacle(f"{silent} does not answer, and the lineage log has no record of the run")
    for colour, side in records.sides.items():
        if colour not in case.runs and not side.is_past(dag_id, due):
            return _Obstacle(f"{colour}'s scheduler has not reached it yet: unpause the DAG there, or wait")
    owner = records.timeline.owner(records.now, dag_id)
    dag = records.sides[owner].dags.get(dag_id) if owner is not None and owner in records.sides else None
    if owner is None or dag is None:
        return _Obstacle(f"{named(owner)} owns the DAG now, but does not have it: deploy it there")
    if dag.paused:
        return _Obstacle(f"the DAG is paused on {owner}, which owns it now: unpause it there")
    return owner
