"""What is in flight while the first switch takes place, between 55 and 109 seconds after the origin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable
from life_common import AGAIN, DAG, Asset, at, dag, due_at, every, fail_until, once, origin, task, work

START = origin("around")
BEFORE, AFTER = 48, 110  # seconds from the origin: due before the switch, and still at work; due after it
EARLIER = 120  # seconds: what looks at other DAGs is known by its earlier runs
EITHER = Asset("life_either", uri="x-life://either")


def consumer(name: str, external: str, **how: Any) -> DAG:
    """Waits for what was due before the switch, and is due after it itself; it has run once before."""
    assert START is not None
    with once(name, START, AFTER - EARLIER, AFTER) as made:
        wait = ExternalTaskSensor(
            task_id="wait",
            external_dag_id=external,
            execution_delta=timedelta(seconds=AFTER - BEFORE),
            mode="reschedule",
            poke_interval=3,
            timeout=600,
            **AGAIN,
            **how,
        )
        wait >> task(task_id="consume")
    return made


if START is not None:

    def long_at(offset: int, seconds: float) -> Callable[..., None]:
        """Works long in the run that is due so many seconds after the origin, and a second in others."""

        def called(**context: Any) -> None:
            due = due_at(context["dag_run"])
            work(seconds if due == START + timedelta(seconds=offset) else 1, **context)

        return called

    # Sensors: the producer works until 128, another DAG until 182.
    with once("sensor_producer", START, BEFORE - EARLIER, BEFORE):
        task(long_at(BEFORE, 80), "produce")
    with once("unrelated", START, BEFORE + 4):
        task(130)
    consumer("sensor_of_dag", "sensor_producer")
    consumer("sensor_of_task", "sensor_producer", external_task_id="produce")
    consumer(
        "sensor_of_done", "sensor_producer", external_task_id="produce", allowed_states=["success", "skipped"]
    )

    # AssetOrTimeSchedule, one at a time: the asset's run is at work during the switch.
    with once("either_producer", START, BEFORE + 6):
        task(1, outlets=[EITHER])
    with DAG(
        "either",
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(at(START, AFTER), timezone="UTC"), assets=[EITHER]
        ),
        start_date=START - timedelta(minutes=5),
        catchup=True,
        max_active_runs=1,
        is_paused_upon_creation=False,
    ):
        task(70)

    # Failed and cleared before the switch, two at a time: most of them start after it.
    with dag("cleared", every(5), START, end_date=START + timedelta(seconds=30), max_active_runs=2):
        task(fail_until("repaired", 25))

    # Failed on the old side, and no run since: the next one depends on it.
    with once("past", START, 30, 150):
        task(fail_until("past repaired", 1), depends_on_past=True)

    # Busy at the switch, among more than a hundred unfinished runs of which one ends every moment.
    with dag("serial", every(30), START, end_date=START + timedelta(seconds=210), max_active_runs=1):
        task(long_at(30, 90))
    with DAG("many", schedule=None, max_active_runs=1, is_paused_upon_creation=False):
        task(1)

    # Healthy, although not every instant was executed: see the audit's false alarms.
    with dag(
        "passes_over",
        every(10),
        START,
        catchup=False,
        max_active_runs=1,
        end_date=START + timedelta(seconds=40),
    ):
        task(25)
    with dag("maps_nothing", every(20), START, end_date=START + timedelta(seconds=40)):
        nothing = task(lambda **_: [], task_id="nothing")
        EmptyOperator.partial(task_id="none").expand_kwargs(nothing.output)
    with dag("healthy", "* * * * *", START - timedelta(days=30), catchup=False):
        task(0.1)

    # Paused on the owner for a while, after the switch: what was due meanwhile is lost.
    with dag("lost", every(15), START, catchup=False, end_date=START + timedelta(seconds=195)):
        task(0.1)

    # Paused on both sides until the old one has drained: what was due before the switch is left over.
    with dag(
        "sleeper", every(30), START, end_date=START + timedelta(seconds=150), is_paused_upon_creation=True
    ):
        task(0.1)
