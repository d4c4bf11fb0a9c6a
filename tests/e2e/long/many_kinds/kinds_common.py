"""What the DAGs of many kinds share: Airflow's names, which differ between the versions, and the ledger."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

from kinds_schedule import cron, first_before
from life_common import AGAIN, due_at, note, origin, work

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
    from airflow.providers.standard.operators.python import (
        BranchPythonOperator,
        PythonOperator,
        ShortCircuitOperator,
    )
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
    from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
    from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
    from airflow.providers.standard.sensors.python import PythonSensor
    from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
    from airflow.sdk import (
        DAG,
        Asset,
        BaseHook,
        BaseOperator,
        Param,
        TaskGroup,
        Variable,
        get_current_context,
        setup,
        task,
        task_group,
        teardown,
    )
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import setup, task, task_group, teardown
    from airflow.hooks.base import BaseHook
    from airflow.models import BaseOperator, Variable
    from airflow.models.param import Param
    from airflow.operators.bash import BashOperator
    from airflow.operators.empty import EmptyOperator
    from airflow.operators.latest_only import LatestOnlyOperator
    from airflow.operators.python import (
        BranchPythonOperator,
        PythonOperator,
        ShortCircuitOperator,
        get_current_context,
    )
    from airflow.operators.trigger_dagrun import TriggerDagRunOperator
    from airflow.sensors.date_time import DateTimeSensorAsync
    from airflow.sensors.external_task import ExternalTaskSensor
    from airflow.sensors.python import PythonSensor
    from airflow.triggers.temporal import TimeDeltaTrigger
    from airflow.utils.task_group import TaskGroup

__all__ = [
    "AGAIN",
    "DAG",
    "Asset",
    "BaseHook",
    "BaseOperator",
    "BashOperator",
    "BranchPythonOperator",
    "DateTimeSensorAsync",
    "EmptyOperator",
    "ExternalTaskSensor",
    "LatestOnlyOperator",
    "Param",
    "PythonOperator",
    "PythonSensor",
    "ShortCircuitOperator",
    "TaskGroup",
    "TimeDeltaTrigger",
    "TriggerDagRunOperator",
    "Variable",
    "asked_before",
    "done",
    "done_for",
    "due_at",
    "get_current_context",
    "kind",
    "note",
    "origin",
    "python",
    "setup",
    "start_of",
    "task",
    "task_group",
    "teardown",
    "work",
]
ORIGIN = origin("kinds")


def start_of(name: str) -> datetime:
    assert ORIGIN is not None, "the test announces the origin before it brings these files"
    start: datetime = first_before(name, ORIGIN)
    return start


def kind(name: str, **arguments: Any) -> DAG:
    """A DAG of the folder, due by the schedule of its name, unless `arguments` say otherwise."""
    chosen = {"catchup": True, "is_paused_upon_creation": False, "default_args": AGAIN}
    if "schedule" not in arguments:
        chosen |= {"schedule": cron(name), "start_date": start_of(name)}
    elif "start_date" not in arguments:
        chosen["start_date"] = ORIGIN
    return DAG(name, **{**chosen, **arguments})


def done() -> None:
    """The running task has completed."""
    note("done", get_current_context())


def done_for(due: str) -> None:
    """As `done`, in a run that another one caused, which was due then."""
    context = get_current_context()
    run = context["dag_run"]
    shown = SimpleNamespace(dag_id=run.dag_id, run_id=run.run_id, run_after=datetime.fromisoformat(due))
    note("done", {**context, "dag_run": shown})


def python(task_id: str, seconds: float = 0.1, **arguments: Any) -> PythonOperator:
    """A task that works for some seconds."""
    return PythonOperator(task_id=task_id, python_callable=work, op_args=[seconds], **arguments)


def asked_before() -> bool:
    """False the first time that a run of a task asks on this side, True from then on."""
    import tempfile
    from pathlib import Path

    ti = get_current_context()["ti"]
    mark = Path(tempfile.gettempdir()) / f"{ti.dag_id}-{ti.task_id}-{ti.run_id}-{ti.map_index}".replace(
        ":", ""
    )
    if mark.exists():
        return True
    mark.touch()
    return False
