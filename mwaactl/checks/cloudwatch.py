"""What CloudWatch knows of an environment whose web server cannot be reached.

Amazon MWAA publishes Airflow's metrics once a minute in the namespace AmazonMWAA, with the dimensions
Function and Environment. Nothing there names a DAG.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from mwaactl.aws import aws_errors
from mwaactl.json_model import Instant, Model

NAMESPACE = "AmazonMWAA"
PERIOD = 60  # seconds
WINDOW = timedelta(minutes=10)
# What is asked for, by field: metric, function, statistic.
QUERIES = {
    "heartbeats": ("SchedulerHeartbeat", "Scheduler", "Sum"),
    "import_errors": ("ImportErrors", "DAG Processing", "Maximum"),
    "dags": ("DagBagSize", "DAG Processing", "Maximum"),
}


class Metrics(Model):
    """The newest values of the last ten minutes; None: there is none."""

    heartbeat: Instant | None = None  # the beginning of the newest minute with a heartbeat
    import_errors: int | None = None
    dags: int | None = None  # DAGs that the last scan of the files found


def metrics(client: Any, environment: str, now: datetime) -> Metrics:
    """Ask CloudWatch (one call). Raises Unreachable."""
    request = [
        {
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
        for field, (metric, function, statistic) in QUERIES.items()
    ]
    with aws_errors(f"ask CloudWatch for the metrics of {environment}"):
        answer = client.get_metric_data(
            MetricDataQueries=request,
            StartTime=now - WINDOW,
            EndTime=now + timedelta(seconds=PERIOD),
            ScanBy="TimestampDescending",
        )
    found = {
        one["Id"]: sorted(zip(one["Timestamps"], one["Values"], strict=True), reverse=True)
        for one in answer["MetricDataResults"]
    }
    beats = [stamp for stamp, count in found.get("heartbeats", ()) if count > 0]
    return Metrics(
        heartbeat=beats[0] if beats else None,
        import_errors=_newest(found.get("import_errors")),
        dags=_newest(found.get("dags")),
    )


def _newest(points: list[tuple[datetime, float]] | None) -> int | None:
    return int(points[0][1]) if points else None
