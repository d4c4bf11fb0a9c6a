"""The lineage log, read in the order of its keys.

A key is `events/YYYY/MM/DD/HH/<YYYYMMDDTHHMMSS.ffffffZ of the event>-<unique>.json.gz`, so keys sort by the
time of their events. An object can appear after later keys have been read: its writer was slow, or its
clock behind.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EVENTS = "events/"
SET_ASIDE = "set-aside/"
LARGEST_EVENT = 8 * 1024 * 1024  # bytes, unpacked; some dozens are in memory at once
_TIME = re.compile(r"(\d{8}T\d{6}\.\d{6})Z[^/]*$")


class UnreadableError(ValueError):
    """An object of the log that is not an event; says why."""


def key_at(instant: datetime) -> str:
    """What every key of an event at `instant` or later sorts after (and no key of an earlier one)."""
    utc = instant.astimezone(UTC)
    return f"{EVENTS}{utc:%Y/%m/%d/%H}/{utc:%Y%m%dT%H%M%S.%f}Z"


def instant_of(key: str) -> datetime | None:
    """The event time that a key names; None for a key of another form, or in another hour's folder."""
    found = _TIME.search(key)
    if found is None:
        return None
    try:
        instant = datetime.strptime(found[1], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return None
    return instant if key.startswith(key_at(instant)) else None


class Log:
    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def pages(self, after: str, until: str) -> Iterator[list[str]]:
        """Keys above `after` and not above `until`, in order, at most 1000 at a time."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=EVENTS, StartAfter=after
        )
        for page in pages:
            keys = [found["Key"] for found in page.get("Contents", [])]
            within = [key for key in keys if key <= until]
            if within:
                yield within
            if len(within) < len(keys):
                return

    def read(self, key: str) -> bytes | None:
        """The event's JSON text; None when the object is gone (retention). Raises UnreadableError."""
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if _is_absent(error):
                return None
            raise
        return _unpacked(answer["Body"].read(LARGEST_EVENT + 1))

    def set_aside(self, key: str, reason: str) -> None:
        """Keep a copy of a refused event under `set-aside/`, with the reason in its metadata."""
        try:
            self._s3.copy_object(
                Bucket=self._bucket,
                Key=SET_ASIDE + key.removeprefix(EVENTS),
                CopySource={"Bucket": self._bucket, "Key": key},
                MetadataDirective="REPLACE",
                Metadata={"reason": "".join(c if " " <= c <= "~" else " " for c in reason)[:1000]},
            )
        except ClientError as error:
            if not _is_absent(error):
                raise


def _is_absent(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in ("NoSuchKey", "404")


def _unpacked(raw: bytes) -> bytes:
    if not raw.startswith(b"\x1f\x8b"):
        text = raw  # written by hand, without compression
    else:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
                text = packed.read(LARGEST_EVENT + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError(f"not a whole gzip file: {error}") from error
    if len(text) > LARGEST_EVENT:
        raise UnreadableError(f"larger than {LARGEST_EVENT} bytes")
    return text
