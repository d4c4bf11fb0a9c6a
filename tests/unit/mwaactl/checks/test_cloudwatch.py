"""What CloudWatch is asked, and which of its values count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from mwaactl.checks.cloudwatch import Metrics, read_metrics
from mwaactl.errors import Unreachable
from tests.fakes.aws.cloudwatch import FakeCloudWatch
from tests.fakes.aws.errors import client_error
from tests.fakes.clock import START

MINUTE = timedelta(minutes=1)


def metrics_from(client: FakeCloudWatch) -> Metrics:
    return read_metrics(cast(Any, client), "env", START)


def test_the_newest_values_count_in_whatever_order_they_come() -> None:
    client = FakeCloudWatch(
        {
            ("env", "SchedulerHeartbeat"): [
                (START - 3 * MINUTE, 12),
                (START - MINUTE, 0),
                (START - 2 * MINUTE, 9),
            ],
            ("env", "ImportErrors"): [(START - 3 * MINUTE, 2), (START - MINUTE, 0)],
            ("env", "DagBagSize"): [(START - MINUTE, 41), (START - 3 * MINUTE, 40)],
        }
    )
    assert metrics_from(client) == Metrics(heartbeat=START - 2 * MINUTE, import_errors=0, dags=41), (
        "a minute of no heartbeat is none"
    )


def test_an_environment_without_metrics_has_none() -> None:
    assert metrics_from(FakeCloudWatch()) == Metrics()


def test_values_older_than_ten_minutes_do_not_count() -> None:
    client = FakeCloudWatch({("env", "SchedulerHeartbeat"): [(START - 11 * MINUTE, 12)]})
    assert metrics_from(client).heartbeat is None


def test_each_metric_is_asked_for_as_amazon_publishes_it() -> None:
    client = FakeCloudWatch()
    metrics_from(client)
    (request,) = client.asked
    queries = [query["MetricStat"] for query in request["MetricDataQueries"]]
    assert {(query["Metric"]["Namespace"], query["Period"]) for query in queries} == {("AmazonMWAA", 60)}
    assert [
        (query["Metric"]["MetricName"], query["Metric"]["Dimensions"][0]["Value"], query["Stat"])
        for query in queries
    ] == [
        ("SchedulerHeartbeat", "Scheduler", "Sum"),
        ("ImportErrors", "DAG Processing", "Maximum"),
        ("DagBagSize", "DAG Processing", "Maximum"),
    ]


def test_a_refusal_is_reported_in_one_line() -> None:
    with pytest.raises(Unreachable, match="could not ask CloudWatch for the metrics of env: access denied"):
        metrics_from(FakeCloudWatch(error=client_error("AccessDenied", 403)))
