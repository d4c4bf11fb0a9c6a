"""What the forwarder reports to CloudWatch, once a minute while it holds the checkpoint."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from lineage_log.delivery import Counts

log = logging.getLogger("forwarder")
EVERY = 60.0  # seconds
UNITS = {"SecondsBehind": "Seconds", "DiskUsed": "Percent"}


class CloudWatch(Protocol):
    """The part of boto3's client that `Metrics` needs."""

    def put_metric_data(self, *, Namespace: str, MetricData: Any) -> Any: ...  # noqa: N803


class Metrics:
    """Reports the forwarder's metrics, each with the dimension LineageLog (the bucket's name), those
    of a further sink also with Sink.

    `SecondsBehind`: the age of the oldest event that is not delivered; 0 if there is none. `Delivered`,
    `SetAside` and `Late` (delivered after newer events): events since the previous report. `DiskUsed`: how
    full the fullest of `disks` is (paths; one that is not there does not count), in percent.
    """

    def __init__(
        self,
        cloudwatch: CloudWatch,
        namespace: str,
        bucket: str,
        *,
        sink: str | None = None,
        disks: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cloudwatch, self._namespace, self._clock = cloudwatch, namespace, clock
        self._disks = disks
        self._dimensions = [{"Name": "LineageLog", "Value": bucket}]
        if sink is not None:
            self._dimensions.append({"Name": "Sink", "Value": sink})
        self._reported_at: float | None = None
        self._reported_counts = (0, 0, 0)

    def watch(self, counts: Counts, behind: Callable[[], float | None], stop: threading.Event) -> None:
        """Report until `stop`; `behind` in seconds, None while another forwarder holds the checkpoint."""
        while not stop.wait(1):
            seconds = behind()
            if seconds is not None:
                self.report(counts, seconds)

    def report(self, counts: Counts, behind: float) -> None:
        """Report, unless the last report is less than a minute old."""
        if self._reported_at is not None and self._clock() - self._reported_at < EVERY:
            return
        self._reported_at = self._clock()
        now = (counts.delivered, counts.set_aside, counts.late)
        since = [after - before for after, before in zip(now, self._reported_counts, strict=True)]
        values = {"SecondsBehind": behind}
        values |= dict(zip(("Delivered", "SetAside", "Late"), since, strict=True))
        if used := [percent for disk in self._disks if (percent := _percent_used(disk)) is not None]:
            values["DiskUsed"] = max(used)
        try:
            self._cloudwatch.put_metric_data(
                Namespace=self._namespace,
                MetricData=[
                    {
                        "MetricName": name,
                        "Value": float(value),
                        "Unit": UNITS.get(name, "Count"),
                        "Dimensions": self._dimensions,
                    }
                    for name, value in values.items()
                ],
            )
        except (ClientError, BotoCoreError) as error:
            log.warning("could not report metrics: %s", error)
            return
        self._reported_counts = now


def _percent_used(disk: str) -> float | None:
    """Of what users other than root may use, as `df` shows it; None if there is no such disk."""
    try:
        usage = shutil.disk_usage(disk)
    except OSError:
        return None
    return 100 * usage.used / (usage.used + usage.free)
