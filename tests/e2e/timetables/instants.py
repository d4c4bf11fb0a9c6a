"""Prints the due instants that Airflow's own timetable gives a DAG on sides with different histories.

Run with an Airflow's Python. The scheduler's time is simulated: one tick a minute, from 09:02 to 10:01.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from unittest import mock

import pendulum
from airflow.timetables import interval
from airflow.timetables.base import TimeRestriction

BEGIN = pendulum.datetime(2026, 11, 23, 9, 2, tz="UTC")
TICKS = [BEGIN.add(minutes=minute) for minute in range(60)]
HISTORIES = {
    "always up": TICKS,
    "away for 15 minutes": [*TICKS[:20], *TICKS[35:]],
    "created later": TICKS[35:],
}
FIVE = timedelta(minutes=5)
OFF, ON = BEGIN, BEGIN.replace(minute=0)
CASES = {
    "timedelta from 09:02": (interval.DeltaDataIntervalTimetable(FIVE), OFF, False),
    "timedelta from 09:00": (interval.DeltaDataIntervalTimetable(FIVE), ON, False),
    "timedelta from 09:02, catchup": (interval.DeltaDataIntervalTimetable(FIVE), OFF, True),
    "cron": (interval.CronDataIntervalTimetable("*/5 * * * *", pendulum.timezone("UTC")), OFF, False),
}


def at(now: Any) -> Any:
    """Let the timetables take this instant for the present, in whichever way their version asks for it."""
    place = interval if hasattr(interval, "utcnow") else interval.timezone
    return mock.patch.object(place, "utcnow", return_value=now)


def instants(timetable: Any, start: Any, catchup: bool, ticks: list[Any]) -> list[str]:
    """The due instants in the last ten minutes, and the next one, as HH:MM."""
    restriction = TimeRestriction(earliest=start, latest=None, catchup=catchup)
    last: Any = None
    due: list[Any] = []
    for now in ticks:
        with at(now):
            info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
            while info.run_after <= now:
                last = info.data_interval
                due.append(info.run_after)
                info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
    due.append(info.run_after)
    return [f"{instant:%H:%M}" for instant in due if instant > TICKS[-1].subtract(minutes=10)]


print(
    json.dumps(
        {
            case: {name: instants(*definition, ticks) for name, ticks in HISTORIES.items()}
            for case, definition in CASES.items()
        }
    )
)
