"""CloudWatch: metrics that are read, and metrics that are reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass
class FakeCloudWatch:
    """`points`: (timestamp, value) by environment and metric; `requests`: reports; `error`: of any call."""

    points: dict[tuple[str, str], list[tuple[datetime, float]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        results = []
        for query in request["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]
            dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            points = [
                (stamp, value)
                for stamp, value in self.points.get((dimensions["Environment"], metric["MetricName"]), [])
                if request["StartTime"] <= stamp < request["EndTime"]
            ]
            stamps, values = [stamp for stamp, _ in points], [value for _, value in points]
            results.append({"Id": query["Id"], "Timestamps": stamps, "Values": values})
        return {"MetricDataResults": results}

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803 - boto3's
        if self.error is not None:
            raise self.error
        self.requests.append({"Namespace": Namespace, "MetricData": MetricData})

    @property
    def reports(self) -> list[dict[str, float]]:
        """The values of each request by metric."""
        return [
            {metric["MetricName"]: metric["Value"] for metric in request["MetricData"]}
            for request in self.requests
        ]
