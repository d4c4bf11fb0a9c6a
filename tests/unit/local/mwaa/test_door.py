"""What a caller of the local MWAA may do, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from local.aws import callers
from local.aws.callers import Judgement
from local.mwaa import door
from local.mwaa.door import DeniedError, Door, Quota, ThrottledError, may_call
from tests.fakes.clock import Clock

SIGNED = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261128/us-east-1/airflow/aws4_request, SignedHeaders=host"
BY_DEPLOYER = SIGNED.replace("AKIDEXAMPLE", "test")


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """(action, end of the resource) of what the policies of AKIDEXAMPLE allow."""
    allowed: set[tuple[str, str]] = set()

    def judge(_endpoint: str, key: str, calls: Sequence[Mapping[str, Any]]) -> Judgement:
        assert key == "AKIDEXAMPLE", "the deployer is not judged"
        ends = [(call["action"], call["resource"].rpartition(":")[2]) for call in calls]
        return Judgement("somebody", tuple(None if end in allowed else f"no {end}" for end in ends))

    monkeypatch.setattr(callers, "judge", judge)
    return allowed


def test_an_environment_is_a_resource_of_its_own(allowed: set[tuple[str, str]]) -> None:
    allowed.add(("airflow:GetEnvironment", "environment/blue"))
    Door("").admit(SIGNED, "airflow:GetEnvironment", "blue")
    for action, name in (("airflow:GetEnvironment", "green"), ("airflow:DeleteEnvironment", "blue")):
        with pytest.raises(DeniedError, match=name):
            Door("").admit(SIGNED, action, name)


def test_a_list_has_no_resource(allowed: set[tuple[str, str]]) -> None:
    allowed.add(("airflow:ListEnvironments", "*"))
    Door("").admit(SIGNED, "airflow:ListEnvironments", "*")


def test_the_highest_role_of_airflow_that_iam_allows_counts(allowed: set[tuple[str, str]]) -> None:
    allowed |= {("airflow:InvokeRestApi", f"role/blue/{role}") for role in ("Viewer", "Op")}
    assert Door("").airflow_role(SIGNED, "airflow:InvokeRestApi", "blue") == "Op"
    with pytest.raises(DeniedError):
        Door("").airflow_role(SIGNED, "airflow:InvokeRestApi", "green")


def test_the_deployer_may_do_everything_and_nobody_without_a_signature_anything() -> None:
    Door("").admit(BY_DEPLOYER, "airflow:DeleteEnvironment", "blue")
    assert Door("").airflow_role(BY_DEPLOYER, "airflow:InvokeRestApi", "blue") == "Admin"
    with pytest.raises(DeniedError, match="Missing Authentication Token"):
        Door("").admit("", "airflow:GetEnvironment", "blue")


@pytest.mark.parametrize(
    ("role", "method", "path", "may"),
    [
        ("Viewer", "GET", "/dags", True),
        ("Viewer", "POST", "/dags/~/dagRuns/list", True),
        ("Viewer", "PATCH", "/dags/a", False),
        ("Viewer", "GET", "/variables", False),
        ("Op", "PATCH", "/dags/a", True),
        ("Op", "GET", "/variables", True),
        ("", "GET", "/dags", True),
    ],
)
def test_airflow_lets_a_reader_only_read(role: str, method: str, path: str, may: bool) -> None:
    assert may_call(role, method, path) is may


def test_ten_calls_a_second_pass_and_an_eleventh_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(door, "time", SimpleNamespace(monotonic=clock))
    quota = Quota()
    for _ in range(10):
        quota.take()
    with pytest.raises(ThrottledError):
        quota.take()
    clock.forward(0.1)
    quota.take()
    with pytest.raises(ThrottledError):
        quota.take()


def test_the_quota_is_one_for_all_environments(
    allowed: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed |= {("airflow:InvokeRestApi", f"role/{name}/Op") for name in ("blue", "green")}
    monkeypatch.setattr(door, "time", SimpleNamespace(monotonic=Clock()))
    judge = Door("", door.Quota())
    for call in range(10):
        judge.airflow_role(SIGNED, "airflow:InvokeRestApi", ("blue", "green")[call % 2])
    with pytest.raises(ThrottledError):
        judge.airflow_role(SIGNED, "airflow:InvokeRestApi", "green")
