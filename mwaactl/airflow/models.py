"""What Airflow reports of its DAGs and runs, the same for Airflow 2 and 3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from bluegreen.timeline import due_instant
from pydantic import Field

from mwaactl.json_model import Instant, Model

FINISHED = ("success", "failed")  # states of a run
PARTITIONED = "Partitioned Asset"  # how the schedule of such a DAG begins
_WITHOUT_VERDICT = ("running", "restarting", "up_for_retry", "failed", "upstream_failed")


class Dag(Model):
    """A DAG as the list of DAGs reports it."""

    dag_id: str
    paused: bool
    # Airflow's summary: "*/5 * * * *", "0:05:00", "@continuous", "Asset"; None: no schedule
    schedule: str | None = None
    next_due: Instant | None = None  # the due instant of the next run that the scheduler creates
    next_run_after: Instant | None = None  # when it creates that run
    next_interval_end: Instant | None = None  # when that run's data interval ends
    max_active_runs: int | None = None
    max_active_tasks: int | None = None
    catchup: bool | None = None  # None: the list of DAGs does not report it

    @property
    def endless(self) -> bool:
        """Whether each run becomes due when the one before it ends: at other instants on each side."""
        return self.schedule == "@continuous"

    @property
    def alone(self) -> bool:
        """Whether its settings let only one run, or one task, work at a time."""
        return 1 in (self.max_active_runs, self.max_active_tasks)

    @property
    def by_assets(self) -> bool:
        """Whether assets trigger it, alone or together with a timetable."""
        return (self.schedule or "").startswith(("Asset", "Dataset", PARTITIONED))

    @property
    def by_partitions(self) -> bool:
        """Whether assets trigger it partition by partition (`PartitionedAssetTimetable`, Airflow 3.2)."""
        return (self.schedule or "").startswith(PARTITIONED)

    @property
    def delayed(self) -> bool:
        """Whether its next run is created later than it is due."""
        return self.delay > timedelta()

    @property
    def delay(self) -> timedelta:
        """How much later than it is due its next run is created."""
        if self.next_run_after is None or self.next_due is None:
            return timedelta()
        return self.next_run_after - self.next_due

    @property
    def early(self) -> bool:
        """Whether its next run is created before its data interval has ended."""
        after, end = self.next_run_after, self.next_interval_end
        return after is not None and end is not None and after < end

    @property
    def by_time(self) -> bool:
        """Whether a timetable creates runs of it, alone or together with assets (`AssetOrTimeSchedule`)."""
        return self.schedule is not None and (not self.by_assets or " or " in self.schedule)


class Task(Model):
    """A task as its DAG defines it."""

    task_id: str
    operator: str  # the class's name
    downstream: tuple[str, ...] = ()
    depends_on_past: bool = False
    wait_for_downstream: bool = False
    pool: str | None = None
    pool_slots: int = 1
    template_fields: tuple[str, ...] = ()
    mapped: bool = False


class Run(Model):
    """One run of a DAG."""

    dag_id: str
    run_id: str
    type: str
    state: str
    due: Instant | None  # decides who owns the run; None only for unscheduled runs
    start: Instant | None
    end: Instant | None
    logical_date: Instant | None = None
    interval: tuple[Instant, Instant] | None = None
    note: str | None = None
    conf: dict[str, Any] = Field(default_factory=dict)
    triggered_by: str | None = None  # "operator", "ui", ...; None: Airflow 2 does not report it

    @property
    def key(self) -> tuple[str, str]:
        return self.dag_id, self.run_id

    @property
    def finished(self) -> bool:
        return self.state in FINISHED


class TaskInstance(Model):
    """One task of one run (of one map index)."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int  # -1: not mapped
    state: str | None
    operator: str | None
    started: bool  # whether a process ever worked on it; False if it was skipped from the start
    start: Instant | None = None
    tries: int = 1
    rendered: dict[str, Any] = Field(default_factory=dict)  # its template fields, once they are rendered

    @property
    def passed_over(self) -> bool:
        """Whether it was skipped before a process worked on it, as the gate does."""
        return not self.started and self.state in ("skipped", "removed")

    @property
    def executed(self) -> bool:
        """Whether it did its work, or tried to: the gate skips a task that must not."""
        return self.started and self.state not in (None, "skipped", "removed")

    @property
    def worked(self) -> bool:
        """Whether a task of a run that the other side owns did anything here.

        A task that waits for a verdict, or that the gate failed for lack of one, also has a process and a
        state, but is never rendered.
        """
        gated = self.state in _WITHOUT_VERDICT and not self.rendered
        return self.executed and not gated


class Pool(Model):
    """A pool: slots that tasks of several DAGs share."""

    name: str
    slots: int
    description: str = ""
    include_deferred: bool = False


class Asset(Model):
    """An asset (Airflow 2: dataset) with the DAGs that produce it and those that it triggers."""

    id: int
    uri: str
    producers: tuple[str, ...] = ()
    # The DAGs that it triggers, and since when: an earlier event does not wait for them.
    consumers: dict[str, Instant | None] = Field(default_factory=dict)


