"""A timetable whose runs have ids of its own."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.interval import CronDataIntervalTimetable


class OwnIds(CronDataIntervalTimetable):  # type: ignore[misc]
    """Like the schedule of a cron expression in UTC."""

    def __init__(self, cron: str, timezone: Any = "UTC") -> None:
        super().__init__(cron, timezone)

    def generate_run_id(self, *, run_type: Any, data_interval: Any, **_: Any) -> str:
        end = data_interval.end if data_interval else "now"
        return f"{run_type.value}-until-{end:%Y%m%d-%H%M%S}"


class ZooTimetables(AirflowPlugin):  # type: ignore[misc]
    """Registers it."""

    name = "zoo_timetables"
    timetables = [OwnIds]  # noqa: RUF012 - as Airflow's class declares it
