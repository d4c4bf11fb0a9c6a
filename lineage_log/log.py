"""The lineage log, read in the order of its keys.

A key is `events/YYYY/MM/DD/HH/<YYYYMMDDTHHMMSS.ffffffZ of the event>-<unique>.json.gz`, so keys sort by the
time of their events. An object can appear after later keys have been read, if its writer was slow or its
clock behind. Objects with other keys, and empty ones, are not events and are ignored.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

from lineage_log.event import LARGEST, Event, TooLargeError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EVENTS = "events/"
SET_ASIDE = "set-aside/"
SINKS = "sinks/"  # sinks/NAME/...: what that further sink refused
AFTER_ALL = EVENTS + "~"  # no key of an event sorts after it
OLDEST, NEWEST = timedelta(days=400), timedelta(minutes=5)  # of the time of an event that is written
PLACE = "place"  # metadata of an empty object: the key under which its event is
ATTEMPTS = 3  # to create an object that somebody else is creating, too
_TIME = re.compile(r"(\d{8}T\d{6}\.\d{6})Z[^/]*$")


class ListedObject(NamedTuple):
    """An object in the log: the time of its event, and when S3 stored it (whole seconds, by S3's clock)."""

    key: str
    instant: datetime
    modified: datetime
    size: int = 0  # bytes


class LargeObjectError(Exception):
    """An object is larger than its reader wants to read."""


def hour_prefix(instant: datetime) -> str:
    return f"{EVENTS}{instant.astimezone(UTC):%Y/%m/%d/%H}/"


def key_at(instant: datetime) -> str:
    """A bound: the keys of events at `instant` or later sort after it, those of earlier ones before it."""
    return f"{hour_prefix(instant)}{instant.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z"


def new_key(instant: datetime, content: bytes) -> str:
    """The key of an event at `instant`, the same for the same content."""
    return f"{key_at(instant)}-{hashlib.sha256(content).hexdigest()[:12]}.json.gz"


def instant_of(key: str) -> datetime | None:
    """The event time that a key names; None for a key of another form, or in another hour's folder."""
    match = _TIME.search(key)
    if match is None:
        return None
    try:
        instant = datetime.strptime(match[1], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return None
    return instant if key.startswith(key_at(instant)) else None


class Log:
    """One bucket's log. Safe to use from several threads."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def pages(self, after: str, until: str = AFTER_ALL, prefix: str = EVENTS) -> Iterator[list[ListedObject]]:
        """Events with keys above `after` and not above `until`, in order, at most 1000 at a time."""
        more = True
        while more:
            # By the last key, not by a continuation token: hours may pass between two pages.
            page = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after)
            objects = page.get("Contents", [])
            more = page.get("IsTruncated", False) and objects[-1]["Key"] <= until
            after = objects[-1]["Key"] if objects else after
            yield [
                ListedObject(entry["Key"], instant, entry["LastModified"], entry["Size"])
                for entry in objects
                if entry["Key"] <= until
                and entry["Size"]
                and (instant := instant_of(entry["Key"])) is not None
            ]

    def at(self, instant: datetime) -> list[ListedObject]:
        """The events at `instant`, to the millisecond."""
        start = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
        end = key_at(start + timedelta(milliseconds=1))
        return [entry for page in self.pages(key_at(start), end) for entry in page]

    def read(self, key: str, most: int = LARGEST) -> Event | None:
        """Read an event; None if the object has expired.

        Raises UnreadableError, and LargeObjectError if the object has more than `most` bytes.
        """
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if is_absent(error):
                return None
            raise
        if answer["ContentLength"] > LARGEST:
            raise TooLargeError
        if answer["ContentLength"] > most:
            answer["Body"].close()
            raise LargeObjectError
        # The whole body: only then does boto3 check that it is complete.
        return Event.parse(key, answer["Body"].read())

    def write_once(self, instant: datetime, content: bytes, now: datetime) -> None:
        """Write an event of the time `instant`, unless it is there: a newer object would be delivered again.

        One whose time is out of bounds has a wrong clock, and no reader would look for it there soon: it is
        kept under the time `now`. As that is another when it is written again, an empty object is first put
        under the time that it says, and names the other.
        """
        packed, own = gzip.compress(content, mtime=0), new_key(instant, content)
        place = own if now - OLDEST <= instant <= now + NEWEST else new_key(now, content)
        created = self._create(own, packed) if place == own else self._create(own, b"", {PLACE: place})
        if not created:
            # The event itself, or its place; whoever put that may have got no further.
            place = self._s3.head_object(Bucket=self._bucket, Key=own)["Metadata"].get(PLACE, own)
        if place != own:
            self._create(place, packed)

    def _create(self, key: str, packed: bytes, metadata: Mapping[str, str] | None = None) -> bool:
        """Whether there was no such object, and now there is."""
        left = ATTEMPTS
        while True:
            try:
                self._s3.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=packed,
                    ContentType="application/json",
                    ContentEncoding="gzip",
                    Metadata=metadata or {},
                    IfNoneMatch="*",
                )
                return True
            except ClientError as error:
                left -= 1
                code = error.response["Error"]["Code"]
                if code == "PreconditionFailed":
                    return False
                if code != "ConditionalRequestConflict" or not left:
                    raise

    def set_aside(self, key: str, reason: str, below: str = SET_ASIDE) -> None:
        """Copy a refused event `below` a prefix, with the reason in its metadata."""
        try:
            self._s3.copy_object(
                Bucket=self._bucket,
                Key=below + key.removeprefix(EVENTS),
                CopySource={"Bucket": self._bucket, "Key": key},
                MetadataDirective="REPLACE",
                ContentType="application/json",
                Metadata={"reason": "".join(c if " " <= c <= "~" else " " for c in reason)[:1000]},
            )
        except ClientError as error:
            if not is_absent(error):
                raise


def is_absent(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in ("NoSuchKey", "404")
