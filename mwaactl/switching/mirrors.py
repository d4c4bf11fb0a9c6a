"""Making mirrors true: the skipped runs of one environment receive the final states that their originals have
on the environment that executed them, so that `depends_on_past`, ExternalTaskSensor and `prev_*_success` go
on rightly after a switch.

What must never happen is that a mirror is executed by this. Airflow's own rules (2.10, 2.11, 3.0, 3.3):

- To set a task's state clears what is failed *downstream* of it in the same run; the run is queued again and
  executed. So no task is set while one that follows it is failed: first nothing is failed any more (from the
  last task to the first), then the states are set from the first task to the last.
- An ExternalTaskMarker that is failed by that spreads the clearing to other DAGs: it is never set to failed.
- To set a run to success sets its tasks too, or does not (3.3), but clears nothing. No way runs callbacks.

Afterwards the run is read again; one that has an unfinished task all the same is ended at once and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from itertools import zip_longest
from typing import Literal

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi, NotFound, Refused
from mwaactl.airflow.models import Run, Task, TaskInstance
from mwaactl.airflow.notes import copied_note, copying_note, has_copied_states
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model

PER_DAG = 25  # newest runs: what depends_on_past, prev_*_success and sensors look at
BATCH = 50  # runs whose tasks are read together
PATIENCE = 3  # runs in a row that an environment may fail to answer for before the rest is left

Settable = Literal["success", "failed", "skipped"]
# What Airflow's API can set, from the best to the worst. upstream_failed cannot be set: it becomes failed,
# which holds back the same things. A removed task, or one that was never decided, is left as it is.
_BADNESS: Mapping[str, tuple[int, Settable]] = {
    "success": (0, "success"),
    "skipped": (1, "skipped"),
    "upstream_failed": (2, "failed"),
    "failed": (3, "failed"),
}
_ENDED = (*_BADNESS, "removed")


class UncopiedRun(Model):
    """A run whose mirror is not true."""

    dag_id: str
    run_id: str
    due: Instant
    reason: str


class MirrorResult(Model):
    """What `copy_final_states` did."""

    made: int
    already: int
    left: tuple[UncopiedRun, ...]


def copy_final_states(
    source: AirflowApi,
    target: AirflowApi,
    *,
    source_colour: Colour,
    since: datetime,
    until: datetime,
    owned: Callable[[Run], bool],
    progress: Callable[[int, int], None] | None = None,
    per_dag: int | None = PER_DAG,
) -> MirrorResult:
    """Give `target`'s mirrors of `source`'s finished scheduled runs their final states.

    Concerned are the runs due in [since, until) of which `owned` says that the source owned them, of every
    DAG the newest `per_dag` (None: all), newest first. A mirror on which the target worked itself is left
    alone. It may be repeated, also after an interruption. `progress` is called with how many of how many.

    Raises Unreachable if the runs of either side cannot be listed; a side that stops answering later ends it,
    and what remains is in `left`.
    """
    finished = (run for run in source.scheduled_runs(since, until) if run.finished and owned(run))
    originals = _newest(finished, per_dag)
    if not originals:
        return MirrorResult(made=0, already=0, left=())
    dag_ids = {run.dag_id for run in originals}
    mirrors = {(run.dag_id, run.due): run for run in target.scheduled_runs(since, until, dag_ids)}
    work = _Work(source, target, source_colour)
    pairs: list[tuple[Run, Run]] = []
    for run in originals:
        mirror = mirrors.get((run.dag_id, run.due))
        if mirror is None:
            work.leave(run, f"{target.name} has no run for it")
        elif not mirror.finished:
            work.leave(run, f"its mirror on {target.name} is still {mirror.state}")
        elif mirror.note == work.note:
            work.already += 1
        else:
            pairs.append((run, mirror))
    for start in range(0, len(pairs), BATCH):
        for done in work.batch(pairs[start : start + BATCH]):
            if progress is not None:
                progress(start + done, len(pairs))
    return MirrorResult(made=work.made, already=work.already, left=tuple(work.left))


def _newest(runs: Iterable[Run], per_dag: int | None) -> list[Run]:
    """The newest of every DAG; the newest of all DAGs first, then those before them, and so on."""
    by_dag: dict[str, list[Run]] = {}
    for run in sorted((run for run in runs if run.due is not None), key=_due, reverse=True):
        by_dag.setdefault(run.dag_id, []).append(run)
    ranks = zip_longest(*(line[:per_dag] for line in by_dag.values()))
    return [run for rank in ranks for run in rank if run is not None]


class _Work:
    def __init__(self, source: AirflowApi, target: AirflowApi, colour: Colour) -> None:
        self._source, self._target = source, target
        self.note, self._copying = copied_note(colour), copying_note(colour)
        self._orders: dict[str, tuple[Task, ...]] = {}
        self._silent = 0  # runs in a row without an answer
        self.made = self.already = 0
        self.left: list[UncopiedRun] = []

    def leave(self, run: Run, reason: str) -> None:
        self.left.append(UncopiedRun(dag_id=run.dag_id, run_id=run.run_id, due=_due(run), reason=reason))

    def batch(self, pairs: Sequence[tuple[Run, Run]]) -> Iterator[int]:
        """Work on some runs; yields how many of them are done."""
        why = f"{self._target.name} or {self._source.name} stopped answering; repeat the command later"
        theirs: dict[tuple[str, str], list[TaskInstance]] = {}
        ours: dict[tuple[str, str], list[TaskInstance]] = {}
        if self._silent < PATIENCE:
            try:
                theirs = self._source.task_instances([run for run, _ in pairs])
                ours = self._target.task_instances([mirror for _, mirror in pairs])
            except Unreachable as error:
                self._silent, why = PATIENCE, str(error)
        for count, (run, mirror) in enumerate(pairs, 1):
            if self._silent >= PATIENCE:
                self.leave(run, why)
            else:
                self._one(run, mirror, theirs[run.key], ours[mirror.key])
            yield count

    def _one(self, run: Run, mirror: Run, theirs: list[TaskInstance], ours: list[TaskInstance]) -> None:
        try:
            reason = self._make(run, mirror, theirs, ours)
        except NotFound as error:
            self._silent, reason = 0, f"{error}: the DAG differs between the two sides"
        except Refused as error:
            self._silent, reason = 0, str(error)
        except Unreachable as error:
            self._silent += 1
            reason = str(error)
        else:
            self._silent = 0
        if reason is not None:
            self.leave(run, reason)

    def _make(
        self, run: Run, mirror: Run, theirs: list[TaskInstance], ours: list[TaskInstance]
    ) -> str | None:
        """Copy the states of one run; the reason if it was left."""
        target = self._target
        if not has_copied_states(mirror) and any(one.worked for one in ours):
            return f"{target.name} worked on it too: see mwaactl audit"
        wanted = _wanted(theirs, ours)
        different = _different(ours, wanted)
        if not different and mirror.state == run.state and not has_copied_states(mirror):
            self.already += 1  # all was skipped there as well
            return None
        copying = self._copying
        if different or mirror.state != run.state:
            plain = all(wanted.get((one.task_id, one.map_index)) == "success" for one in ours)
            at_once = plain and not target.reaches_downstream
            if run.state == "success" and (at_once or mirror.state != "success"):
                target.set_run(mirror, "success", copying)
                ours = target.task_instances([mirror])[mirror.key]
            else:
                target.set_note(mirror, copying)
            self._set_tasks(mirror.dag_id, ours, wanted)
        if run.state == "failed" and mirror.state != "failed":
            target.set_run(mirror, "failed", copying)
        ours = target.task_instances([mirror])[mirror.key]
        if any(one.state not in _ENDED for one in ours):
            target.set_run(mirror, "failed", copying)  # ends what is queued or running
            return f"Airflow was about to execute {mirror.run_id} on {target.name}: it was ended at once"
        if _different(ours, wanted):
            return f"{target.name} did not take the states of its tasks"
        target.set_note(mirror, self.note)
        self.made += 1
        return None

    def _set_tasks(
        self, dag_id: str, ours: Iterable[TaskInstance], wanted: Mapping[tuple[str, int], Settable]
    ) -> None:
        order = self._order(dag_id)
        found: dict[str, list[TaskInstance]] = {task.task_id: [] for task in order}
        for one in ours:
            found.get(one.task_id, []).append(one)
        for task in reversed(order):
            for index, one in enumerate(found[task.task_id]):
                if one.state in ("failed", "upstream_failed"):
                    self._target.set_task(one, "skipped")
                    found[task.task_id][index] = one.model_copy(update={"state": "skipped"})
        after = _descendants(order)
        covered: set[str] = set()
        for task in order:
            below = after[task.task_id]
            for one in found[task.task_id]:
                state = wanted.get((one.task_id, one.map_index))
                if state is None or state == one.state or one.task_id in covered:
                    continue
                # Not to failed: Airflow would clear at once what it has failed downstream.
                together = self._target.reaches_downstream and state != "failed"
                alike = together and all(
                    wanted.get((other.task_id, other.map_index)) == state
                    for name in below
                    for other in found[name]
                )
                self._target.set_task(one, state, downstream=bool(below) and alike)
                if alike:
                    covered |= below

    def _order(self, dag_id: str) -> tuple[Task, ...]:
        """A DAG's tasks, each before those that follow it."""
        if dag_id not in self._orders:
            tasks = {task.task_id: task for task in self._target.tasks(dag_id)}
            sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(tasks, ()))
            for task in tasks.values():
                for below in task.downstream:
                    sorter.add(below, task.task_id)
            try:
                names = tuple(sorter.static_order())
            except CycleError as error:
                raise Unreachable(
                    f"{self._target.name} names a cycle of tasks in {dag_id}: {error}"
                ) from error
            self._orders[dag_id] = tuple(tasks[name] for name in names if name in tasks)
        return self._orders[dag_id]