class AssetEvent(Model):
    """One event of an asset."""

    at: Instant
    partition: str | None
    created: frozenset[str]  # the DAGs of which it has created a run


class ImportProblem(Model):
    """A DAG file that Airflow cannot import."""

    file: str
    message: str  # the last line of the traceback
    at: Instant | None = None


class ParsedDag(Model):
    """Where Airflow has a DAG from."""

    dag_id: str
    file: str  # on Airflow's machine
    parsed: Instant | None  # when it was parsed last


# --- from JSON: what is the same in v1 and v2 of Airflow's REST API (the rest: `mwaactl.airflow.dialect`) ---


def dag(answer: Mapping[str, Any], schedule: str | None, next_run_after: str | None) -> Dag:
    after, end = instant(next_run_after), instant(answer.get("next_dagrun_data_interval_end"))
    return Dag(
        dag_id=answer["dag_id"],
        paused=bool(answer["is_paused"]),
        schedule=schedule,
        next_due=due_instant(after, end) if after is not None else None,
        next_run_after=after,
        next_interval_end=end,
        max_active_runs=answer.get("max_active_runs"),
        max_active_tasks=answer.get("max_active_tasks"),
        catchup=answer.get("catchup"),
    )


def task(answer: Mapping[str, Any]) -> Task:
    return Task(
        task_id=answer["task_id"],
        operator=(answer.get("class_ref") or {}).get("class_name") or answer.get("operator_name") or "",
        downstream=tuple(answer.get("downstream_task_ids") or ()),
        depends_on_past=bool(answer.get("depends_on_past")),
        wait_for_downstream=bool(answer.get("wait_for_downstream")),
        pool=answer.get("pool"),
        pool_slots=int(answer.get("pool_slots") or 1),
        template_fields=tuple(answer.get("template_fields") or ()),
        mapped=bool(answer.get("is_mapped")),
    )


def run(answer: Mapping[str, Any]) -> Run:
    begin, end = instant(answer.get("data_interval_start")), instant(answer.get("data_interval_end"))
    return Run(
        dag_id=answer["dag_id"],
        run_id=answer["dag_run_id"],
        # Airflow 2 takes the type from the id, also of a run that TriggerDagRunOperator or a person creates
        type="manual" if answer.get("external_trigger") else answer["run_type"],
        state=answer["state"],
        due=due_instant(instant(answer.get("run_after")), end),
        start=instant(answer.get("start_date")),
        end=instant(answer.get("end_date")),
        logical_date=instant(answer.get("logical_date")),
        interval=(begin, end) if begin and end else None,
        note=answer.get("note"),
        conf=answer.get("conf") or {},
        triggered_by=answer.get("triggered_by"),
    )


def task_instance(answer: Mapping[str, Any]) -> TaskInstance:
    return TaskInstance(
        dag_id=answer["dag_id"],
        run_id=answer["dag_run_id"],
        task_id=answer["task_id"],
        map_index=answer.get("map_index", -1),
        state=answer.get("state"),
        operator=answer.get("operator_name") or answer.get("operator"),
        started=bool(answer.get("pid") or answer.get("hostname")),
        start=instant(answer.get("start_date")),
        tries=answer.get("try_number") or 0,
        rendered=answer.get("rendered_fields") or {},
    )


def pool(answer: Mapping[str, Any]) -> Pool:
    return Pool(
        name=answer["name"],
        slots=answer["slots"],
        description=answer.get("description") or "",
        include_deferred=bool(answer.get("include_deferred")),
    )


def asset(answer: Mapping[str, Any], consumers: Iterable[Mapping[str, Any]] | None) -> Asset:
    return Asset(
        id=answer["id"],
        uri=answer["uri"],
        producers=tuple(task["dag_id"] for task in answer.get("producing_tasks") or ()),
        consumers={dag["dag_id"]: instant(dag.get("created_at")) for dag in consumers or ()},
    )


def asset_event(answer: Mapping[str, Any]) -> AssetEvent:
    return AssetEvent(
        at=datetime.fromisoformat(answer["timestamp"]),
        partition=answer.get("partition_key"),
        created=frozenset(run["dag_id"] for run in answer.get("created_dagruns") or ()),
    )


def import_problem(answer: Mapping[str, Any]) -> ImportProblem:
    lines = [line.strip() for line in str(answer.get("stack_trace") or "").splitlines() if line.strip()]
    return ImportProblem(
        file=str(answer.get("filename")),
        message=lines[-1] if lines else "no message",
        at=instant(answer.get("timestamp")),
    )


def parsed_dag(answer: Mapping[str, Any]) -> ParsedDag:
    return ParsedDag(
        dag_id=answer["dag_id"],
        file=str(answer.get("fileloc") or ""),
        parsed=instant(answer.get("last_parsed_time")),
    )


def instant(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None
