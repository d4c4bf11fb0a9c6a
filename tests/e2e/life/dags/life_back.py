"""Switched to and back before the drain: a producer of the first ownership, a sensor of the second."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from life_common import once, origin, task

START = origin("back")

if START is not None:
    with once("back_producer", START, 10):
        task(75, "produce")
    with once("back_sensor", START, 40):
        wait = ExternalTaskSensor(
            task_id="wait",
            external_dag_id="back_producer",
            external_task_id="produce",
            execution_delta=timedelta(seconds=30),
            mode="reschedule",
            poke_interval=3,
            timeout=600,
        )
        wait >> task(task_id="consume")
