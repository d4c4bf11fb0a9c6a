"""Airflow's names, which differ between the versions, and the zoo's own operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
    from airflow.sdk import (
        DAG,
        Asset,
        AssetWatcher,
        BaseNotifier,
        BaseOperator,
        BaseSensorOperator,
        TaskGroup,
        task,
        task_group,
    )
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import task, task_group
    from airflow.models.baseoperator import BaseOperator
    from airflow.notifications.basenotifier import BaseNotifier
    from airflow.operators.empty import EmptyOperator
    from airflow.operators.python import PythonOperator
    from airflow.operators.trigger_dagrun import TriggerDagRunOperator
    from airflow.sensors.base import BaseSensorOperator
    from airflow.utils.task_group import TaskGroup

    AssetWatcher = None
try:
    from airflow.sdk import CronPartitionTimetable
except ImportError:  # before Airflow 3.3
    CronPartitionTimetable = None
from airflow.triggers.base import StartTriggerArgs
from zoo_ledger import asked_before, note
from zoo_trigger import NotingTrigger

__all__ = [
    "DAG",
    "Asset",
    "AssetWatcher",
    "CronPartitionTimetable",
    "Deferring",
    "EmptyOperator",
    "FromTrigger",
    "Noting",
    "Pager",
    "PythonOperator",
    "Sensing",
    "TaskGroup",
    "TriggerDagRunOperator",
    "task",
    "task_group",
]

Context = Mapping[str, Any]


class Noting(BaseOperator):  # type: ignore[misc]
    """Notes its execution; `text` is a template."""

    template_fields = ("text",)

    def __init__(self, *, text: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context: Context) -> None:
        note("execute", context)


class Pager(BaseNotifier):  # type: ignore[misc]
    """A notifier object for DAGs, with a template; it notes that it was called."""

    template_fields = ("text",)

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.text = what, "{{ run_id }}"

    def notify(self, context: Context) -> None:
        note(f"dag {self.what}", context)


class Sensing(BaseSensorOperator):  # type: ignore[misc]
    """Notes each poke; the second one succeeds."""

    def poke(self, context: Context) -> bool:
        note("poke", context)
        return bool(asked_before(context))


class Deferring(BaseOperator):  # type: ignore[misc]
    """Begins on the worker, waits in the triggerer, ends on the worker; each part is noted."""

    def __init__(self, *, number: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context: Context) -> None:
        note("execute", context)
        mark = {"dag": self.dag_id, "task": self.task_id, "run": context["run_id"]}
        self.defer(trigger=NotingTrigger(mark), method_name="resume")

    def resume(self, context: Context, event: Any) -> None:
        note("resume", context)


class FromTrigger(Deferring):
    """Asks the scheduler to start it in the triggerer, past every worker."""

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="zoo_trigger.NotingTrigger",
        trigger_kwargs={"mark": {"started": "in the triggerer"}},
        next_method="resume",
        next_kwargs=None,
        timeout=None,
    )
