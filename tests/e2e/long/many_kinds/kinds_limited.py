"""Limits and order: pools, priorities, one run or few tasks at a time, the past, deadlines, waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from kinds_common import (
    AGAIN,
    BaseOperator,
    DateTimeSensorAsync,
    ExternalTaskSensor,
    PythonSensor,
    TimeDeltaTrigger,
    asked_before,
    done,
    kind,
    note,
    python,
)
from kinds_schedule import offset

try:
    from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference
except ImportError:  # before Airflow 3.1
    DeadlineAlert = None
try:
    from airflow.models.dag import DAG as OLD  # noqa: F401 - its tasks take `sla`
    from airflow.version import version

    SLA: dict[str, Any] = {"sla": timedelta(minutes=30)} if version.startswith("2.") else {}
except ImportError:
    SLA = {}

with kind("in_pool"):
    [python("one", 1, pool="kinds", pool_slots=2), python("two", 1, pool="kinds")]

with kind("prioritised"):
    [python("urgent", priority_weight=10), python("later", weight_rule="absolute", priority_weight=1)]

with kind("few_tasks", max_active_tasks=1):
    [python(name, 1) for name in "abc"]

with kind("one_run", max_active_runs=1):
    python("work", 3)

with kind("on_the_past", default_args={**AGAIN, "depends_on_past": True}):
    python("work", 2)

with kind("on_downstream", default_args={**AGAIN, "wait_for_downstream": True}):
    python("first") >> python("second", 2)


async def late(**_: Any) -> None:
    """Nobody is told: the deadline is never missed here."""


deadline: dict[str, Any] = {}
if DeadlineAlert is not None:
    alert = DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=1),
        callback=AsyncCallback("kinds_limited.late"),
    )
    deadline["deadline"] = alert
with kind("with_deadline", dagrun_timeout=timedelta(minutes=20), **deadline):
    python("work", **SLA)


def wait() -> bool:
    """True when it is asked for the second time."""
    if not asked_before():
        return False
    done()
    return True


with kind("poking"):
    PythonSensor(task_id="wait", python_callable=wait, poke_interval=2, timeout=300) >> python("work")

with kind("rescheduling"):
    sensor = PythonSensor(
        task_id="wait", python_callable=wait, mode="reschedule", poke_interval=10, timeout=600
    )
    sensor >> python("work")

with kind("deferring_sensor"):
    reached = DateTimeSensorAsync(
        task_id="wait", target_time="{{ data_interval_end.add(seconds=15).isoformat() }}"
    )
    reached >> python("work")


class Deferring(BaseOperator):  # type: ignore[misc]  # Airflow is unknown to mypy
    def execute(self, context: Any) -> None:
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=10)), method_name="finish")

    def finish(self, context: Any, event: Any = None) -> None:
        note("done", context)


with kind("deferring_operator"):
    Deferring(task_id="defer")

with kind("gives_up_softly"):
    hopeless = PythonSensor(
        task_id="hopeless", python_callable=lambda: False, poke_interval=2, timeout=5, soft_fail=True
    )
    hopeless >> python("anyway", trigger_rule="all_done")

with kind("upstream"):
    python("publish", 3)

with kind("downstream"):
    sensor = ExternalTaskSensor(
        task_id="wait",
        external_dag_id="upstream",
        external_task_id="publish",
        execution_delta=timedelta(seconds=offset("downstream") - offset("upstream")),
        mode="reschedule",
        poke_interval=10,
        timeout=900,
    )
    sensor >> python("consume")
