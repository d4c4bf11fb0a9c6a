"""Mirrors: the runs of one environment that were skipped because the other one executed them.

After a switch they receive the final states of their originals on the environment that executed them,
so that `depends_on_past`, ExternalTaskSensor and `prev_*_success` continue correctly.

Copying must never execute a mirror. Airflow's rules (2.10, 2.11, 3.0, 3.3):

- Setting a task's state clears what is failed *downstream* of it in the same run; the run is queued again and
  executed. So no task is set while a task below it is failed: first, all failed tasks are set to skipped
  (from the last task to the first), then the states are set from the first task to the last.
- A failed ExternalTaskMarker spreads the clearing to other DAGs: it is never set to failed.
- Setting a run to success also sets its tasks (not in 3.3), but clears nothing. Callbacks do not run.

Afterwards the run is read again; if it still has an unfinished task, it is ended at once and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from graphlib import CycleError, TopologicalSorter
from itertools import zip_longest
from typing import Literal

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run, Task, TaskInstance
from mwaactl.airflow.notes import copied_note, copying_note, has_copied_states
from mwaactl.airflow.rest import NotFound, Refused
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model

PER_DAG = 25  # newest runs: what depends_on_past, prev_*_success and sensors look at
BATCH = 50  # runs whose tasks are read together
PATIENCE = 3  # consecutive runs without an answer, after which the rest is left
TICK = timedelta(milliseconds=1)  # from a due instant to the end of a listing that contains it
TRIES = 3  # attempts at one run, after which it counts as not possible

Settable = Literal["success", "failed", "skipped"]
# What Airflow's API can set, from the best to the worst. upstream_failed cannot be set: it becomes failed,
# which holds back the same runs. A removed task, or one without a final state, is left unchanged.
_BADNESS: Mapping[str, tuple[int, Settable]] = {
    "success": (0, "success"),
    "skipped": (1, "skipped"),
    "upstream_failed": (2, "failed"),
    "failed": (3, "failed"),
}
_FINAL = (*_BADNESS, "removed")

TaskKey = tuple[str, int]  # task id, map index
States = Mapping[TaskKey, Settable]
Attempts = dict[tuple[str, str], list[str]]
"""By run: why each attempt at its mirror failed. Kept by a caller that tries again."""


class UncopiedRun(Model):
    """A run whose mirror did not receive its final states."""

    dag_id: str
    run_id: str
    due: Instant
    reason: str
    final: bool = False  # not possible: no further attempt is made


class MirrorResult(Model):
    """The outcome of `copy_final_states`: numbers of runs, and the runs that were left."""

    copied: int
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
    dag_ids: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
    per_dag: int | None = PER_DAG,
    attempts: Attempts | None = None,
) -> MirrorResult:
    """Copy the final states of `source`'s finished scheduled runs to their mirrors on `target`.

    This covers the runs due in [since, until), of `dag_ids` (empty: of all DAGs), for which `owned` holds:
    the newest `per_dag` of every DAG (None: all), newest first. A mirror that the target itself worked on is
    left unchanged. The call may be repeated, also after an interruption; with the same `attempts` it leaves a
    run alone after TRIES failures. `progress` is called with the number done and the total.

    Raises Unreachable if the runs of either side cannot be listed. If a side stops answering later, the rest
    is in `left`.
    """
    finished = (run for run in source.scheduled_runs(since, until, dag_ids) if run.finished and owned(run))
    originals = newest(finished, per_dag)
    if not originals:
        return MirrorResult(copied=0, already=0, left=())
    found = target.scheduled_runs(since, until, {run.dag_id for run in originals})
    mirrors = {(run.dag_id, run.due): run for run in found}
    writer = _MirrorWriter(source, target, source_colour, {} if attempts is None else attempts)
    pairs = list(writer.pair(originals, mirrors))
    for start in range(0, len(pairs), BATCH):
        for count in writer.copy(pairs[start : start + BATCH]):
            if progress is not None:
                progress(start + count, len(pairs))
    return MirrorResult(copied=writer.copied, already=writer.already, left=tuple(writer.left))


def newest(runs: Iterable[Run], per_dag: int | None) -> list[Run]:
    """The newest runs of every DAG, by rank: each DAG's newest first, then each one's second newest, ..."""
    by_dag: dict[str, list[Run]] = {}
    for run in sorted((run for run in runs if run.due is not None), key=due_of, reverse=True):
        by_dag.setdefault(run.dag_id, []).append(run)
    ranks = zip_longest(*(line[:per_dag] for line in by_dag.values()))
    return [run for rank in ranks for run in rank if run is not None]


class _MirrorWriter:
    """Copies the states of pairs of runs, and counts what it did."""

    def __init__(self, source: AirflowApi, target: AirflowApi, colour: Colour, attempts: Attempts) -> None:
        self._source, self._target, self._attempts = source, target, attempts
        self._note, self._copying = copied_note(colour), copying_note(colour)
        self._tasks = _TaskWriter(target)
        self._unanswered = 0  # consecutive runs
        self.copied = self.already = 0
        self.left: list[UncopiedRun] = []

    def pair(
        self, originals: Iterable[Run], mirrors: Mapping[tuple[str, datetime | None], Run]
    ) -> Iterator[tuple[Run, Run]]:
        """Yield each original with its mirror, if the mirror has yet to receive its states."""
        for run in originals:
            mirror = mirrors.get((run.dag_id, run.due))
            if mirror is None:
                self._leave(run, f"{self._target.name} has no run for it")
            elif not mirror.finished:
                self._leave(run, f"its mirror on {self._target.name} is still {mirror.state}")
            elif is_right(run, mirror, self._note):
                self.already += 1
            elif len(self._attempts.get(run.key, ())) >= TRIES:
                self._leave(run, self._attempts[run.key][-1])
            else:
                yield run, mirror

    def copy(self, pairs: Sequence[tuple[Run, Run]]) -> Iterator[int]:
        """Copy the states of these pairs; yield the number done after each."""
        reason = f"{self._target.name} or {self._source.name} stopped answering; repeat the command later"
        originals: dict[tuple[str, str], list[TaskInstance]] = {}
        mirrors: dict[tuple[str, str], list[TaskInstance]] = {}
        if self._unanswered < PATIENCE:
            try:
                originals = self._source.task_instances([run for run, _ in pairs])
                mirrors = self._target.task_instances([mirror for _, mirror in pairs])
            except Unreachable as error:
                self._unanswered, reason = PATIENCE, str(error)
        for count, (run, mirror) in enumerate(pairs, 1):
            if self._unanswered >= PATIENCE:
                self._leave(run, reason)
            else:
                self._try_copy(run, mirror, originals[run.key], mirrors[mirror.key])
            yield count

    def _leave(self, run: Run, reason: str) -> None:
        final = len(self._attempts.get(run.key, ())) >= TRIES
        if final:
            reason = f"not possible, tried {TRIES} times: {reason}"
        self.left.append(
            UncopiedRun(dag_id=run.dag_id, run_id=run.run_id, due=due_of(run), reason=reason, final=final)
        )

    def _try_copy(
        self, run: Run, mirror: Run, originals: list[TaskInstance], mirrored: list[TaskInstance]
    ) -> None:
        try:
            reason = self._copy(run, mirror, originals, mirrored)
        except NotFound as error:
            self._unanswered, reason = 0, f"{error}: the DAG differs between the two sides"
        except Refused as error:
            self._unanswered, reason = 0, str(error)
        except Unreachable as error:
            self._unanswered += 1
            reason = str(error)
        else:
            self._unanswered = 0
        if reason is not None:
            self._attempts.setdefault(run.key, []).append(reason)
            self._leave(run, reason)

    def _copy(
        self, run: Run, mirror: Run, originals: list[TaskInstance], mirrored: list[TaskInstance]
    ) -> str | None:
        """Copy the states of one run; return the reason if it was left."""
        if not has_copied_states(mirror) and any(task.worked for task in mirrored):
            return f"{self._target.name} worked on it too: see mwaactl audit"
        wanted = _wanted(originals, mirrored)
        if not _different(mirrored, wanted) and mirror.state == run.state and not has_copied_states(mirror):
            self.already += 1  # everything was skipped there as well
            return None
        self._write(run, mirror, mirrored, wanted)
        return self._settle(mirror, wanted)

    def _write(self, run: Run, mirror: Run, mirrored: list[TaskInstance], wanted: States) -> None:
        target = self._target
        if _different(mirrored, wanted) or mirror.state != run.state:
            plain = all(wanted.get(_key(task)) == "success" for task in mirrored)
            at_once = plain and not target.reaches_downstream
            if run.state == "success" and (at_once or mirror.state != "success"):
                target.set_run(mirror, "success", self._copying)
                mirrored = target.task_instances([mirror])[mirror.key]
            else:
                target.set_note(mirror, self._copying)
            self._tasks.write(mirror.dag_id, mirrored, wanted)
        if run.state == "failed" and mirror.state != "failed":
            target.set_run(mirror, "failed", self._copying)

    def _settle(self, mirror: Run, wanted: States) -> str | None:
        """Read the mirror again; return the reason if its states are not the wanted ones."""
        target = self._target
        mirrored = target.task_instances([mirror])[mirror.key]
        if any(task.state not in _FINAL for task in mirrored):
            target.set_run(mirror, "failed", self._copying)  # ends what is queued or running
            return (
                f"Airflow was about to execute {mirror.run_id} on {target.name}, so mwaactl ended it at once"
            )
        if _different(mirrored, wanted):
            return f"{target.name} did not accept the states of its tasks"
        target.set_note(mirror, self._note)
        self.copied += 1
        return None


class _TaskWriter:
    """Sets the states of a run's tasks in an order in which Airflow clears none of them."""

    def __init__(self, target: AirflowApi) -> None:
        self._target = target
        self._orders: dict[str, tuple[Task, ...]] = {}

    def write(self, dag_id: str, instances: Iterable[TaskInstance], wanted: States) -> None:
        order = self._order(dag_id)
        by_task: dict[str, list[TaskInstance]] = {task.task_id: [] for task in order}
        for instance in instances:
            by_task.get(instance.task_id, []).append(instance)
        self._unfail(order, by_task)
        self._set(order, by_task, wanted)

    def _unfail(self, order: Sequence[Task], by_task: Mapping[str, list[TaskInstance]]) -> None:
        """Set all failed tasks to skipped, from the last to the first."""
        for task in reversed(order):
            for index, instance in enumerate(by_task[task.task_id]):
                if instance.state in ("failed", "upstream_failed"):
                    self._target.set_task(instance, "skipped")
                    by_task[task.task_id][index] = instance.model_copy(update={"state": "skipped"})

    def _set(self, order: Sequence[Task], by_task: Mapping[str, list[TaskInstance]], wanted: States) -> None:
        """Set the states, from the first task to the last; with equal ones downstream in the same call."""
        descendants = _descendants(order)
        covered: set[str] = set()
        for task in order:
            below = descendants[task.task_id]
            for instance in by_task[task.task_id]:
                state = wanted.get(_key(instance))
                if state is None or state == instance.state or instance.task_id in covered:
                    continue
                # Not for "failed": Airflow would clear the failed tasks downstream at once.
                alike = (
                    self._target.reaches_downstream
                    and state != "failed"
                    and all(wanted.get(_key(other)) == state for name in below for other in by_task[name])
                )
                self._target.set_task(instance, state, downstream=bool(below) and alike)
                if alike:
                    covered |= below

    def _order(self, dag_id: str) -> tuple[Task, ...]:
        """A DAG's tasks in topological order."""
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
                    f"{self._target.name} reports a cycle of tasks in {dag_id}: {error}"
                ) from error
            self._orders[dag_id] = tuple(tasks[name] for name in names if name in tasks)
        return self._orders[dag_id]


