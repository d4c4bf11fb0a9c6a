"""The lineage log as it is: its events, how far each back end has been told, what was set aside.

Reads what the forwarders write, with the forwarder's own code (`forwarder/`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lineage_log.checkpoint import BadPlaceError, Kept, read_place
from lineage_log.log import EVENTS, SET_ASIDE, Log, hour_prefix, instant_of, key_at
from lineage_log.marquez_client import Marquez
from mwaactl import clock
from mwaactl.aws import Clients, aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable, Unusable, UsageError
from mwaactl.json_model import Instant, Model

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PLACES = "forwarder/"
COUNTED = 100  # pages of 1000 keys: what waits is counted up to there
SILENT = timedelta(seconds=30)  # three leases: whoever held the place is gone, and nobody took over
HEALTH_TIMEOUT = 3.0  # seconds
HOUR = timedelta(hours=1)


class Hour(Model):
    """How many events the log has of the hour that begins then."""

    hour: Instant
    events: int


class PlaceSeen(Model):
    """A back end's place in the log. `holder` None: nobody forwards.

    `waiting`: events not delivered yet; besides, `suspects`: those at which the back end failed while it took
    others, to be tried again.
    """

    key: str
    holder: str | None
    kept: Instant | None
    silent: bool
    up_to: Instant | None
    waiting: int
    more_waiting: bool
    suspects: int
    behind_seconds: float


class Health(Model):
    """Whether the back end answers here. `healthy` None: it cannot be reached from here."""

    url: str
    healthy: bool | None
    detail: str


class LineageStatus(Model):
    """What `mwaactl lineage status` shows."""

    stack: str
    bucket: str
    since: Instant
    hours: tuple[Hour, ...]
    events: int
    places: tuple[PlaceSeen, ...]
    set_aside: int
    back_end: Health


class SetAside(Model):
    """An event that the back end refused for good. `key`: in the bucket."""

    key: str
    when: Instant
    reason: str


class SetAsideList(Model):
    """The oldest events first; `total` may be more than are listed."""

    bucket: str
    total: int
    events: tuple[SetAside, ...]


def status(deployment: Deployment, *, hours: int = 24, to: str | None = None) -> LineageStatus:
    """Raises Unreachable (S3), Unusable (a place that cannot be read), UsageError (`to` is no URL)."""
    now = clock.now()
    since = now.replace(minute=0, second=0, microsecond=0) - (hours - 1) * HOUR
    back_end = server(to or deployment.stack.lineage_url, timeout=HEALTH_TIMEOUT)
    bucket, s3 = deployment.stack.lineage_log_bucket, deployment.clients.s3
    with aws_errors(f"read the lineage log s3://{bucket}"):
        source = Log(s3, bucket)
        by_hour = [
            Hour(hour=since + n * HOUR, events=_events_of(source, since + n * HOUR)) for n in range(hours)
        ]
        places = [
            _place(source, key, kept, now)
            for key, _ in _objects(s3, bucket, PLACES)
            if key.endswith(".json") and (kept := _kept(s3, bucket, key)) is not None
        ]
        aside = sum(1 for _ in _objects(s3, bucket, SET_ASIDE))
    return LineageStatus(
        stack=deployment.name,
        bucket=bucket,
        since=since,
        hours=tuple(by_hour),
        events=sum(hour.events for hour in by_hour),
        places=tuple(places),
        set_aside=aside,
        back_end=health(back_end, to or deployment.stack.lineage_url),
    )


def set_aside(deployment: Deployment, *, limit: int = 100) -> SetAsideList:
    """Raises Unreachable."""
    bucket, s3 = deployment.stack.lineage_log_bucket, deployment.clients.s3
    total = 0
    events: list[SetAside] = []
    with aws_errors(f"read what is set aside in s3://{bucket}"):
        for key, when in _objects(s3, bucket, SET_ASIDE):
            total += 1
            if len(events) < limit:
                reason = s3.head_object(Bucket=bucket, Key=key)["Metadata"].get("reason", "")
                events.append(SetAside(key=key, when=when, reason=reason))
    return SetAsideList(bucket=bucket, total=total, events=tuple(events))


def set_aside_keys(clients: Clients, bucket: str) -> list[str]:
    """Raises Unreachable."""
    with aws_errors(f"read what is set aside in s3://{bucket}"):
        return [key for key, _ in _objects(clients.s3, bucket, SET_ASIDE)]


def server(url: str, *, timeout: float) -> Marquez:
    """Raises UsageError."""
    try:
        return Marquez(url, timeout=timeout, agent="mwaactl")
    except ValueError as error:
        raise UsageError(f"--to: {error}") from error


def health(marquez: Marquez, url: str) -> Health:
    """Ask it something small."""
    answer = marquez.answers()
    marquez.close()
    if answer.delivered:
        return Health(url=url, healthy=True, detail="answers")
    if answer.status:
        hint = ". Give the server's root, like http://localhost:8080" if answer.status == 404 else ""
        return Health(url=url, healthy=False, detail=f"{answer}{hint}")
    hint = f". {open_hint()}" if (urlsplit(url).hostname or "").endswith(".internal") else ""
    return Health(url=url, healthy=None, detail=f"not reachable from here ({answer}){hint}")


def require(marquez: Marquez, url: str) -> None:
    """Unreachable unless the server answers."""
    seen = health(marquez, url)
    if not seen.healthy:
        raise Unreachable(f"{url}: {seen.detail}")


def open_hint() -> str:
    return (
        "It is reachable only inside the VPC: run the command that `pulumi stack output "
        "lineage_open_command` prints, and say --to http://localhost:8080"
    )


def _events_of(source: Log, hour: datetime) -> int:
    return sum(len(page) for page in source.pages("", prefix=hour_prefix(hour)))


def _kept(s3: S3Client, bucket: str, key: str) -> Kept | None:
    try:
        return read_place(s3, bucket, key)
    except BadPlaceError as error:
        raise Unusable(str(error)) from error


def _place(source: Log, key: str, kept: Kept, now: datetime) -> PlaceSeen:
    waiting, first = 0, None
    pages = source.pages(kept.place.floor or EVENTS, key_at(now))
    for number, page in enumerate(pages):
        if number == COUNTED:
            break
        for found in page:
            if found.key not in kept.place.seen:
                waiting += 1
                first = first or found.instant
    return PlaceSeen(
        key=key,
        holder=kept.holder,
        kept=kept.modified,
        silent=kept.modified is None or now - kept.modified > SILENT,
        up_to=instant_of(kept.place.frontier),
        waiting=waiting,
        more_waiting=next(pages, None) is not None,
        suspects=len(kept.place.suspects),
        behind_seconds=0.0 if first is None else round(max(0.0, (now - first).total_seconds()), 1),
    )


def _objects(s3: S3Client, bucket: str, prefix: str) -> Iterator[tuple[str, datetime]]:
    after, more = "", True
    while more:
        page = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after)
        for one in page.get("Contents", []):
            after = one["Key"]
            yield after, one["LastModified"].astimezone(UTC)
        more = page.get("IsTruncated", False)
