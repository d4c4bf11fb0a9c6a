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
from tests.fakes.lineage import FakeMarquez, MemoryS3, forwarder, keeper_of, refusal, run_until, running

# The command


def test_the_command_forwards_what_the_log_has_and_ends(
    s3: MemoryS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.log(-86400 * 365, "START")
    monkeypatch.setattr(boto3, "client", lambda service, **_: s3)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    arguments = ["--bucket", "log", "--to", marquez.url, "--checkpoint", "forwarder/db-1.json", "--once"]
    assert command.main(arguments) == 0
    assert marquez.accepted("eventType") == ["START"]
    assert "forwarder/db-1.json" in s3.objects


def test_the_command_refuses_a_url_that_is_not_a_server(
    s3: MemoryS3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(boto3, "client", lambda service, **_: s3)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert command.main(["--bucket", "log", "--to", "marquez:5000"]) == 2
    assert "like http://127.0.0.1:5000" in caplog.text


def test_the_command_reports_what_s3_refuses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Denied(MemoryS3):
        def get_object(self, **_: Any) -> dict[str, Any]:
            raise refusal("AccessDenied", "GetObject")

    monkeypatch.setattr(boto3, "client", lambda service, **_: Denied())
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert command.main(["--bucket", "log", "--to", "http://127.0.0.1:9", "--once"]) == 1
    assert "S3: An error occurred (AccessDenied)" in caplog.text


# Metrics


class Recorder:
    def __init__(self) -> None:
        self.reports: list[dict[str, float]] = []
        self.dimensions: list[Any] = []

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803
        self.reports.append({each["MetricName"]: each["Value"] for each in MetricData})
        self.dimensions += [each["Dimensions"] for each in MetricData]


def test_metrics_are_summed_up_and_sent_once_a_minute() -> None:
    recorder, counts, seconds = Recorder(), Counts(), [0.0]
    metrics = Metrics(recorder, "Test", "the-log", clock=lambda: seconds[0])
    metrics.report(counts, 0)
    counts.add(delivered=10, set_aside=1)
    seconds[0] = 30
    metrics.report(counts, 30)
    counts.add(delivered=5, late=2)
    seconds[0] = 61
    metrics.report(counts, 61)
    assert recorder.reports == [
        {"SecondsBehind": 0, "Delivered": 0, "SetAside": 0, "Late": 0},
        {"SecondsBehind": 61, "Delivered": 15, "SetAside": 1, "Late": 2},
    ]
    assert recorder.dimensions[0] == [{"Name": "LineageLog", "Value": "the-log"}]


def test_the_lag_is_reported_while_marquez_is_away(s3: MemoryS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forwarder.metrics.EVERY", 0.0)
    recorder = Recorder()
    s3.log(10, "START")
    away = FakeMarquez(url="http://127.0.0.1:9")
    metrics = Metrics(recorder, "Test", "the-log")
    worker = running(s3, away, "a", metrics=metrics, seconds=100)
    run_until(lambda: any(report["SecondsBehind"] == 90 for report in recorder.reports), worker)


def test_what_could_not_be_reported_is_in_the_next_report() -> None:
    class Broken(Recorder):
        broken = True

        def put_metric_data(self, **arguments: Any) -> None:
            if self.broken:
                raise EndpointConnectionError(endpoint_url="http://monitoring")
            super().put_metric_data(**arguments)

    recorder, counts, seconds = Broken(), Counts(), [0.0]
    metrics = Metrics(recorder, "Test", "the-log", clock=lambda: seconds[0])
    counts.add(delivered=3)
    metrics.report(counts, 0)
    recorder.broken, seconds[0] = False, 61
    metrics.report(counts, 0)
    assert recorder.reports == [{"SecondsBehind": 0, "Delivered": 3, "SetAside": 0, "Late": 0}]


def test_the_lag_is_unknown_to_a_forwarder_that_stands_by(s3: MemoryS3, marquez: FakeMarquez) -> None:
    keeper_of(s3, "b").try_take(datetime.now(UTC))
    standing_by = forwarder(s3, marquez)
    assert standing_by.seconds_behind() is None
    with pytest.raises(LostCheckpointError):
        standing_by.once(0)


def test_the_default_timing_leaves_a_pass_time_for_late_neighbours() -> None:
    assert Timing().settle < Timing().window / 2
