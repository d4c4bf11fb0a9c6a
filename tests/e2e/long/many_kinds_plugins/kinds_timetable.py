"""A timetable of one's own, registered by a plugin."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.interval import CronDataIntervalTimetable


class EveryPeriod(CronDataIntervalTimetable):  # type: ignore[misc]  # Airflow is unknown to mypy
    """Like the schedule of a cron expression in UTC."""

    def __init__(self, cron: str, timezone: Any = "UTC") -> None:
        super().__init__(cron, timezone)


class KindsPlugin(AirflowPlugin):  # type: ignore[misc]
    name = "kinds"
    timetables = [EveryPeriod]  # noqa: RUF012 - as Airflow's class declares it
