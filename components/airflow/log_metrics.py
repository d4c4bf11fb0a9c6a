"""Metrics that CloudWatch itself counts: lines of the environments' logs. Nothing has to run for them."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from components.config.settings import Settings
from components.monitoring.alarm import Metric


def own_metric(settings: Settings, name: str) -> Metric:
    """A metric in a namespace of the stack's own."""
    return Metric(f"MwaaOpenLineage/{settings.name}", name, {}, "Sum")


def count(
    name: str, line: str, log_group: pulumi.Input[str], metric: Metric, opts: pulumi.ResourceOptions
) -> None:
    """Let `metric` count the lines of a log group that contain this one."""
    aws.cloudwatch.LogMetricFilter(
        name,
        log_group_name=log_group,
        pattern=f'"{line}"',
        metric_transformation={"name": metric.name, "namespace": metric.namespace, "value": "1"},
        opts=opts,
    )
