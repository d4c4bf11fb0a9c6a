"""Whether a DAG does as well on its new side as it did before. Pure: what was observed in, a verdict out.

A DAG is *bad* there if one of these holds; without a run there it is *unseen*, else it is *good*. `history`
are its newest runs on the old side, at most 20.

    failures    a larger share of its runs failed than twice that of history (with none there: any failure)
    retries     at least two of its runs needed a second try of a task, a share half a run more than history's
    durations   half of its runs took longer than 1.5 times the slowest of history, and 60 s more
    lateness    half of its runs began later after their due instant than 1.5 times history's, and 120 s more
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

from mwaactl.airflow.models import Run, TaskInstance
from mwaactl.json_model import Instant, Model

HISTORY = 20  # runs
FAILURES = 2.0  # times history's share
RETRIES = 0.5  # of all runs, more than in history
RETRIED = 2  # runs at least
FACTOR = 1.5  # times the worst of history
SLOWER, LATER = timedelta(seconds=60), timedelta(seconds=120)


class SeenRun(Model):
    """What a run showed. `lasted`, `late`: None while that is not known."""

    due: Instant
    state: str
    late: timedelta | None  # from its due instant to its begin
    lasted: timedelta | None  # until now, if it is at work
    retried: bool

    @property
    def finished(self) -> bool:
        return self.state in ("success", "failed")


class DagVerdict(Model):
    """How one DAG does on its new side. `runs`: that were seen there; `reasons`: why it is bad."""

    dag_id: str
    result: Literal["good", "bad", "unseen"]
    runs: int
    history: int
    reasons: tuple[str, ...] = ()


def seen(run: Run, tasks: Sequence[TaskInstance], now: datetime) -> SeenRun:
    """What is to be judged of a scheduled run."""
    assert run.due is not None  # noqa: S101 - only unscheduled runs have none
    start = None if run.state == "queued" else run.start  # one that was cleared may still have its first
    end = run.end if run.finished else now
    return SeenRun(
        due=run.due,
        state=run.state,
        late=start - run.due if start else None,
        lasted=end - start if start and end else None,
        retried=any(task.tries > 1 for task in tasks),
    )


def judge(dag_id: str, history: Sequence[SeenRun], runs: Sequence[SeenRun]) -> DagVerdict:
    """`history`: its runs on the old side; `runs`: those since on the new one, in any order."""
    begun = [run for run in runs if run.late is not None]
    reasons = tuple(_reasons([run for run in history if run.finished], begun))
    result: Literal["good", "bad", "unseen"] = "bad" if reasons else "good"
    if not reasons and not any(run.finished for run in begun):
        result = "unseen"
    return DagVerdict(dag_id=dag_id, result=result, runs=len(begun), history=len(history), reasons=reasons)


def _reasons(history: Sequence[SeenRun], runs: Sequence[SeenRun]) -> Iterator[str]:
    finished = [run for run in runs if run.finished]
    before, now = _share(history, _failed), _share(finished, _failed)
    if now > FAILURES * before:
        yield f"{_counted(finished, _failed)} failed, {_counted(history, _failed)} before"
    retried = sum(run.retried for run in runs)
    if retried >= RETRIED and _share(runs, _retried) > _share(history, _retried) + RETRIES:
        yield f"{_counted(runs, _retried)} needed a retry, {_counted(history, _retried)} before"
    yield from _longer("took", [run.lasted for run in runs], [run.lasted for run in history], SLOWER)
    yield from _longer("began late by", [run.late for run in runs], [run.late for run in history], LATER)


def _longer(
    what: str, here: Sequence[timedelta | None], before: Sequence[timedelta | None], more: timedelta
) -> Iterator[str]:
    known = [each for each in here if each is not None]
    worst = max((each for each in before if each is not None), default=None)
    if not known or worst is None:
        return
    usual = timedelta(seconds=median(each.total_seconds() for each in known))
    if usual > FACTOR * worst and usual > worst + more:
        at_most = f"at most {worst.total_seconds():.0f} s before"
        yield f"half of them {what} {usual.total_seconds():.0f} s or more, {at_most}"


def _failed(run: SeenRun) -> bool:
    return run.state == "failed"


def _retried(run: SeenRun) -> bool:
    return run.retried


def _share(runs: Sequence[SeenRun], what: Callable[[SeenRun], bool]) -> float:
    return sum(map(what, runs)) / len(runs) if runs else 0.0


def _counted(runs: Sequence[SeenRun], what: Callable[[SeenRun], bool]) -> str:
    return f"{sum(map(what, runs))} of {len(runs)} runs"
