"""What the forwarder reports to CloudWatch, once a minute while it holds the place."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from lineage_log.delivery import Counts

log = logging.getLogger("forwarder")
EVERY = 60.0  # seconds


class CloudWatch(Protocol):
    """The part of boto3's client that is used here."""

    def put_metric_data(self, *, Namespace: str, MetricData: Any) -> Any: ...  # noqa: N803


class Metrics:
    """`SecondsBehind`: the age of the oldest event that is not delivered; 0 when there is none.

    `Carried`, `SetAside` and `Late` (those that came after later events): since the report before. Each
    comes with the dimension LineageLog, the bucket's name.
    """

    def __init__(
        self,
        cloudwatch: CloudWatch,
        namespace: str,
        bucket: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cloudwatch, self._namespace, self._clock = cloudwatch, namespace, clock
        self._dimensions = [{"Name": "LineageLog", "Value": bucket}]
        self._reported: float | None = None
        self._before = (0, 0, 0)

    def watch(self, counts: Counts, behind: Callable[[], float | None], stop: threading.Event) -> None:
        """Report until `stop`; `behind` in seconds, None while another forwarder holds the place."""
        while not stop.wait(1):
            seconds = behind()
            if seconds is not None:
                self.report(counts, seconds)

    def report(self, counts: Counts, behind: float) -> None:
        """Unless it was done less than a minute ago."""
        if self._reported is not None and self._clock() - self._reported < EVERY:
            return
        self._reported = self._clock()
        now = (counts.posted, counts.set_aside, counts.late)
        since = [after - before for after, before in zip(now, self._before, strict=True)]
        values = {"SecondsBehind": behind}
        values |= dict(zip(("Carried", "SetAside", "Late"), since, strict=True))
        try:
            self._cloudwatch.put_metric_data(
                Namespace=self._namespace,
                MetricData=[
                    {
                        "MetricName": name,
                        "Value": float(value),
                        "Unit": "Seconds" if name == "SecondsBehind" else "Count",
                        "Dimensions": self._dimensions,
                    }
                    for name, value in values.items()
                ],
            )
        except (ClientError, BotoCoreError) as error:
            log.warning("metrics not reported: %s", error)
            return
        self._before = now
