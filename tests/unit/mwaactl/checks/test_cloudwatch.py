"""What CloudWatch is asked, and which of its values count."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mwaactl.checks.cloudwatch import Metrics, metrics
from mwaactl.errors import Unreachable
from tests.fakes.aws import START, CloudWatch, client_error

MINUTE = timedelta(minutes=1)


def test_the_newest_values_count_in_whatever_order_they_come() -> None:
    client = CloudWatch(
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
    assert metrics(client, "env", START) == Metrics(heartbeat=START - 2 * MINUTE, import_errors=0, dags=41), (
        "a minute of no heartbeat is none"
    )


def test_an_environment_without_metrics_has_none() -> None:
    assert metrics(CloudWatch(), "env", START) == Metrics()


def test_values_older_than_ten_minutes_do_not_count() -> None:
    client = CloudWatch({("env", "SchedulerHeartbeat"): [(START - 11 * MINUTE, 12)]})
    assert metrics(client, "env", START).heartbeat is None


def test_each_metric_is_asked_for_as_amazon_publishes_it() -> None:
    client = CloudWatch()
    metrics(client, "env", START)
    (request,) = client.asked
    asked = [query["MetricStat"] for query in request["MetricDataQueries"]]
    assert {(one["Metric"]["Namespace"], one["Period"]) for one in asked} == {("AmazonMWAA", 60)}
    assert [
        (one["Metric"]["MetricName"], one["Metric"]["Dimensions"][0]["Value"], one["Stat"]) for one in asked
    ] == [
        ("SchedulerHeartbeat", "Scheduler", "Sum"),
        ("ImportErrors", "DAG Processing", "Maximum"),
        ("DagBagSize", "DAG Processing", "Maximum"),
    ]


def test_a_refusal_is_told_in_one_line() -> None:
    with pytest.raises(Unreachable, match="could not ask CloudWatch for the metrics of env: access denied"):
        metrics(CloudWatch(error=client_error("AccessDenied", 403)), "env", START)
