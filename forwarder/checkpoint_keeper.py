"""Holding the checkpoint in the log's bucket, and with it the lease: who may forward.

One object serves as both. It is written only if nobody else has written it in the meantime (S3's If-Match),
so of two forwarders that try, one wins. The holder keeps rewriting it. A forwarder that sees it unchanged for
a whole lease, by its own clock (the machines' clocks are never compared), takes over.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lineage_log.checkpoint import (
    LOST,
    Checkpoint,
    checkpoint_json,
    leave_doubts,
    read_checkpoint,
    write_checkpoint,
)
from lineage_log.doubts import MOST_UNKNOWN, Doubt, Unknown, joined
from lineage_log.log import key_at

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class LostCheckpointError(Exception):
    """Another forwarder has taken over: stop at once."""


def boot_clock() -> float:
    """A clock in seconds that also advances while the process is stopped or the machine suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class CheckpointKeeper:
    """Takes over, saves and releases the checkpoint. Safe to use from several threads."""

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        key: str,
        *,
        holder: str,
        lease: float,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        """`holder`: a unique name for this forwarder. `lease` in seconds."""
        self._s3, self._bucket, self._key = s3, bucket, key
        self.holder, self.lease = holder, lease
        self._clock = clock
        self._lock = threading.RLock()
        self._etag: str | None = None
        self._beat = 0
        self._renewed = -math.inf  # never: the clock of a machine that has just booted is near 0
        self._unchanged_since: tuple[str, float] | None = None  # the ETag of another holder's write
        self._s3_date: tuple[datetime, float] | None = None  # S3's time, and ours by `clock`

    @property
    def s3_time(self) -> datetime | None:
        """S3's time now, to about a second, derived from its last answer; None before the first one."""
        date = self._s3_date
        return date and date[0] + timedelta(seconds=self._clock() - date[1])

    def try_take(self, now: datetime) -> Checkpoint | None:
        """Take the checkpoint and return it; None while another one holds it. Raises BadCheckpointError."""
        with self._lock:
            stored = read_checkpoint(self._s3, self._bucket, self._key)
            if stored is None:
                return self._take(Checkpoint(started_at=now, listed_until=now), None)
            if stored.holder not in (None, self.holder) and not self._is_dead(stored.etag):
                return None
            self._beat, checkpoint = stored.beat, stored.checkpoint
            if stored.holder is not None:  # it was not released: what was posted last is not noted
                checkpoint = replace(checkpoint, unknown=Unknown(MOST_UNKNOWN, key_at(now)))
            return self._take(checkpoint, stored.etag)

    def save(self, checkpoint: Checkpoint) -> Mapping[str, Doubt]:
        """Write the checkpoint, which renews the lease; return the doubts that others have left in it.

        Raises LostCheckpointError.
        """
        return self._write(checkpoint, self.holder)

    @property
    def is_ours(self) -> bool:
        """Whether nobody else can take over within the next third of the lease."""
        return self._clock() - self._renewed < self.lease * 2 / 3

    def release(self, checkpoint: Checkpoint) -> None:
        """Write it and end the lease: anybody may take over at once. Raises LostCheckpointError."""
        self._write(checkpoint, None)
        self._renewed -= self.lease

    def leave(self, doubts: Mapping[str, Doubt]) -> None:
        """Add doubts to the checkpoint, whoever holds it: its holder finds them when it saves."""
        if not leave_doubts(self._s3, self._bucket, self._key, doubts):
            raise LostCheckpointError(f"s3://{self._bucket}/{self._key} changes all the time")

    def _is_dead(self, etag: str) -> bool:
        if self._unchanged_since is None or self._unchanged_since[0] != etag:
            self._unchanged_since = (etag, self._clock())
        return self._clock() - self._unchanged_since[1] >= self.lease

    def _take(self, checkpoint: Checkpoint, etag: str | None) -> Checkpoint | None:
        self._etag = etag
        try:
            self.save(checkpoint)
        except LostCheckpointError:
            return None
        return checkpoint

    def _write(self, checkpoint: Checkpoint, holder: str | None) -> Mapping[str, Doubt]:
        with self._lock:
            beat = self._beat + 1  # gives every renewal another content, and so another ETag
            started = self._clock()
            try:
                text = checkpoint_json(checkpoint, holder, beat)
                answer = write_checkpoint(self._s3, self._bucket, self._key, text, self._etag)
            except ClientError as error:
                if error.response["Error"]["Code"] not in LOST:
                    raise
                left = self._adopt(error)
                more = self._write(replace(checkpoint, doubts=joined(left, checkpoint.doubts)), holder)
                return joined(left, more)
            self._etag, self._beat, self._renewed = answer["ETag"], beat, started
            if date := answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"):
                self._s3_date = parsedate_to_datetime(date), self._clock()
            return {}

    def _adopt(self, refusal: ClientError) -> Mapping[str, Doubt]:
        """Accept the stored checkpoint if we hold it, and return its doubts; else raise LostCheckpointError.

        S3 may have stored our last write without its answer reaching us, or have stored this one twice; or
        another forwarder has left doubts in it.
        """
        stored = read_checkpoint(self._s3, self._bucket, self._key)
        if stored is None or stored.holder != self.holder:
            raise LostCheckpointError(
                f"s3://{self._bucket}/{self._key} was written by another forwarder"
            ) from refusal
        self._etag, self._beat = stored.etag, stored.beat
        return stored.checkpoint.doubts
