"""Both sides of a stack as the checks before a switch to green observe them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mwaactl.checks.outcome import Check
from mwaactl.checks.registry import observe_sides, run_checks
from tests.fakes.aws.clients import FakeClients, deployment, standing

TASK_INSTANCES = "POST /dags/~/dagRuns/~/taskInstances/list"


def checked(aws: FakeClients, *dags: str) -> dict[str, Check]:
    """The checks of a switch to green, by name."""
    sides = observe_sides(deployment(aws), "green", standing(aws), dags=dags)
    return {check.name: check for check in run_checks(sides)}


def outcome(aws: FakeClients, name: str, *dags: str) -> tuple[str, str]:
    check = checked(aws, *dags)[name]
    return check.result, check.detail


def dag_answer(dag_id: str, paused: bool = False, due: datetime | None = None, **more: Any) -> dict[str, Any]:
    run_after = due.isoformat() if due else None
    return {"dag_id": dag_id, "is_paused": paused, "next_dagrun_run_after": run_after, **more}


def set_dags(aws: FakeClients, name: str, *dags: dict[str, Any]) -> None:
    aws.mwaa.airflow[name]["/dags"] = {"dags": list(dags), "total_entries": len(dags)}
