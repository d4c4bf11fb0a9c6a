"""Schedules of all kinds, and runs that other runs cause."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.timetables.events import EventsTimetable  # Airflow 3.3.1 cannot serialise its `airflow.sdk`'s
from airflow.timetables.interval import CronDataIntervalTimetable
from kinds_common import (
    ORIGIN,
    Asset,
    PythonOperator,
    TriggerDagRunOperator,
    done_for,
    due_at,
    get_current_context,
    kind,
    note,
    python,
    start_of,
)
from kinds_schedule import PERIOD, cron
from kinds_timetable import EveryPeriod

assert ORIGIN is not None

with kind("no_catchup", catchup=False):
    python("work")

berlin = CronDataIntervalTimetable(cron("berlin"), timezone="Europe/Berlin")
with kind("berlin", schedule=berlin, start_date=start_of("berlin")):
    python("work")

with kind("delta", schedule=timedelta(seconds=PERIOD), start_date=start_of("delta")):
    python("work")

with kind("own_timetable", schedule=EveryPeriod(cron("own_timetable")), start_date=start_of("own_timetable")):
    python("work")

# Its first interval must have a length, or Airflow makes no second run.
with kind("endless", schedule="@continuous", max_active_runs=1, start_date=ORIGIN - timedelta(days=1)):
    python("work", 45)

events = EventsTimetable(event_dates=[ORIGIN + timedelta(seconds=each) for each in (75, 200, 333, 460)])
with kind("at_events", schedule=events):
    python("work")

with kind("at_once", schedule="@once"):
    python("work")

# The interval before the origin's, and five more: all due when Airflow first sees it.
with kind("from_the_past", schedule="* * * * *", start_date=ORIGIN - timedelta(minutes=6), end_date=ORIGIN):
    python("work")

with kind("by_hand", schedule=None):
    python("work")

with kind("backfilled", schedule="@daily", start_date=ORIGIN - timedelta(days=400), catchup=False):
    python("work")

# Runs that others cause: each notes when its cause was due.
FIRST, SECOND, THIRD, LAST = (Asset(f"x-kinds://{name}") for name in ("first", "second", "third", "last"))

with kind("parent"):
    trigger = TriggerDagRunOperator(
        task_id="trigger",
        trigger_dag_id="child",
        trigger_run_id="of_{{ run_id }}",  # so that a retry of this task triggers nothing new
        skip_when_already_exists=True,
        conf={"due": "{{ data_interval_end.isoformat() }}"},
    )
    python("before") >> trigger


def of_parent() -> None:
    done_for(get_current_context()["dag_run"].conf["due"])


with kind("child", schedule=None):
    PythonOperator(task_id="work", python_callable=of_parent)


def produce(outlet: Any, **context: Any) -> None:
    due = due_at(context["dag_run"]).isoformat()
    _extra(context, outlet)["due"] = due
    note("done", context)


def _extra(context: Any, outlet: Any) -> Any:
    return context["outlet_events"][outlet].extra


def causes() -> list[str]:
    """The due instants that the events which caused this run tell."""
    context = get_current_context()
    found = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
    return [due for events in found.values() for event in events for due in event.extra["due"].split(",")]


def consume() -> None:
    for due in causes():
        done_for(due)


def pass_on(**context: Any) -> None:
    for due in causes():
        done_for(due)
    _extra(context, SECOND)["due"] = ",".join(causes())


with kind("producer"):
    PythonOperator(task_id="produce", python_callable=produce, op_args=[FIRST], outlets=[FIRST])

with kind("chained", schedule=[FIRST]):
    PythonOperator(task_id="pass_on", python_callable=pass_on, outlets=[SECOND])

with kind("end_of_chain", schedule=[SECOND]):
    PythonOperator(task_id="consume", python_callable=consume)

with kind("other_producer"):
    PythonOperator(task_id="produce", python_callable=produce, op_args=[THIRD], outlets=[THIRD])

with kind("either_of_two", schedule=(THIRD | LAST)):
    PythonOperator(task_id="consume", python_callable=consume)

with kind("both_of_two", schedule=(FIRST & THIRD)):
    PythonOperator(task_id="consume", python_callable=consume)
