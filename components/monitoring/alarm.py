"""Alarms on metrics. Each says in its description what to do; docs/alarms.md has a row for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Literal

import pulumi
import pulumi_aws as aws

Compared = Literal["GreaterThanThreshold", "LessThanThreshold"]


@dataclass(frozen=True)
class Metric:
    """One metric of CloudWatch, over all periods by the same statistic."""

    namespace: str
    name: str
    dimensions: Mapping[str, pulumi.Input[str]]
    statistic: str = "Maximum"


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """When an alarm goes off: in `periods` periods of `minutes` running, a metric is beyond `threshold`.

    With `expression`, the result of that metric math over `metrics`, which it calls `a`, `b` and so on.
    `at_least`: in so many of the periods.
    """

    description: str
    metrics: Sequence[Metric]
    threshold: float
    compared: Compared = "GreaterThanThreshold"
    expression: str = ""
    minutes: int = 5
    periods: int = 3
    at_least: int | None = None
    missing: Literal["breaching", "notBreaching"] = "notBreaching"
    tags: Mapping[str, str] = field(default_factory=dict)

    def create(
        self, name: str, topics: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions
    ) -> aws.cloudwatch.MetricAlarm:
        """`topics`: ARNs of whom it tells, both when it goes off and when it is over."""
        alone = self.metrics[0] if not self.expression else None
        return aws.cloudwatch.MetricAlarm(
            name,
            alarm_description=self.description,
            namespace=alone.namespace if alone else None,
            metric_name=alone.name if alone else None,
            dimensions=alone.dimensions if alone else None,
            statistic=alone.statistic if alone else None,
            period=60 * self.minutes if alone else None,
            metric_queries=None if alone else self._queries(),
            comparison_operator=self.compared,
            threshold=self.threshold,
            evaluation_periods=self.periods,
            datapoints_to_alarm=self.at_least,
            treat_missing_data=self.missing,
            alarm_actions=list(topics) or None,
            ok_actions=list(topics) or None,
            tags=self.tags or None,
            opts=opts,
        )

    def _queries(self) -> list[aws.cloudwatch.MetricAlarmMetricQueryArgs]:
        inputs = [
            aws.cloudwatch.MetricAlarmMetricQueryArgs(
                id=letter,
                metric=aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
                    namespace=metric.namespace,
                    metric_name=metric.name,
                    dimensions=metric.dimensions,
                    stat=metric.statistic,
                    period=60 * self.minutes,
                ),
            )
            for letter, metric in zip(ascii_lowercase, self.metrics, strict=False)
        ]
        result = aws.cloudwatch.MetricAlarmMetricQueryArgs(
            id="result", expression=self.expression, return_data=True
        )
        return [*inputs, result]
