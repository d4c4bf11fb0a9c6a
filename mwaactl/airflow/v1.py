"""Airflow's REST API v1, of Airflow 2 (`mwaactl.airflow.dialect`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from mwaactl.airflow import models as read
from mwaactl.airflow.models import Asset, Dag, Run
from mwaactl.json_model import iso

HEALTH = "/health"
ASSETS = "datasets"
QUEUED_EVENTS = "datasets/queuedEvent"
CONDITION = "dataset_expression"
SHOWS_SOURCES = False
NOTE = "/setNote"
CLEAR: Mapping[str, bool] = {"dry_run": False}
NEWEST_RUNS: Mapping[str, str] = {"order_by": "-execution_date"}  # there is no order by due instant
REMOVED_TOO: Mapping[str, str] = {"only_active": "false"}
SCHEDULED_ONLY: Mapping[str, str] = {}
TASK_INSTANCES: Mapping[str, str] = {}  # an order cannot be requested
TASK_INSTANCES_PAGE = 500  # without an order, a second page may repeat or skip entries
TASK_STATE: Mapping[str, bool] = {"dry_run": False}
DOWNSTREAM: Mapping[str, bool] = {}


def dag(answer: Mapping[str, Any]) -> Dag:
    interval = answer.get("schedule_interval")
    return read.dag(answer, _schedule(interval) if interval else None, answer.get("next_dagrun_create_after"))


def _schedule(interval: Mapping[str, Any]) -> str | None:
    """A schedule as Airflow 3 writes it."""
    parts = {name: number for name, number in interval.items() if name != "__type" and number}
    match interval.get("__type"):
        case "TimeDelta":
            return str(timedelta(**parts))
        case "RelativeDelta":
            return f"relativedelta({', '.join(f'{name}={number}' for name, number in parts.items())})"
    return interval.get("value")


def asset(answer: Mapping[str, Any]) -> Asset:
    return read.asset(answer, answer.get("consuming_dags"))


def queued_asset(event: Mapping[str, Any]) -> str:
    return str(event["uri"])


def runs_due(_since: datetime, _until: datetime) -> dict[str, str]:
    """The newest runs first, as ids grow with time: there is no filter by due instant."""
    return {"order_by": "-id"}


def created_until(until: datetime) -> dict[str, str]:
    """By execution date, which is the begin of the interval: nothing is due before it."""
    return {"execution_date_lte": iso(until)}


def runs_like(run: Run) -> dict[str, str] | None:
    """Those with the same logical date, which Airflow 2 calls execution date."""
    if run.logical_date is None:
        return None
    return {f"execution_date_{end}": run.logical_date.isoformat() for end in ("gte", "lte")}


def late_runs_due(_since: datetime) -> dict[str, str]:
    return {}


def ends_runs_due(answer: Mapping[str, Any], since: datetime) -> bool:
    """True at a scheduled run that started before `since`: it and all after it were due before that."""
    start = read.instant(answer.get("start_date"))
    return start is not None and start < since and answer.get("run_type") == "scheduled"


def logical_date_of(run: Run) -> dict[str, str | None]:
    return (
        {"logical_date": run.logical_date.isoformat()} if run.logical_date else {}
    )  # Airflow takes the present


def due_of(_run: Run) -> dict[str, str]:
    return {}
