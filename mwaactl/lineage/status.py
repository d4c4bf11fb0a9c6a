"""The status of lineage: the log's events, each forwarder's checkpoint, and the back end's health."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lineage_log.checkpoint import BadCheckpointError, StoredCheckpoint, read_checkpoint
from lineage_log.log import EVENTS, SET_ASIDE, SINKS, Log, hour_prefix, instant_of, key_at
from lineage_log.marquez_client import MarquezClient
from mwaactl import clock
from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable, Unusable, UsageError
from mwaactl.json_model import Instant, Model

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHECKPOINTS = "forwarder/"
_OF_SINK = re.compile(r"forwarder/sink-([a-z][a-z0-9-]*)\.json")
COUNTED = 100  # pages of 1000 keys: the limit for counting waiting events
SILENT = timedelta(seconds=30)  # three leases: the holder is gone, and nobody has taken over
HEALTH_TIMEOUT = 3.0  # seconds
HOUR = timedelta(hours=1)


class Hour(Model):
    """The number of events in the log for the hour that begins at `hour`."""

    hour: Instant
    events: int


class CheckpointStatus(Model):
    """How far the forwarder of a back end has come. `holder` None: none is running.

    `waiting`: events not delivered yet. `suspects`, counted separately: events at which the back end failed
    while it accepted others; they are retried.
    """

    key: str
    sink: str | None  # the further sink that it is of; None: Marquez
    holder: str | None
    saved_at: Instant | None
    silent: bool
    forwarded_to: Instant | None
    waiting: int
    more_waiting: bool
    suspects: int
    lag_seconds: float


class Health(Model):
    """Whether the back end answers. `healthy` None: it cannot be reached from here."""

    url: str
    healthy: bool | None
    detail: str


class LineageStatus(Model):
    """What `mwaactl lineage status` shows. `lacks`: see `Stack`; `back_end` None: there is none."""

    stack: str
    lacks: str
    bucket: str
    since: Instant
    hours: tuple[Hour, ...]
    events: int
    checkpoints: tuple[CheckpointStatus, ...]
    set_aside: int
    set_aside_by_sink: dict[str, int]
    back_end: Health | None


def status(deployment: Deployment, *, hours: int = 24, to: str | None = None) -> LineageStatus:
    """Observe the log, the checkpoints and the back end.

    Raises Unreachable (S3), Unusable (a broken checkpoint), UsageError (`to` is not a URL).
    """
    now = clock.now()
    since = now.replace(minute=0, second=0, microsecond=0) - (hours - 1) * HOUR
    url = deployment.stack.back_end(to)
    back_end = server(url, timeout=HEALTH_TIMEOUT) if url else None
    bucket, s3 = deployment.stack.lineage_log_bucket, deployment.clients.s3
    with aws_errors(f"read the lineage log s3://{bucket}"):
        source = Log(s3, bucket)
        by_hour = [
            Hour(hour=since + n * HOUR, events=_events_of(source, since + n * HOUR)) for n in range(hours)
        ]
        checkpoints = [
            _checkpoint_status(source, key, stored, now)
            for key in [*checkpoint_keys(s3, bucket), *checkpoint_keys(s3, bucket, of_sinks=True)]
            if (stored := _stored(s3, bucket, key)) is not None
        ]
        set_aside = sum(1 for _ in objects(s3, bucket, SET_ASIDE))
        by_sink = Counter(key.split("/")[1] for key, _ in objects(s3, bucket, SINKS))
    return LineageStatus(
        stack=deployment.name,
        lacks=deployment.stack.lacks,
        bucket=bucket,
        since=since,
        hours=tuple(by_hour),
        events=sum(hour.events for hour in by_hour),
        checkpoints=tuple(checkpoints),
        set_aside=set_aside,
        set_aside_by_sink=dict(by_sink),
        back_end=health(back_end, url) if back_end else None,
    )


def objects(s3: S3Client, bucket: str, prefix: str) -> Iterator[tuple[str, datetime]]:
    """The keys and times of all objects under `prefix`, in order."""
    after, more = "", True
    while more:
        page = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after)
        for entry in page.get("Contents", []):
            after = entry["Key"]
            yield after, entry["LastModified"].astimezone(UTC)
        more = page.get("IsTruncated", False)


def checkpoint_keys(s3: S3Client, bucket: str, *, of_sinks: bool = False) -> list[str]:
    """Those of Marquez's forwarders, or of the further sinks', which know no doubts."""
    keys = [key for key, _ in objects(s3, bucket, CHECKPOINTS) if key.endswith(".json")]
    return [key for key in keys if (_OF_SINK.fullmatch(key) is not None) == of_sinks]


def server(url: str, *, timeout: float) -> MarquezClient:
    """A client for the back end at `url`; UsageError if that is not a URL."""
    try:
        return MarquezClient(url, timeout=timeout, agent="mwaactl")
    except ValueError as error:
        raise UsageError(f"--to: {error}") from error


def health(marquez: MarquezClient, url: str) -> Health:
    """Whether the server answers a small query."""
    answer = marquez.ping()
    marquez.close()
    if answer.delivered:
        return Health(url=url, healthy=True, detail="answers")
    if answer.status:
        hint = ". Give the server's root, like http://localhost:8080" if answer.status == 404 else ""
        return Health(url=url, healthy=False, detail=f"{answer}{hint}")
    hint = f". {open_hint()}" if (urlsplit(url).hostname or "").endswith(".internal") else ""
    return Health(url=url, healthy=None, detail=f"not reachable from here ({answer}){hint}")


def require(marquez: MarquezClient, url: str) -> None:
    """Raise Unreachable unless the server answers."""
    state = health(marquez, url)
    if not state.healthy:
        raise Unreachable(f"{url}: {state.detail}")


def open_hint() -> str:
    return (
        "It is reachable only inside the VPC: run the command that `pulumi stack output "
        "lineage_open_command` prints, and use --to http://localhost:8080"
    )


def _events_of(source: Log, hour: datetime) -> int:
    return sum(len(page) for page in source.pages("", prefix=hour_prefix(hour)))


def _stored(s3: S3Client, bucket: str, key: str) -> StoredCheckpoint | None:
    try:
        return read_checkpoint(s3, bucket, key)
    except BadCheckpointError as error:
        raise Unusable(str(error)) from error


def _checkpoint_status(source: Log, key: str, stored: StoredCheckpoint, now: datetime) -> CheckpointStatus:
    checkpoint = stored.checkpoint
    waiting, first = 0, None
    pages = source.pages(checkpoint.floor or EVENTS, key_at(now))
    for page in islice(pages, COUNTED):
        for event in page:
            if event.key not in checkpoint.done:
                waiting += 1
                first = first or event.instant
    of_sink = _OF_SINK.fullmatch(key)
    return CheckpointStatus(
        key=key,
        sink=of_sink and of_sink[1],
        holder=stored.holder,
        saved_at=stored.modified,
        silent=stored.modified is None or now - stored.modified > SILENT,
        forwarded_to=instant_of(checkpoint.frontier),
        waiting=waiting,
        more_waiting=next(pages, None) is not None,
        suspects=len(checkpoint.suspects),
        lag_seconds=0.0 if first is None else round(max(0.0, (now - first).total_seconds()), 1),
    )
