"""What Airflow tells about its DAGs and runs, the same for Airflow 2 and 3."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from mwaactl.json_model import Instant, Model

FINISHED = ("success", "failed")  # states of a run
_WITHOUT_VERDICT = ("running", "restarting", "up_for_retry", "failed", "upstream_failed")


class Dag(Model):
    """A DAG as the list of DAGs has it."""

    dag_id: str
    paused: bool
    # Airflow's summary: "*/5 * * * *", "0:05:00", "@continuous", "Asset"; None: none
    schedule: str | None = None
    next_due: Instant | None = None  # the due instant of the next run that the scheduler makes
    max_active_runs: int | None = None

    @property
    def by_assets(self) -> bool:
        """Whether assets trigger it, alone or beside a timetable."""
        return (self.schedule or "").startswith(("Asset", "Dataset"))


class Task(Model):
    """A task as its DAG defines it."""

    task_id: str
    operator: str  # the class's name
    downstream: tuple[str, ...] = ()
    depends_on_past: bool = False
    wait_for_downstream: bool = False
    template_fields: tuple[str, ...] = ()


class Run(Model):
    """One run of a DAG."""

    dag_id: str
    run_id: str
    type: str
    state: str
    due: Instant | None  # whose run it is follows from this; None only for runs that no schedule made
    start: Instant | None
    end: Instant | None
    logical_date: Instant | None = None
    interval: tuple[Instant, Instant] | None = None
    note: str | None = None

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
    started: bool  # whether a process ever worked on it: false for one that was born skipped
    start: Instant | None = None
    rendered: dict[str, Any] = Field(default_factory=dict)  # its template fields, of one that was rendered

    @property
    def executed(self) -> bool:
        """Whether it did its work, or tried to: the gate leaves one that it stops as skipped."""
        return self.started and self.state not in (None, "skipped", "removed")

    @property
    def worked(self) -> bool:
        """Whether a task of a run of the other side did anything here.

        One that waits for a verdict, or that the gate failed for want of one, has a process and a state too,
        but was never rendered.
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
    """An asset (Airflow 2: dataset) with the DAGs that make it and those that it triggers."""

    id: int
    uri: str
    producers: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()


class ImportProblem(Model):
    """A DAG file that Airflow cannot import."""

    file: str
    message: str  # the last line of the traceback


# --- from the JSON of Airflow's REST API, v1 (Airflow 2) or v2 ---


def dag(found: dict[str, Any]) -> Dag:
    schedule = found.get("timetable_summary")
    if schedule == "None":  # how Airflow 3 says that there is none
        schedule = None
    elif schedule is None and (old := found.get("schedule_interval")):
        schedule = _schedule_of_airflow_2(old)
    return Dag(
        dag_id=found["dag_id"],
        paused=bool(found["is_paused"]),
        schedule=schedule,
        next_due=instant(found.get("next_dagrun_run_after") or found.get("next_dagrun_create_after")),
        max_active_runs=found.get("max_active_runs"),
    )


def _schedule_of_airflow_2(found: dict[str, Any]) -> str | None:
    parts = {name: number for name, number in found.items() if name != "__type" and number}
    match found.get("__type"):
        case "TimeDelta":
            return str(timedelta(**parts))
        case "RelativeDelta":
            return f"relativedelta({', '.join(f'{name}={number}' for name, number in parts.items())})"
    return found.get("value")


def task(found: dict[str, Any]) -> Task:
    return Task(
        task_id=found["task_id"],
        operator=(found.get("class_ref") or {}).get("class_name") or found.get("operator_name") or "",
        downstream=tuple(found.get("downstream_task_ids") or ()),
        depends_on_past=bool(found.get("depends_on_past")),
        wait_for_downstream=bool(found.get("wait_for_downstream")),
        template_fields=tuple(found.get("template_fields") or ()),
    )


def run(found: dict[str, Any]) -> Run:
    begin, end = instant(found.get("data_interval_start")), instant(found.get("data_interval_end"))
    return Run(
        dag_id=found["dag_id"],
        run_id=found["dag_run_id"],
        type=found["run_type"],
        state=found["state"],
        due=instant(found.get("run_after")) or end,
        start=instant(found.get("start_date")),
        end=instant(found.get("end_date")),
        logical_date=instant(found.get("logical_date")),
        interval=(begin, end) if begin and end else None,
        note=found.get("note"),
    )


def task_instance(found: dict[str, Any]) -> TaskInstance:
    return TaskInstance(
        dag_id=found["dag_id"],
        run_id=found["dag_run_id"],
        task_id=found["task_id"],
        map_index=found.get("map_index", -1),
        state=found.get("state"),
        operator=found.get("operator_name") or found.get("operator"),
        started=bool(found.get("pid") or found.get("hostname")),
        start=instant(found.get("start_date")),
        rendered=found.get("rendered_fields") or {},
    )


def pool(found: dict[str, Any]) -> Pool:
    return Pool(
        name=found["name"],
        slots=found["slots"],
        description=found.get("description") or "",
        include_deferred=bool(found.get("include_deferred")),
    )


def asset(found: dict[str, Any]) -> Asset:
    """`scheduled_dags` since Airflow 3.1, `consuming_dags` before."""
    consumers = found.get("scheduled_dags") or found.get("consuming_dags") or ()
    return Asset(
        id=found["id"],
        uri=found["uri"],
        producers=tuple(one["dag_id"] for one in found.get("producing_tasks") or ()),
        consumers=tuple(one["dag_id"] for one in consumers),
    )


def import_problem(found: dict[str, Any]) -> ImportProblem:
    lines = [line.strip() for line in str(found.get("stack_trace") or "").splitlines() if line.strip()]
    return ImportProblem(file=str(found.get("filename")), message=lines[-1] if lines else "no message")


def instant(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None
