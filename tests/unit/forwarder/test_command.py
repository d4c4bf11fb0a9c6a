"""The forwarder as a command, and what it reports."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from forwarder import __main__ as command
from forwarder.checkpoint_keeper import LostCheckpointError
from forwarder.forwarder import Timing
from forwarder.metrics import Metrics
from lineage_log.delivery import Counts
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.errors import client_error
from tests.fakes.forwarders import forwarder, keeper_of, run_until, running
from tests.fakes.lineage_events import log_event
from tests.fakes.marquez import FakeMarquez
from tests.fakes.s3 import LINEAGE_LOG, FakeS3

# The command


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


# Metrics


def test_metrics_are_summed_up_and_sent_once_a_minute() -> None:
    cloudwatch, counts, seconds = FakeCloudWatch(), Counts(), [0.0]
    metrics = Metrics(cloudwatch, "Test", "the-log", clock=lambda: seconds[0])
    metrics.report(counts, 0)
    counts.add(delivered=10, set_aside=1)
    seconds[0] = 30
    metrics.report(counts, 30)
    counts.add(delivered=5, late=2)
    seconds[0] = 61
    metrics.report(counts, 61)
    assert cloudwatch.reports == [
        {"SecondsBehind": 0, "Delivered": 0, "SetAside": 0, "Late": 0},
        {"SecondsBehind": 61, "Delivered": 15, "SetAside": 1, "Late": 2},
    ]
    assert cloudwatch.requests[0]["MetricData"][0]["Dimensions"] == [
        {"Name": "LineageLog", "Value": "the-log"}
    ]


def test_the_lag_is_reported_while_marquez_is_away(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forwarder.metrics.EVERY", 0.0)
    cloudwatch = FakeCloudWatch()
    log_event(s3, 10, "START")
    away = FakeMarquez(url="http://127.0.0.1:9")
    metrics = Metrics(cloudwatch, "Test", "the-log")
    worker = running(s3, away, "a", metrics=metrics, seconds=100)
    run_until(lambda: any(report["SecondsBehind"] == 90 for report in cloudwatch.reports), worker)


def test_what_could_not_be_reported_is_in_the_next_report() -> None:
    cloudwatch, counts, seconds = FakeCloudWatch(), Counts(), [0.0]
    cloudwatch.error = EndpointConnectionError(endpoint_url="http://monitoring")
    metrics = Metrics(cloudwatch, "Test", "the-log", clock=lambda: seconds[0])
    counts.add(delivered=3)
    metrics.report(counts, 0)
    cloudwatch.error, seconds[0] = None, 61
    metrics.report(counts, 0)
    assert cloudwatch.reports == [{"SecondsBehind": 0, "Delivered": 3, "SetAside": 0, "Late": 0}]


def test_the_lag_is_unknown_to_a_forwarder_that_stands_by(s3: FakeS3, marquez: FakeMarquez) -> None:
    keeper_of(s3, "b").try_take(datetime.now(UTC))
    standing_by = forwarder(s3, marquez)
    assert standing_by.seconds_behind() is None
    with pytest.raises(LostCheckpointError):
        standing_by.once(0)


def test_the_default_timing_leaves_a_pass_time_for_late_neighbours() -> None:
    assert Timing().settle < Timing().window / 2
