"""The checks of the target alone: its scheduler, and what CloudWatch knows of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.aws.clients import BLUE, GREEN, FakeClients
from tests.fakes.aws.errors import client_error
from tests.fakes.clock import START
from tests.fakes.mwaactl.checks import checked, outcome

BUCKETS = (f"{BLUE}-dags", f"{GREEN}-dags")


# --- the scheduler's heartbeat ---


def heartbeat(aws: FakeClients, age: float | None, word: str = "healthy") -> None:
    beat_at = None if age is None else (START - timedelta(seconds=age)).isoformat()
    answer = {"scheduler": {"status": word, "latest_scheduler_heartbeat": beat_at}}
    aws.mwaa.airflow[GREEN]["/monitor/health"] = answer


@pytest.mark.parametrize(("age", "result"), [(-1, "pass"), (5, "pass"), (60, "pass"), (61, "fail")])
def test_a_heartbeat_is_fresh_for_a_minute_whatever_airflow_says(
    aws: FakeClients, age: float, result: str
) -> None:
    heartbeat(aws, age)
    actual, detail = outcome(aws, "target-scheduler")
    assert actual == result
    assert ("61 s old, although Airflow reports it as healthy" in detail) == (result == "fail")


def test_a_scheduler_that_airflow_calls_unhealthy_fails_however_fresh(aws: FakeClients) -> None:
    heartbeat(aws, 1, "unhealthy")
    assert outcome(aws, "target-scheduler")[0] == "fail"


def test_a_scheduler_without_a_heartbeat_is_not_checked(aws: FakeClients) -> None:
    heartbeat(aws, None)
    assert outcome(aws, "target-scheduler")[0] == "not checked"


# --- a web server that does not answer ---


def beat(aws: FakeClients, name: str = GREEN, age: float = 60, count: float = 12, **more: float) -> None:
    """What CloudWatch has of an environment."""
    at = START - timedelta(seconds=age)
    aws.cloudwatch.points[name, "SchedulerHeartbeat"] = [(at, count)]
    for metric, value in more.items():
        aws.cloudwatch.points[name, metric] = [(at, value)]


@pytest.fixture
def private(aws: FakeClients) -> FakeClients:
    """Green's web server is private and does not answer."""
    aws.mwaa.environments[GREEN]["WebserverAccessMode"] = "PRIVATE_ONLY"
    aws.mwaa.silence(GREEN)
    return aws


def test_a_private_target_is_checked_by_cloudwatch_as_far_as_it_goes(private: FakeClients) -> None:
    beat(private, ImportErrors=0, DagBagSize=2)
    checks = checked(private)
    assert {name: check.result for name, check in checks.items() if check.result != "not checked"} == {
        "target-available": "pass",
        "target-scheduler": "pass",
        "import-errors": "pass",
        "same-files": "pass",
        "same-plugins": "pass",
        "gate": "fail",
        "fenced": "pass",
        "cleared-runs": "pass",
        "serial-dags": "pass",
    }
    assert "private web server" in checks["target-api"].detail
    assert "inside its VPC" in checks["target-api"].detail
    assert checks["target-scheduler"].detail == "CloudWatch has a heartbeat at 09:59 UTC"
    assert checks["import-errors"].detail == "none according to CloudWatch"
    assert checks["same-dags"].detail.startswith(
        "both have 2 DAGs, but CloudWatch does not report whether they are the same"
    )
    assert [check.name for check in checks.values() if check.stops] == ["gate"]


def test_a_private_target_that_answers_is_checked_like_any_other(aws: FakeClients) -> None:
    aws.mwaa.environments[GREEN]["WebserverAccessMode"] = "PRIVATE_ONLY"
    assert outcome(aws, "target-api") == ("pass", "Airflow 3.0.6 answers")
    assert aws.cloudwatch.asked == [], "nothing to ask it for"


@pytest.mark.parametrize("points", [{}, {"age": 301}, {"count": 0}])
def test_a_private_target_without_a_heartbeat_in_cloudwatch_fails(private: FakeClients, points: Any) -> None:
    if points:
        beat(private, **points)
    result, detail = outcome(private, "target-scheduler")
    assert (result, "no heartbeat" in detail) == ("fail", True)


def test_a_private_target_that_cloudwatch_does_not_report_on_fails(private: FakeClients) -> None:
    private.cloudwatch.error = client_error("AccessDenied", 403)
    result, detail = outcome(private, "target-scheduler")
    assert (result, "access denied" in detail) == ("fail", True)


def test_a_public_target_that_is_silent_stays_a_failure_whatever_cloudwatch_says(aws: FakeClients) -> None:
    aws.mwaa.silence(GREEN)
    beat(aws)
    checks = checked(aws)
    assert (checks["target-api"].result, checks["target-scheduler"].result) == ("fail", "pass")


def test_a_public_target_that_nobody_reports_on_fails_once(aws: FakeClients) -> None:
    aws.mwaa.silence(GREEN)
    aws.cloudwatch.error = client_error("AccessDenied", 403)
    checks = checked(aws)
    assert (checks["target-api"].result, checks["target-scheduler"].result) == ("fail", "not checked")


def test_cloudwatch_reports_import_errors_and_a_different_number_of_dags(private: FakeClients) -> None:
    beat(private, ImportErrors=3, DagBagSize=1)
    checks = checked(private)
    assert checks["import-errors"].result == "fail"
    assert "3 on" in checks["import-errors"].detail
    assert checks["same-dags"].result == "warn"
    assert "green has 1 DAG and blue has 2" in checks["same-dags"].detail
