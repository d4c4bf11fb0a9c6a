"""The load: small DAGs of every kind whose tasks write to the ledger when they start and when they are done.

Set up by `load.json` beside this file: {"ledger": path, "start": time, "pattern": "gate"|"ask"}.
"ask" is the common way to have two environments without a gate: each DAG's first task asks a parameter
"who is active now" and skips the rest.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

# Airflow looks for DAGs only in files that contain its name.
from load_common import CHOSEN, COLOUR, dag, due_at, every, note, work

try:
    from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
    from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
    from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
    from airflow.sdk import Asset, BaseOperator
except ImportError:  # Airflow 2
    from airflow.datasets import Dataset as Asset
    from airflow.models.baseoperator import BaseOperator
    from airflow.operators.python import PythonOperator, ShortCircuitOperator
    from airflow.sensors.external_task import ExternalTaskSensor
    from airflow.triggers.temporal import TimeDeltaTrigger


def fail_first(**context: Any) -> None:
    note("start", context)
    if context["ti"].try_number == 1:
        raise RuntimeError("fails at first, as planned")
    note("done", context)


def sometimes_long(period: float, **context: Any) -> None:
    """Every fourth run takes longer than its period; the average stays well below it."""
    turn = int(due_at(context["dag_run"]).timestamp() / period)
    work(period * 1.2 if turn % 4 == 0 else period * 0.2, **context)


class Deferring(BaseOperator):  # type: ignore[misc]  # Airflow is unknown to mypy
    def execute(self, context: Any) -> None:
        note("start", context)
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=2)), method_name="finish")

    def finish(self, context: Any, event: Any = None) -> None:
        note("done", context)


class Awaiting(ExternalTaskSensor):  # type: ignore[misc]
    def execute(self, context: Any) -> None:
        note("start", context)
        super().execute(context)
        note("done", context)


def active_here(**context: Any) -> bool:
    """The common pattern: who is active at the moment this task happens to run?"""
    import boto3

    note("asked", context)
    ssm = boto3.client("ssm")
    return bool(ssm.get_parameter(Name=CHOSEN["parameter"])["Parameter"]["Value"] == COLOUR)


def period(name: str) -> str:
    """The schedule of a DAG, as the test computes it (schedule.py)."""
    schedule: str = every(CHOSEN["periods"][f"load_{name}"])
    return schedule


def first(task: Any) -> None:
    """Put the common pattern's question before a DAG's first task."""
    if CHOSEN["pattern"] == "ask":
        ShortCircuitOperator(task_id="active_here", python_callable=active_here) >> task


def plain(task_id: str, seconds: float) -> PythonOperator:
    return PythonOperator(task_id=task_id, python_callable=work, op_args=[seconds])


with dag("fast", period("fast")):
    first(plain("work", 0.1))

with dag("minute", "* * * * *"):
    one, two = plain("one", 1), plain("two", 1)
    first(one)
    one >> two

with dag("mapped", period("mapped")):
    each = PythonOperator.partial(task_id="each", python_callable=work).expand(op_args=[[0.1], [0.2], [0.3]])
    reduced = PythonOperator(task_id="reduce", python_callable=work, op_args=[0.1], trigger_rule="all_done")
    first(each)
    each >> reduced

with dag("deferred", period("deferred")):
    first(Deferring(task_id="work"))

with dag("retried", period("retried")):
    first(PythonOperator(task_id="work", python_callable=fail_first))

with dag("serial", period("serial"), max_active_runs=1):
    first(
        PythonOperator(
            task_id="work", python_callable=sometimes_long, op_args=[CHOSEN["periods"]["load_serial"]]
        )
    )

with dag("past", period("past")):
    first(
        PythonOperator(
            task_id="work",
            python_callable=sometimes_long,
            op_args=[CHOSEN["periods"]["load_past"]],
            depends_on_past=True,
        )
    )

with dag("late", period("late")):
    first(plain("work", 25))

with dag("producer", period("producer")):
    first(
        PythonOperator(
            task_id="work", python_callable=work, op_args=[1], outlets=[Asset(uri="x-load://made")]
        )
    )

with dag("consumer", [Asset(uri="x-load://made")]):
    first(plain("work", 0.5))

with dag("upstream", period("upstream")):
    first(plain("work", 4))

with dag("awaiting", period("awaiting")):
    sensor = Awaiting(
        task_id="wait",
        external_dag_id="load_upstream",
        external_task_id="work",
        mode="reschedule",
        poke_interval=3,
        timeout=150,
    )
    first(sensor)
    sensor >> plain("work", 0.1)
