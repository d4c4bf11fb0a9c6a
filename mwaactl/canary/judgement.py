"""Whether a DAG does as well on its new side as it did before. Pure: what was observed in, a verdict out.

A DAG is *bad* there if one of these holds; while no run of it has ended there it is *unseen*, else it is
*good*. `history` are its newest runs on the old side, at most 20.

    failures    a larger share of its runs failed than twice that of history (with none there: any failure)
    skipped     a larger share of its runs was skipped whole, no task of them having started: by the gate
    retries     at least two of its runs needed a second try of a task, a share half a run more than history's
    durations   half of its runs took longer than 1.5 times the slowest of history, and 60 s more
    lateness    half of its runs began later after their due instant than 1.5 times history's, and 120 s more
    waiting     any run that is due has not begun in that time

A run that began late may be chance. One that does not begin at all is seen by none of the other measures, and
in the end nothing of the DAG runs; therefore one is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

from mwaactl.airflow.models import FINISHED, Run, TaskInstance
from mwaactl.json_model import Instant, Model

HISTORY = 20  # runs
FAILURES = 2.0  # times history's share
RETRIES = 0.5  # of all runs, more than in history
RETRIED = 2  # runs at least
FACTOR = 1.5  # times the worst of history
SLOWER, LATER = timedelta(seconds=60), timedelta(seconds=120)


class SeenRun(Model):
    """What a run showed: one that Airflow has, or one that is due and has yet to be created."""

    due: Instant
    state: str
    late: timedelta | None  # from its due instant to its begin, or until now; None: cleared, so not known
    lasted: timedelta | None  # until now, if it is at work; None: it has not begun
    retried: bool
    skipped: bool = False  # no task of it has started

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def waits(self) -> bool:
        """Whether it is due and has not begun."""
        return self.lasted is None and not self.finished


class DagVerdict(Model):
    """How one DAG does on its new side. `runs`: that have begun there; `reasons`: why it is bad."""

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
    cleared = start is None and any(task.start is not None for task in tasks)
    return SeenRun(
        due=run.due,
        state=run.state,
        late=None if cleared else (start or end or now) - run.due,
        lasted=end - start if start and end else None,
        retried=any(task.tries > 1 for task in tasks),
        skipped=run.finished and bool(tasks) and all(task.passed_over for task in tasks),
    )


def not_created(due: datetime, since: datetime, now: datetime) -> SeenRun:
    """What is to be judged of a run that should exist by now on a side that has the DAG since `since`."""
    return SeenRun(due=due, state="none", late=now - max(due, since), lasted=None, retried=False)


def judge(
    dag_id: str, history: Sequence[SeenRun], runs: Sequence[SeenRun], delay: timedelta = timedelta()
) -> DagVerdict:
    """`history`: its finished runs on the old side; `runs`: those since on the new one, in any order.

    `delay`: how long after their due instants the DAG's timetable lets its runs be created.
    """
    reasons = tuple(_reasons(history, runs, delay))
    result: Literal["good", "bad", "unseen"] = "bad" if reasons else "good"
    if not reasons and not any(run.finished for run in runs):
        result = "unseen"
    begun = sum(not run.waits for run in runs)
    return DagVerdict(dag_id=dag_id, result=result, runs=begun, history=len(history), reasons=reasons)


def _reasons(history: Sequence[SeenRun], runs: Sequence[SeenRun], delay: timedelta) -> Iterator[str]:
    finished = [run for run in runs if run.finished]
    before, now = _share(history, _failed), _share(finished, _failed)
    if now > FAILURES * before:
        yield f"{_counted(finished, _failed)} failed, {_counted(history, _failed)} before"
    if _share(finished, _skipped) > _share(history, _skipped):
        yield (
            f"{_counted(finished, _skipped)} were skipped whole: no task of them started, "
            f"{_counted(history, _skipped)} before"
        )
    begun = [run for run in runs if not run.waits]
    retried = sum(run.retried for run in begun)
    if retried >= RETRIED and _share(begun, _retried) > _share(history, _retried) + RETRIES:
        yield f"{_counted(begun, _retried)} needed a retry, {_counted(history, _retried)} before"
    if slowest := _known(run.lasted for run in history):
        yield from _longer("took", _known(run.lasted for run in runs), max(slowest), SLOWER)
    latest = max([timedelta(), *_after(delay, history)])
    yield from _longer("began late by", _after(delay, runs), latest, LATER)
    waits = max(_after(delay, [run for run in runs if run.waits]), default=timedelta())
    if waits > _limit(latest, LATER):
        yield (
            f"a run that is due has not begun for {waits.total_seconds():.0f} s, "
            f"at most {latest.total_seconds():.0f} s before"
        )


def _longer(what: str, here: Sequence[timedelta], worst: timedelta, more: timedelta) -> Iterator[str]:
    """The reason, if half of the runs are beyond the worst of history."""
    usual = timedelta(seconds=median([each.total_seconds() for each in here] or [0]))
    if usual > _limit(worst, more):
        at_most = f"at most {worst.total_seconds():.0f} s before"
        yield f"half of them {what} {usual.total_seconds():.0f} s or more, {at_most}"


def _limit(worst: timedelta, more: timedelta) -> timedelta:
    return max(FACTOR * worst, worst + more)


def _known(values: Iterable[timedelta | None]) -> list[timedelta]:
    return [value for value in values if value is not None]


def _after(delay: timedelta, runs: Sequence[SeenRun]) -> list[timedelta]:
    """How late these runs are, after the instants from which they could begin."""
    return [late - delay for late in _known(run.late for run in runs)]


def _failed(run: SeenRun) -> bool:
    return run.state == "failed"


def _skipped(run: SeenRun) -> bool:
    return run.skipped


def _retried(run: SeenRun) -> bool:
    return run.retried


def _share(runs: Sequence[SeenRun], what: Callable[[SeenRun], bool]) -> float:
    return sum(map(what, runs)) / len(runs) if runs else 0.0


def _counted(runs: Sequence[SeenRun], what: Callable[[SeenRun], bool]) -> str:
    return f"{sum(map(what, runs))} of {len(runs)} runs"
