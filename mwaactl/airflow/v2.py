"""Airflow's REST API v2, of Airflow 3 (`mwaactl.airflow.dialect`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from mwaactl.airflow import models as read
from mwaactl.airflow.models import Asset, Dag, Run
from mwaactl.json_model import iso

HEALTH = "/monitor/health"
ASSETS = "assets"
QUEUED_EVENTS = "assets/queuedEvents"
CONDITION = "asset_expression"
SHOWS_SOURCES = True
NOTE = ""
CLEAR: Mapping[str, bool] = {"dry_run": False, "only_failed": False}
NEWEST_RUNS: Mapping[str, str] = {"order_by": "-run_after"}
REMOVED_TOO: Mapping[str, str] = {"exclude_stale": "false"}
SCHEDULED_ONLY: Mapping[str, str] = {"run_type": "scheduled"}
TASK_INSTANCES: Mapping[str, str] = {"order_by": "id"}
TASK_INSTANCES_PAGE = 100
TASK_STATE: Mapping[str, bool] = {}
DOWNSTREAM: Mapping[str, bool] = {"include_downstream": True}


def dag(answer: Mapping[str, Any]) -> Dag:
    summary = answer.get("timetable_summary")
    schedule = None if summary == "None" else summary
    return read.dag(answer, schedule, answer.get("next_dagrun_run_after"))


def asset(answer: Mapping[str, Any]) -> Asset:
    """`scheduled_dags` since Airflow 3.1, `consuming_dags` in 3.0."""
    return read.asset(answer, answer.get("scheduled_dags") or answer.get("consuming_dags"))


def queued_asset(event: Mapping[str, Any]) -> str:
    return str(event["asset_id"])


def runs_due(since: datetime, until: datetime) -> dict[str, str]:
    return {"run_after_gte": iso(since), "run_after_lte": iso(until), "order_by": "run_after"}


def created_until(until: datetime) -> dict[str, str]:
    return {"run_after_lte": iso(until)}


def runs_like(run: Run) -> dict[str, str] | None:
    """Those with the same logical date, or without one those that were due in the same millisecond."""
    if run.logical_date is not None:
        return {f"logical_date_{end}": run.logical_date.isoformat() for end in ("gte", "lte")}
    if run.due is None:
        return None
    return {"run_after_gte": iso(run.due), "run_after_lte": iso(run.due + timedelta(milliseconds=1))}


def late_runs_due(since: datetime) -> dict[str, str]:
    return {"run_after_gte": iso(since), "order_by": "run_after"}


def ends_runs_due(_answer: Mapping[str, Any], _since: datetime) -> bool:
    return False


def logical_date_of(run: Run) -> dict[str, str | None]:
    return {"logical_date": run.logical_date.isoformat() if run.logical_date else None}


def due_of(run: Run) -> dict[str, str]:
    return {"run_after": iso(run.due)} if run.due is not None else {}
