"""What the forwarder reports to CloudWatch, about once a minute while it holds the place."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from forwarder.log import instant_of

log = logging.getLogger("forwarder")
EVERY = 60.0  # seconds


class CloudWatch(Protocol):
    """The part of boto3's client that is used here."""

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> Any: ...  # noqa: N803


class Metrics:
    """`Carried` and `SetAside` since the last report; `SecondsBehind`: the age of what is carried now."""

    def __init__(self, cloudwatch: CloudWatch, namespace: str) -> None:
        self._cloudwatch = cloudwatch
        self._namespace = namespace
        self._reported: datetime | None = None
        self._carried = 0
        self._set_aside = 0

    def set_aside(self) -> None:
        self._set_aside += 1

    def carried(self, count: int, last: str, now: datetime) -> None:
        """`count` events were carried, the last of them under the key `last`."""
        self._carried += count
        instant = instant_of(last)
        self._report(now, 0.0 if instant is None else max(0.0, (now - instant).total_seconds()))

    def caught_up(self, now: datetime) -> None:
        self._report(now, 0.0)

    def _report(self, now: datetime, behind: float) -> None:
        if self._reported is not None and (now - self._reported).total_seconds() < EVERY:
            return
        values = {"SecondsBehind": behind, "Carried": self._carried, "SetAside": self._set_aside}
        units = {"SecondsBehind": "Seconds", "Carried": "Count", "SetAside": "Count"}
        try:
            self._cloudwatch.put_metric_data(
                Namespace=self._namespace,
                MetricData=[
                    {"MetricName": k, "Value": float(v), "Unit": units[k]} for k, v in values.items()
                ],
            )
        except (ClientError, BotoCoreError) as error:
            log.warning("metrics not reported: %s", error)
            return
        self._reported, self._carried, self._set_aside = now, 0, 0
