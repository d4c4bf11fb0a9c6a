"""What the probe reports of its process besides the gate."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest
from bluegreen import aws, software
from bluegreen.aws import AwsError

KWARGS = "AIRFLOW__SECRETS__BACKEND_KWARGS"


def test_requirements_that_are_fulfilled_are_counted_and_the_others_named() -> None:
    installed = version("packaging")
    report = software.software(
        [
            "packaging",
            f"packaging=={installed}",
            "Packaging>=1",
            "packaging<1",
            "no-such-distribution",
            "pywin32; sys_platform == 'win32'",
            "not a requirement",
        ]
    )
    assert report["requirements"] == {
        "checked": 7,
        "failed": 3,
        "first": [
            f"packaging<1: {installed} is installed",
            "no-such-distribution: not installed",
            "not a requirement: InvalidRequirement",
        ],
    }
    assert report["installed"].keys() == set(software.SHOWN)


def test_a_report_of_a_thousand_missing_requirements_is_not_cut_by_airflow() -> None:
    report = software.software([f"{'x' * 200}-{number}" for number in range(1000)])
    assert report["requirements"]["failed"] == 1000
    assert len(json.dumps(report)) < 2000


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"{}", "readable"),
        (AwsError('https://x: 400 {"__type":"ResourceNotFoundException"}'), "readable"),
        (AwsError("https://x: 400 AccessDeniedException: no"), "https://x: 400 AccessDeniedException: no"),
        (AwsError("https://x: timed out"), "https://x: timed out"),
        (OSError("odd"), "OSError: odd"),
    ],
)
def test_secrets_are_readable_if_a_missing_one_is_only_missing(
    answer: bytes | Exception, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def request(service: str, method: str, **more: Any) -> bytes:
        assert (service, method) == ("secretsmanager", "POST")
        assert json.loads(more["body"]) == {"SecretId": "p/s/variables/bluegreen_probe"}
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setenv(KWARGS, json.dumps({"variables_prefix": "p/s/variables"}))
    monkeypatch.setattr(software, "request", request)
    assert software.secrets() == expected


def test_without_a_prefix_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KWARGS, "{}")
    assert software.secrets().startswith("no prefix of variables")


def test_the_address_of_secrets_manager_is_not_looked_up_in_every_process() -> None:
    assert "secretsmanager" in aws.MODELS
    assert "secretsmanager" not in aws.BY_ALL
