"""The audit's verdict on one scheduled run: a pure function of what both sides record.

| the owner's run | nothing elsewhere | executed elsewhere | rerun elsewhere by `mwaactl` |
|---|---|---|---|
| executed | executed, or failed | both | both |
| has the other side's states | nobody | executed | executed |
| skipped, or missing | nobody | wrong side | executed, or failed |

A run that is not finished on one of the sides is unfinished; on a side that cannot finish it, it is left
unfinished. Where the table has "nobody", the run may also have yet to come (unfinished), or Airflow itself
may have passed it over. If the owner is silent or gone, the verdict is what the lineage log knows, or else
unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

from bluegreen.timeline import Colour

from mwaactl.airflow.models import Run
from mwaactl.airflow.notes import has_copied_states, was_rerun
from mwaactl.json_model import Instant, Model
from mwaactl.recovery.completed_runs import Key
from mwaactl.recovery.records import Records

Kind = Literal["both", "nobody", "wrong side", "left unfinished"]


class Finding(Model):
    """A run that was not executed exactly once, by the owner of its instant."""

    kind: Kind
    dag_id: str
    due: Instant
    owner: Colour | None  # of the instant; None: an environment that no longer exists, or nobody
    runs: dict[Colour, str]  # the state of the run on each side that has it
    detail: str
    run_id: str | None = None  # of a run that its due instant does not identify
    backfill_on: Colour | None = None  # where --backfill executes it; None: it does not

    @property
    def key(self) -> Key:
        return self.dag_id, self.due


Verdict = Finding | Literal["executed", "failed", "unfinished", "unknown", "passed over"]


def judge(records: Records, key: Key) -> Verdict:
    """The verdict on one run: whether its owner executed it exactly once."""
    case = _Case(records, key)
    if any(not run.finished for run in case.runs.values()):
        return "unfinished"
    verdict = _judge_finished(case)
    if case.abandoned and (verdict in ("unknown", "passed over") or _is_unexecuted(verdict)):
        return case.finding("left unfinished", _abandoned(case))
    return verdict


def _judge_finished(case: _Case) -> Verdict:
    owner, others = case.owner, ", ".join(case.others)
    if owner is None or case.records.owner_is_gone(case.key):
        return _judge_by_log(case)
    match case.on_owner, case.on_others:
        case "executed", "nothing":
            return _outcome(case.runs[owner])
        case "executed", _:
            return case.finding("both", f"{owner} owned it, but {others} worked on it too")
        case _, "nothing":
            return _judge_unexecuted(case, owner)
        case "copied", _:  # an operator decided that the other side's execution counts
            return "executed"
        case _, "rerun":
            return _outcome(case.runs[case.others[0]])
        case _:
            return case.finding("wrong side", f"{owner} owned it, but {others} executed it")


_FORMER = "an environment that no longer exists"


class _Case:
    """One instant: its owner, and what each side did."""

    def __init__(self, records: Records, key: Key) -> None:
        self.records, self.key = records, key
        self.owner = records.owner(key)
        runs = records.runs(key)
        # What a side cannot finish does not count as work there: it may be executed again.
        self.abandoned = {
            colour: run for colour, run in runs.items() if not run.finished and colour in records.stopped
        }
        self.runs = {colour: run for colour, run in runs.items() if colour not in self.abandoned}

    @cached_property
    def on_owner(self) -> Literal["executed", "copied", "skipped", "missing"]:
        """What happened to the owner's run."""
        if self.owner is None or (run := self.runs.get(self.owner)) is None:
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
        runs = self.runs | self.abandoned
        note = next((run.note for run in runs.values() if was_rerun(run)), None)
        return Finding(
            kind=kind,
            dag_id=self.key[0],
            due=self.key[1],
            owner=self.owner,
            runs={colour: run.state for colour, run in sorted(runs.items())},
            detail=f"{detail} ({note})" if note else detail,
            backfill_on=backfill_on,
        )


def _outcome(run: Run) -> Verdict:
    return "failed" if run.state == "failed" else "executed"


def _is_unexecuted(verdict: Verdict) -> bool:
    return isinstance(verdict, Finding) and verdict.kind == "nobody"


def _abandoned(case: _Case) -> str:
    return abandoned_detail(case.abandoned, case.records.stopped)


def abandoned_detail(sides: Mapping[Colour, Run], stopped: Mapping[Colour, str]) -> str:
    """Why a run is not going to end, and what to do."""
    where = ", ".join(f"{colour}, which {stopped[colour]}" for colour in sides)
    return f"it was at work on {where}: `mwaactl failover` runs it again, or mark it as failed there"


def _judge_by_log(case: _Case) -> Verdict:
    """The verdict on an instant whose owner is gone: by the lineage log, and by what was done since."""
    logged = case.records.former.get(case.key)
    ended = logged if logged in ("success", "failed") else None
    if ended and case.on_others == "executed":
        others = ", ".join(case.others)
        return case.finding(
            "both",
            f"an environment that no longer exists worked on it, by the lineage log, and so did {others}",
        )
    if len(case.others) > 1:
        return case.finding("both", f"{' and '.join(case.others)} worked on it")
    if case.others:
        return _outcome(case.runs[case.others[0]])
    if any(has_copied_states(run) for run in case.runs.values()) or ended == "success":
        return "executed"
    if ended == "failed":
        return "failed"
    if logged == "running":
        return case.finding(
            "left unfinished",
            f"by the lineage log it was at work on {_FORMER}: see what it left undone, and start it by hand",
        )
    return "unknown" if case.owner is None or case.records.begun(case.key) else "passed over"


def _judge_unexecuted(case: _Case, owner: Colour) -> Verdict:
    """The verdict on a run that no side is known to have executed."""
    dag_id, due = case.key
    side = case.records.sides.get(owner)
    if side is not None and side.from_lineage:
        return "unknown"
    if case.on_owner != "missing":
        cause = f"all its tasks were skipped on {owner}, its owner"
    elif side is None or dag_id not in side.dags:
        cause = f"{owner}, its owner, has no such DAG"
    elif side.is_past(dag_id, due):
        if side.passes_over(dag_id, due) or not case.records.begun(case.key):
            return "passed over"
        cause = f"{owner}, its owner, never created it"
    elif side.dags[dag_id].paused:
        cause = f"the DAG is paused on {owner}, its owner"
    else:
        return "unfinished"
    target = _backfill_target(case)
    if isinstance(target, _Obstacle):
        return case.finding("nobody", f"{cause}; {target}")
    return case.finding("nobody", cause, target)


class _Obstacle(str):
    """Why a run cannot be backfilled now."""

    __slots__ = ()


def _backfill_target(case: _Case) -> Colour | _Obstacle:
    """The environment that can execute the run now, or the obstacle."""
    records, (dag_id, due) = case.records, case.key
    if records.silent:
        silent = ", ".join(records.silent)
        return _Obstacle(f"{silent} does not answer, and the lineage log has no record of the run")
    for colour, side in records.sides.items():
        if colour not in case.runs and not side.is_past(dag_id, due):
            return _Obstacle(f"{colour}'s scheduler has not reached it yet: unpause the DAG there, or wait")
    owner = records.owner((dag_id, records.now))
    if owner is None:
        return _Obstacle("nobody owns the DAG now: see mwaactl status")
    dag = records.sides[owner].dags.get(dag_id) if owner in records.sides else None
    if dag is None:
        return _Obstacle(f"{owner} owns the DAG now, but does not have it: deploy it there")
    if dag.paused:
        return _Obstacle(f"the DAG is paused on {owner}, which owns it now: unpause it there")
    return owner
