"""The dashboard of a stack: blue beside green, then lineage. The format is CloudWatch's "Dashboard body"."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bluegreen.timeline import Colour

from components.monitoring.alarm import Metric
from components.monitoring.environment_alarms import (
    CLUSTERS,
    airflow_metric,
    container_metric,
    database_metric,
    failed_tasks,
    heartbeats,
    oldest_task,
    queue_metric,
)
from components.monitoring.marquez_alarms import METRICS_NAMESPACE, Watched, WatchedNode

WIDTH, HEIGHT = 24, 6  # of the grid, and of a widget
COLOURS = {"blue": "#1f77b4", "green": "#2ca02c"}
Widget = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a dashboard shows. `environments`: names by colour; `alarms`: ARNs; the metrics of logs."""

    region: str
    ungated: Metric
    reports: Mapping[Colour, Metric]
    lost: Metric | None
    environments: Mapping[Colour, str]
    alarms: Sequence[str]
    lineage_log_bucket: str
    watched: Watched | None


def dashboard(shown: Shown) -> str:
    """The body of the dashboard, JSON."""
    rows = [
        [_alarms(shown), _owner(shown)],
        *(list(columns) for columns in zip(*_of_environments(shown), strict=True)),
        [*_lineage(shown)],
        [*_marquez(shown)],
    ]
    return json.dumps({"widgets": [*_placed([row for row in rows if row])]})


def _placed(rows: Sequence[Sequence[Widget]]) -> Iterator[Widget]:
    for number, row in enumerate(rows):
        width = WIDTH // len(row)
        for column, widget in enumerate(row):
            yield widget | {"x": column * width, "y": number * HEIGHT, "width": width, "height": HEIGHT}


def _alarms(shown: Shown) -> Widget:
    return {"type": "alarm", "properties": {"title": "Alarms", "alarms": list(shown.alarms)}}


def _owner(shown: Shown) -> Widget:
    """Only the owner's probe reports, so its line shows each switch."""
    series = [_series(metric, colour, color=COLOURS[colour]) for colour, metric in shown.reports.items()]
    ungated = _series(shown.ungated, "executed without a gate", color="#d62728")
    return _graph(shown, "Who owns the work (reports of the gate probe)", [*series, ungated], stacked=True)


def _of_environments(shown: Shown) -> Iterator[list[Widget]]:
    """The widgets of each environment, in the same order."""
    for colour, environment in shown.environments.items():
        yield [
            _graph(
                shown,
                f"{colour}: scheduler heartbeats, import errors, failed tasks",
                [
                    _series(heartbeats(environment), "heartbeats"),
                    _series(airflow_metric(environment, "DAG Processing", "ImportErrors"), "import errors"),
                    _series(failed_tasks(environment), "failed tasks"),
                ],
            ),
            _graph(
                shown,
                f"{colour}: tasks, and the age of the oldest that waits (s)",
                [
                    _series(queue_metric(environment, "QueuedTasks"), "queued"),
                    _series(queue_metric(environment, "RunningTasks"), "running"),
                    _series(oldest_task(environment), "oldest (s)", right=True),
                ],
            ),
            _graph(
                shown,
                f"{colour}: workers",
                [
                    _series(container_metric(environment, cluster, "CPUUtilization"), label, "SampleCount")
                    for cluster, label in (("BaseWorker", "base"), ("AdditionalWorker", "additional"))
                ],
                stacked=True,
                period=60,
            ),
            _graph(
                shown,
                f"{colour}: CPU and memory (%)",
                [
                    _series(container_metric(environment, cluster, metric), f"{cluster} {what}")
                    for cluster in CLUSTERS
                    for metric, what in (("CPUUtilization", "CPU"), ("MemoryUtilization", "memory"))
                ],
            ),
            _graph(
                shown,
                f"{colour}: database",
                [
                    _series(database_metric(environment, "CPUUtilization"), "CPU (%)"),
                    _series(database_metric(environment, "DatabaseConnections"), "connections"),
                    _series(
                        database_metric(environment, "FreeableMemory", "Minimum"), "free memory", right=True
                    ),
                ],
            ),
        ]


def _lineage(shown: Shown) -> Iterator[Widget]:
    def of_log(name: str, statistic: str) -> Metric:
        return Metric(METRICS_NAMESPACE, name, {"LineageLog": shown.lineage_log_bucket}, statistic)

    if shown.lost is None:
        return
    events = [_series(shown.lost, "lost", color="#d62728")]
    if shown.watched is not None:
        behind = [_series(of_log("SecondsBehind", "Maximum"), "s")]
        yield _graph(shown, "Lineage: how far Marquez is behind (s)", behind)
        labels = {"Delivered": "delivered", "Late": "late", "SetAside": "set aside"}
        events = [_series(of_log(name, "Sum"), label) for name, label in labels.items()] + events
    yield _graph(shown, "Lineage: events", events)


def _marquez(shown: Shown) -> Iterator[Widget]:
    watched = shown.watched
    if watched is None:
        return
    if isinstance(watched, WatchedNode):
        yield _graph(
            shown,
            "Marquez node: CPU and disk (%)",
            [_series(watched.metric("CPUUtilization"), "CPU"), _series(watched.disk, "disk")],
        )
        failed = _series(watched.metric("StatusCheckFailed"), "failed")
        yield _graph(shown, "Marquez node: failed checks", [failed])
        return
    yield _graph(
        shown,
        "Marquez: requests and errors",
        [
            _series(watched.balancer_metric("RequestCount"), "requests"),
            _series(watched.balancer_metric("HTTPCode_Target_5XX_Count"), "5xx of Marquez"),
            _series(watched.balancer_metric("HTTPCode_ELB_5XX_Count"), "5xx of the load balancer"),
            _series(watched.balancer_metric("TargetResponseTime", "p99"), "99th percentile (s)", right=True),
        ],
    )
    yield _graph(
        shown,
        "Marquez: nodes",
        [
            _series(watched.api_metric("HealthyHostCount", "Minimum"), "healthy"),
            _series(watched.group_metric("GroupInServiceInstances"), "in service"),
            _series(watched.group_metric("GroupDesiredCapacity"), "desired"),
        ],
    )
    yield _graph(
        shown,
        "Marquez: database",
        [
            _series(watched.database_metric("ServerlessDatabaseCapacity"), "capacity (ACU)"),
            _series(watched.database_metric("DatabaseConnections"), "connections"),
            _series(watched.database_metric("AuroraReplicaLagMaximum"), "lag of the reader (ms)", right=True),
        ],
    )


def _graph(
    shown: Shown, title: str, series: Sequence[list[Any]], *, stacked: bool = False, period: int = 300
) -> Widget:
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": shown.region,
            "view": "timeSeries",
            "stacked": stacked,
            "period": period,
            "metrics": list(series),
            "yAxis": {"left": {"min": 0}},
        },
    }


def _series(
    metric: Metric, label: str, statistic: str = "", *, color: str = "", right: bool = False
) -> list[Any]:
    """One line of a graph, as `["Namespace", "Metric", "Dimension", "value", ..., {options}]`."""
    options = {"label": label, "stat": statistic or metric.statistic}
    options |= ({"color": color} if color else {}) | ({"yAxis": "right"} if right else {})
    dimensions = [part for pair in metric.dimensions.items() for part in pair]
    return [metric.namespace, metric.name, *dimensions, options]
