"""What is in flight while the work goes back and forth: a sensor, and conditions of two assets."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import CronPartitionTimetable, PartitionedAssetTimetable, StartOfDayMapper
from life_common import AGAIN, DAG, Asset, at, dag, once, origin, task

START = origin("back")
A, B = Asset("life_a", uri="x-life://a"), Asset("life_b", uri="x-life://b")
PART_A, PART_B = Asset("life_part_a", uri="x-life://pa"), Asset("life_part_b", uri="x-life://pb")

if START is not None:
    # The producer is of the first ownership, the sensor of the second, and the drain comes with the third.
    with once("back_producer", START, 30):
        task(60, "produce")
    with once("back_sensor", START, 60):
        wait = ExternalTaskSensor(
            task_id="wait",
            external_dag_id="back_producer",
            external_task_id="produce",
            execution_delta=timedelta(seconds=30),
            mode="reschedule",
            poke_interval=3,
            timeout=600,
            **AGAIN,
        )
        wait >> task(task_id="consume")

    # A & B: the first pair before the switches, half a minute apart, the second one after them.
    with once("asset_a", START, 0, 120):
        task(1, outlets=[A])
    with once("asset_b", START, 25, 145):
        task(1, outlets=[B])
    with DAG("asset_both", schedule=A & B, catchup=False, is_paused_upon_creation=False):
        task(1)

    # The same with partitions, whose consumer joins what belongs to one day.
    for name, offset, made in (("part_a", 1, PART_A), ("part_b", 26, PART_B)):
        timetable = CronPartitionTimetable(at(START, offset), timezone="UTC")
        with dag(name, timetable, START - timedelta(minutes=5)):
            task(1, outlets=[made])
    joined = PartitionedAssetTimetable(assets=PART_A & PART_B, default_partition_mapper=StartOfDayMapper())
    with DAG("part_both", schedule=joined, catchup=False, is_paused_upon_creation=False):
        task(1)