def _wanted(originals: Iterable[TaskInstance], mirrored: Iterable[TaskInstance]) -> dict[TaskKey, Settable]:
    """The state for each mirrored task: that of the same map index, else the worst of the task's."""
    exact: dict[TaskKey, tuple[int, Settable]] = {}
    worst: dict[str, tuple[int, Settable]] = {}
    for task in originals:
        if (ranked := _BADNESS.get(task.state or "")) is not None:
            exact[_key(task)] = ranked
            worst[task.task_id] = max(ranked, worst.get(task.task_id, ranked))
    result: dict[TaskKey, Settable] = {}
    for task in mirrored:
        best_match = exact.get(_key(task)) or worst.get(task.task_id)
        if best_match is None or task.state == "removed":
            continue
        state = best_match[1]
        spreads = task.operator == "ExternalTaskMarker" and state == "failed"
        result[_key(task)] = "skipped" if spreads else state
    return result


def _different(instances: Iterable[TaskInstance], wanted: States) -> bool:
    return any((state := wanted.get(_key(task))) is not None and state != task.state for task in instances)


def _descendants(order: Sequence[Task]) -> dict[str, set[str]]:
    """The ids of all tasks downstream of each task, directly or not."""
    result: dict[str, set[str]] = {}
    for task in reversed(order):
        below = [name for name in task.downstream if name in result]
        result[task.task_id] = set(below).union(*(result[name] for name in below))
    return result


def _key(task: TaskInstance) -> TaskKey:
    return task.task_id, task.map_index


def is_right(run: Run, mirror: Run, note: str) -> bool:
    """Whether the mirror has received the original's final states (`note` says so).

    An original that was cleared afterwards has ended once more, later than its mirror. If it is the mirror
    that ended later, a person cleared it on its own side: that stands.
    """
    if mirror.note != note:
        return False
    again = run.end is not None and mirror.end is not None and run.end > mirror.end
    return mirror.state == run.state or not again


def due_of(run: Run) -> datetime:
    """The due instant of a scheduled run."""
    if run.due is None:
        raise ValueError(f"{run.run_id} of {run.dag_id} is not a scheduled run")
    return run.due
