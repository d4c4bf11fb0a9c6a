"""What CloudWatch reports about an environment whose web server cannot be reached.

Amazon MWAA publishes Airflow's metrics once a minute in the namespace AmazonMWAA, with the dimensions
Function and Environment. Nothing there names a DAG.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mwaactl.aws import aws_errors
from mwaactl.json_model import Instant, Model

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

NAMESPACE = "AmazonMWAA"
PERIOD = 60  # seconds
WINDOW = timedelta(minutes=10)
# The queries by field: metric, function, statistic.
QUERIES = {
    "heartbeats": ("SchedulerHeartbeat", "Scheduler", "Sum"),
    "import_errors": ("ImportErrors", "DAG Processing", "Maximum"),
    "dags": ("DagBagSize", "DAG Processing", "Maximum"),
}


class Metrics(Model):
    """The newest value of each metric in the last ten minutes; None if there is none."""

    heartbeat: Instant | None = None  # the beginning of the newest minute with a heartbeat
    import_errors: int | None = None
    dags: int | None = None  # DAGs that the last scan of the files counted


def read_metrics(client: CloudWatchClient, environment: str, now: datetime) -> Metrics:
    """Read the metrics from CloudWatch (one call). Raises Unreachable."""
    with aws_errors(f"ask CloudWatch for the metrics of {environment}"):
        answer = client.get_metric_data(
            MetricDataQueries=[_query(field, environment) for field in QUERIES],
            StartTime=now - WINDOW,
            EndTime=now + timedelta(seconds=PERIOD),
            ScanBy="TimestampDescending",
        )
    points = {
        result["Id"]: sorted(zip(result["Timestamps"], result["Values"], strict=True), reverse=True)
        for result in answer["MetricDataResults"]
    }
    beats = [stamp for stamp, count in points.get("heartbeats", ()) if count > 0]
    return Metrics(
        heartbeat=beats[0] if beats else None,
        import_errors=_newest(points.get("import_errors")),
        dags=_newest(points.get("dags")),
    )


def _query(field: str, environment: str) -> MetricDataQueryTypeDef:
    metric, function, statistic = QUERIES[field]
    return {
        "Id": field,
        "MetricStat": {
            "Metric": {
                "Namespace": NAMESPACE,
                "MetricName": metric,
                "Dimensions": [
                    {"Name": "Function", "Value": function},
                    {"Name": "Environment", "Value": environment},
                ],
            },
            "Period": PERIOD,
            "Stat": statistic,
        },
    }


def _newest(points: list[tuple[datetime, float]] | None) -> int | None:
    return int(points[0][1]) if points else None