def _wanted(theirs: Iterable[TaskInstance], ours: Iterable[TaskInstance]) -> dict[tuple[str, int], Settable]:
    """The state for each of our task instances: that of the same map index, else the worst of the task's."""
    exact: dict[tuple[str, int], tuple[int, Settable]] = {}
    worst: dict[str, tuple[int, Settable]] = {}
    for one in theirs:
        if (found := _BADNESS.get(one.state or "")) is not None:
            exact[one.task_id, one.map_index] = found
            worst[one.task_id] = max(found, worst.get(one.task_id, found))
    result: dict[tuple[str, int], Settable] = {}
    for one in ours:
        key = (one.task_id, one.map_index)
        found = exact.get(key) or worst.get(one.task_id)
        if found is None or one.state == "removed":
            continue
        spreads = one.operator == "ExternalTaskMarker" and found[1] == "failed"
        result[key] = "skipped" if spreads else found[1]
    return result


def _different(ours: Iterable[TaskInstance], wanted: Mapping[tuple[str, int], Settable]) -> bool:
    return any(
        (state := wanted.get((one.task_id, one.map_index))) is not None and state != one.state for one in ours
    )


def _descendants(order: Sequence[Task]) -> dict[str, set[str]]:
    """Of each task all that follow it, near and far."""
    result: dict[str, set[str]] = {}
    for task in reversed(order):
        below = [name for name in task.downstream if name in result]
        result[task.task_id] = set(below).union(*(result[name] for name in below))
    return result


def _due(run: Run) -> datetime:
    if run.due is None:
        raise ValueError(f"{run.run_id} of {run.dag_id} was made by no schedule")
    return run.due
