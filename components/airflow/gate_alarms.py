"""Alarms on the gate. CloudWatch itself counts lines in the logs of tasks, so nothing has to run for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from bluegreen.proof import ABSENT, GATED, PERIODS
from bluegreen.timeline import Colour

from components.config.settings import Settings

UNGATED, REPORTS = "UngatedExecutions", "ProbeReports"  # metrics, in a namespace of the stack's own
PATTERNS = {UNGATED: f'"{ABSENT}"', REPORTS: f'"{GATED}"'}


@dataclass(frozen=True, kw_only=True)
class GateAlarmsArgs:
    """`task_logs`: the names of the environments' log groups for tasks."""

    settings: Settings
    task_logs: Mapping[Colour, pulumi.Input[str]]


class GateAlarms(pulumi.ComponentResource):
    """Two alarms for the stack, without actions of their own: executions that no gate judged, and no report
    of a probe. Which side owns the work does not matter: its probe reports, the other one's is skipped."""

    def __init__(self, name: str, args: GateAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:GateAlarms", name, None, opts)
        self._name = name
        self._namespace = f"MwaaOpenLineage/{args.settings.name}"
        self._child = pulumi.ResourceOptions(parent=self)
        for colour, log_group in args.task_logs.items():
            for metric, pattern in PATTERNS.items():
                aws.cloudwatch.LogMetricFilter(
                    f"{name}-{colour}-{metric.lower()}",
                    log_group_name=log_group,
                    pattern=pattern,
                    metric_transformation={"name": metric, "namespace": self._namespace, "value": "1"},
                    opts=self._child,
                )
        self._alarm(
            "ungated",
            "A task was executed that no layer of the blue/green gate judged: see `mwaactl status`",
            metric=UNGATED,
            comparison="GreaterThanThreshold",
            threshold=0,
            missing="notBreaching",
        )
        self._alarm(
            "unproven",
            "The gate probe of the environment that owns the work has not reported: see `mwaactl status`",
            metric=REPORTS,
            comparison="LessThanThreshold",
            threshold=1,
            missing="breaching",
            minutes=args.settings.gate_probe_minutes,
            periods=PERIODS,
        )
        self.register_outputs({})

    def _alarm(
        self,
        role: str,
        description: str,
        *,
        metric: str,
        comparison: str,
        threshold: int,
        missing: str,
        minutes: int = 1,
        periods: int = 1,
    ) -> None:
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-{role}",
            alarm_description=description,
            namespace=self._namespace,
            metric_name=metric,
            statistic="Sum",
            comparison_operator=comparison,
            threshold=threshold,
            period=60 * minutes,
            evaluation_periods=periods,
            treat_missing_data=missing,
            opts=self._child,
        )
