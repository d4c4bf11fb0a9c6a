"""What both sides record about the audit's window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from bluegreen.timeline import Colour, Timeline

from mwaactl.airflow.models import Dag, Run, TaskInstance
from mwaactl.airflow.notes import has_copied_states, was_rerun
from mwaactl.recovery.completed_runs import Key

Span = tuple[datetime, datetime | None]  # from when to when a run was unfinished; None: it still is


@dataclass(frozen=True)
class DagHistory:
    """What tells a run that Airflow itself passed over, or whose tasks it skipped, from one that was lost."""

    catchup: bool  # whether Airflow creates every run, however late
    max_active_runs: int | None
    at_work: tuple[Span, ...]  # of the runs of any type in the window
    first_due: datetime | None  # of its oldest scheduled run
    mapped: frozenset[str]  # the ids of mapped tasks


@dataclass(frozen=True)
class SideRecords:
    """What one environment records about the window; with `from_lineage`, what the lineage log does."""

    dags: Mapping[str, Dag]
    runs: Mapping[Key, Run]
    tasks: Mapping[tuple[str, str], Sequence[TaskInstance]]  # of finished runs, by Run.key
    unfinished: tuple[Run, ...] = ()  # of any type and time
    from_lineage: bool = False  # only runs that were worked on, without their tasks
    histories: Mapping[str, DagHistory] = field(default_factory=dict)  # of the DAGs that need it

    @cached_property
    def busy(self) -> frozenset[str]:
        """The DAGs with an unfinished run."""
        return frozenset(run.dag_id for run in self.unfinished)

    def worked_on(self, run: Run) -> bool:
        """Whether a run that another side owned was worked on here.

        The copied states of a mirror prove nothing; rendered template fields do.
        """
        if self.from_lineage:
            return True
        tasks = [task for task in self.tasks[run.key] if task.worked]
        return any(task.rendered for task in tasks) if has_copied_states(run) else bool(tasks)

    def skipped(self, run: Run) -> bool:
        """Whether a run that this side owned was created with all tasks skipped, as the gate does it.

        Airflow itself skips a task without a process in two ways. If it follows from an upstream task, the
        task has a start. A task that is mapped over nothing has none.
        """
        tasks = self.tasks.get(run.key, ())
        untried = all(task.state in ("skipped", "removed") and not task.started for task in tasks)
        if run.state != "success" or not untried or was_rerun(run):
            return False
        history = self.histories.get(run.dag_id)
        mapped = history.mapped if history else frozenset()
        return any(
            task.start is None and not (task.task_id in mapped and task.map_index < 0) for task in tasks
        )

    def is_past(self, dag_id: str, due: datetime) -> bool:
        """Whether the scheduler will no longer create a run for this instant."""
        dag = self.dags.get(dag_id)
        if dag is None:
            return True
        if dag.next_due is None:  # the schedule is over; or max_active_runs is reached (Airflow before 3.3)
            return dag_id not in self.busy
        return dag.next_due > due

    def passes_over(self, dag_id: str, due: datetime) -> bool:
        """Whether Airflow itself creates no run for this instant: with `catchup=False` it passes over those
        that become due while as many runs as the DAG may have are unfinished. What is due on the other side
        of a `@continuous` DAG never is here."""
        if (dag := self.dags.get(dag_id)) is not None and dag.endless:
            return True
        history = self.histories.get(dag_id)
        if history is None or history.catchup or history.max_active_runs is None:
            return False
        unfinished = sum(begin <= due and (end is None or due < end) for begin, end in history.at_work)
        return unfinished >= history.max_active_runs


@dataclass(frozen=True)
class Records:
    """The records that the audit judges by."""

    timeline: Timeline
    now: datetime  # by AWS's clock
    sides: Mapping[Colour, SideRecords]
    silent: Mapping[Colour, str]  # sides that do not answer, and why
    stopped: Mapping[Colour, str] = field(default_factory=dict)  # sides that finish nothing, and why
    begins: Mapping[Colour, datetime] = field(default_factory=dict)  # when each environment was created
    former: Mapping[Key, str] = field(
        default_factory=dict
    )  # states by the log, of environments that are gone

    @property
    def keys(self) -> list[Key]:
        """Every (DAG id, due instant) for which a side has a run, ordered by instant."""
        return sorted({key for side in self.sides.values() for key in side.runs}, key=lambda key: key[::-1])

    def runs(self, key: Key) -> dict[Colour, Run]:
        """Each side's run for one instant."""
        return {colour: side.runs[key] for colour, side in self.sides.items() if key in side.runs}

    def owner(self, key: Key) -> Colour | None:
        """The owner of one instant; None: an environment that no longer exists, or nobody."""
        return self.timeline.owner(key[1], key[0])

    def owner_is_gone(self, key: Key) -> bool:
        """Whether the owner's records of one instant are gone, or never were: the environment was created
        later, and has no run for it."""
        owner = self.owner(key)
        if owner is None:
            return True
        begin = self.begins.get(owner)
        return begin is not None and key[1] < begin and owner not in self.runs(key)

    def begun(self, key: Key) -> bool:
        """Whether the DAG had begun by this instant: an owner has a run of it that was due earlier.

        A scheduler begins with the newest instant at the time when it first sees the DAG (or it is unpaused).
        Where the other side saw it first, it has mirrors of runs that no Airflow would have created.
        """
        begin = self._begins_of_dags.get(key[0])
        return begin is not None and begin < key[1]

    @cached_property
    def _begins_of_dags(self) -> dict[str, datetime]:
        """The earliest known instant of each DAG whose owner has a run for it, or is gone."""
        begins: dict[str, datetime] = {}
        for colour, side in self.sides.items():
            first = [(dag_id, history.first_due) for dag_id, history in side.histories.items()]
            for dag_id, due in (*side.runs, *first):
                if due is None or self.owner((dag_id, due)) not in (colour, None):
                    continue
                begins[dag_id] = min(due, begins.get(dag_id, due))
        return begins
