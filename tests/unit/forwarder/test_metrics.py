"""What the forwarder reports to CloudWatch."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from botocore.exceptions import EndpointConnectionError

from forwarder.checkpoint_keeper import LostCheckpointError
from forwarder.metrics import Metrics
from lineage_log.delivery import Counts
from tests.fakes.aws.cloudwatch import FakeCloudWatch
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import forwarder, keeper_of, run_until, running
from tests.fakes.lineage.marquez import FakeMarquez


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


def test_the_fullest_disk_counts_and_one_that_is_not_there_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """`free` is what users other than root may use."""
    usages = {"/": SimpleNamespace(used=10, free=70), "/data": SimpleNamespace(used=75, free=25)}

    def usage(path: str) -> SimpleNamespace:
        if path not in usages:
            raise FileNotFoundError(path)
        return usages[path]

    monkeypatch.setattr("forwarder.metrics.shutil.disk_usage", usage)
    for disks, used in ((["/", "/data"], 75), (["/", "/gone"], 12.5)):
        cloudwatch = FakeCloudWatch()
        Metrics(cloudwatch, "Test", "the-log", disks=disks).report(Counts(), 0)
        assert cloudwatch.reports[0]["DiskUsed"] == used
        assert cloudwatch.requests[0]["MetricData"][-1]["Unit"] == "Percent"
