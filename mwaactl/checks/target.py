"""The checks of the target alone: whether it is available, answers, schedules and imports its DAG files."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, timedelta

from bluegreen.timeline import Colour

from mwaactl.checks.observation import status_of
from mwaactl.checks.outcome import Outcome, Sides
from mwaactl.deployment import Deployment

AVAILABLE_CHECK = "target-available"
HEARTBEAT = timedelta(seconds=60)  # Airflow sends one every 5 s and reports unhealthy after 30 s
CLOUDWATCH_HEARTBEAT = timedelta(minutes=5)  # one value a minute, with a delay


def available(sides: Sides) -> Outcome:
    target = sides.target
    if target.status is None:
        return "fail", target.not_checked["status"]
    if target.status != "AVAILABLE":
        return "fail", f"{target.name} is {target.status}: wait until it is AVAILABLE"
    return "pass", f"{target.name} is AVAILABLE"


def status_against(deployment: Deployment, target: Colour, force: Collection[str]) -> str | None:
    """Amazon's status of the target now, if it may get no work because of it. Raises Unreachable."""
    if AVAILABLE_CHECK in force:
        return None
    status = status_of(deployment.clients, deployment.stack.require(target))
    return None if status == "AVAILABLE" else status


def api(sides: Sides) -> Outcome:
    target = sides.target
    reason = next(
        (target.not_checked[field] for field in ("scheduler", "dags") if field in target.not_checked), None
    )
    if reason is None:
        return "pass", f"Airflow {target.airflow_version} answers"
    if target.private:
        return "not checked", (
            f"{target.name} has a private web server, which cannot be reached from here. CloudWatch reports "
            "its scheduler, its import errors and its number of DAGs; for everything else, run mwaactl "
            f"inside its VPC ({reason})"
        )
    return "fail", reason


def scheduler(sides: Sides) -> Outcome:
    target = sides.target
    if target.scheduler is None:
        return _scheduler_in_cloudwatch(sides)
    if target.scheduler != "healthy":
        return "fail", (
            f"Airflow reports {target.name}'s scheduler as {target.scheduler}: check the scheduler's log"
        )
    if target.heartbeat is None:
        return "not checked", f"Airflow reports {target.name}'s scheduler as healthy, but no heartbeat"
    age = sides.now - target.heartbeat
    if age > HEARTBEAT:
        return "fail", (
            f"the last heartbeat of {target.name}'s scheduler is {age.total_seconds():.0f} s old, although "
            "Airflow reports it as healthy: check the scheduler's log and the clocks"
        )
    return "pass", f"its last heartbeat is {max(0.0, age.total_seconds()):.0f} s old"


def _scheduler_in_cloudwatch(sides: Sides) -> Outcome:
    target = sides.target
    reason = target.not_checked["scheduler"]
    if target.metrics is None:
        if not target.private:
            return "not checked", reason
        reason = target.not_checked.get("metrics", reason)
        return "fail", f"neither Airflow nor CloudWatch reports on it: {reason}"
    beat = target.metrics.heartbeat
    if beat is None or sides.now - beat > CLOUDWATCH_HEARTBEAT:
        return "fail", (
            f"Airflow does not answer, and CloudWatch has no heartbeat of {target.name}'s scheduler in the "
            f"last {CLOUDWATCH_HEARTBEAT.total_seconds() / 60:.0f} minutes"
        )
    return "pass", f"CloudWatch has a heartbeat at {beat.astimezone(UTC):%H:%M} UTC"


def imports(sides: Sides) -> Outcome:
    target = sides.target
    if target.import_errors is None:
        count = target.metrics.import_errors if target.metrics is not None else None
        if count is None:
            return "not checked", target.not_checked["import_errors"]
        if count:
            return "fail", f"{count} on {target.name} according to CloudWatch: check the DAG processing log"
        return "pass", "none according to CloudWatch"
    if target.import_errors:
        first = target.import_errors[0]
        return "fail", (
            f"{len(target.import_errors)} on {target.name}, the first in {first.file}: {first.message}. "
            "Fix the file, then: mwaactl dags push"
        )
    return "pass", "none"
