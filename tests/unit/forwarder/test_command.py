"""The forwarder as a command."""

from __future__ import annotations

import signal
from typing import Any

import boto3
import pytest

from forwarder import __main__ as command
from forwarder.forwarder import Timing
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.marquez import FakeMarquez


def test_the_command_forwards_what_the_log_has_and_ends(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_event(s3, -86400 * 365, "START")
    monkeypatch.setattr(boto3, "client", lambda service, **_: s3)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    arguments = [
        "--bucket",
        LINEAGE_LOG,
        "--to",
        marquez.url,
        "--checkpoint",
        "forwarder/db-1.json",
        "--once",
    ]
    assert command.main(arguments) == 0
    assert marquez.accepted("eventType") == ["START"]
    assert "forwarder/db-1.json" in s3.lineage.objects


def test_the_command_refuses_a_url_that_is_not_a_server(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(boto3, "client", lambda service, **_: s3)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert command.main(["--bucket", LINEAGE_LOG, "--to", "marquez:5000"]) == 2
    assert "like http://127.0.0.1:5000" in caplog.text


def test_the_command_reports_what_s3_refuses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Denied(FakeS3):
        def get_object(self, **_: Any) -> dict[str, Any]:
            raise client_error("AccessDenied", 403, "GetObject")

    monkeypatch.setattr(boto3, "client", lambda service, **_: Denied())
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert command.main(["--bucket", LINEAGE_LOG, "--to", "http://127.0.0.1:9", "--once"]) == 1
    assert "S3: An error occurred (AccessDenied)" in caplog.text


def test_the_default_timing_leaves_a_pass_time_for_late_neighbours() -> None:
    assert Timing().settle < Timing().window / 2
