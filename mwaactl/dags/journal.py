"""The record of the push that is at work: one at a time, and one that died is finished by the next.

It stands in the lineage log's bucket, which all environments share. The holder writes it again every few
seconds, so whoever sees it unchanged for longer knows that the holder is dead, whatever the clocks say.
"""

from __future__ import annotations

import getpass
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from mwaactl import clock
from mwaactl.aws import aws_errors, error_code
from mwaactl.errors import LostRace, Unusable
from mwaactl.json_model import Instant, Model, iso

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PUSHES = "dag-pushes/"  # in each bucket: the record (the lineage log's), new contents (the environments')
KEY = f"{PUSHES}pending.json"
BEAT = 4.0  # seconds from one writing to the next
DEAD = 20.0  # seconds: what has not been written for so long has no holder
LOST = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404")


class Change(Model):
    """What a push changes in one bucket."""

    bucket: str
    prefix: str
    put: dict[str, str]  # name below the prefix -> the content's SHA-256, its name among the new contents
    delete: tuple[str, ...] = ()


class Push(Model):
    """A push that has not ended. Until `changes` stands in it, no DAG file of any bucket has been touched."""

    id: str
    who: str
    folder: str
    since: Instant
    changes: tuple[Change, ...] | None = None
    alive: bool = True  # False: the holder has ended and left it to the next
    beat: int = 0

    @property
    def described(self) -> str:
        return f"the push of {self.folder} that {self.who} began at {iso(self.since)}"


def new_push(folder: str) -> Push:
    return Push(id=uuid4().hex, who=_who(), folder=folder, since=clock.now())


def unfinished_push(s3: S3Client, bucket: str) -> Push | None:
    """The push that has not ended, alive or dead. `bucket`: the lineage log's.

    Raises Unreachable, Unusable.
    """
    with aws_errors(f"read s3://{bucket}/{KEY}"):
        return _read(s3, bucket)[0]


class Lease:
    """The right to change DAG files, held by the record. Made by `holding`."""

    def __init__(
        self, s3: S3Client, bucket: str, push: Push, etag: str, written: tuple[float, float]
    ) -> None:
        self._s3, self._bucket = s3, bucket
        self.push, self._etag = push, etag
        self._lock, self._ended = threading.Lock(), threading.Event()
        # When its last writing began: others may have seen it from then on, whenever the answer came.
        self._written, self._why_lost, self._released = written, "", False
        self._thread = threading.Thread(target=self._beat_on, name="push-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LostRace if another may have taken over: this process was cut off or asleep for too long."""
        if not self._why_lost and max(a - b for a, b in zip(_now(), self._written, strict=True)) > DEAD / 2:
            self._why_lost = f"its record was not written for {DEAD / 2:.0f} s"
        if self._why_lost:
            raise LostRace(
                f"another push may have taken over from this one ({self._why_lost}). Repeat: "
                "mwaactl dags push"
            )

    def record(self, push: Push) -> None:
        """Replace what stands in the record."""
        self.check()
        with aws_errors(f"write s3://{self._bucket}/{KEY}"):
            self._write(push)

    def beat(self) -> None:
        """Write what stands in the record again, so that others see its holder alive."""
        self._write()

    def _write(self, push: Push | None = None) -> None:
        """Write the record; None: as it stands, which only the holder of the lock knows."""
        with self._lock:
            push = (push or self.push).model_copy(update={"beat": self.push.beat + 1})
            begun = _now()
            try:
                self._etag = _put(self._s3, self._bucket, push, after=self._etag)
            except ClientError as error:
                if error_code(error) in LOST:
                    self._why_lost = "its record has changed"
                    raise LostRace("another push has taken over from this one") from error
                raise
            self.push, self._written = push, begun

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                self.beat()
            except LostRace:
                return
            except (BotoCoreError, ClientError):
                continue  # `check` says when this has lasted too long

    def release(self) -> None:
        """Remove the record: nothing is left to be done."""
        self.check()
        self._stop()
        with aws_errors(f"delete s3://{self._bucket}/{KEY}"):
            self._remove()
        self._released = True

    def leave(self) -> None:
        """Leave what is not done to the next push, which then need not wait; best effort."""
        self._stop()
        if self._released or self._why_lost:
            return
        try:
            self.check()
            if self.push.changes is None:
                self._remove()
            else:
                self._write(self.push.model_copy(update={"alive": False}))
        except (LostRace, BotoCoreError, ClientError):
            return

    def _remove(self) -> None:
        """Only what is still ours."""
        if _read(self._s3, self._bucket)[1] == self._etag:
            self._s3.delete_object(Bucket=self._bucket, Key=KEY)

    def _stop(self) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def holding(s3: S3Client, bucket: str, push: Push) -> Iterator[tuple[Lease, Push | None]]:
    """Hold the right to change DAG files, and get the push that died before, if it had begun to change any.

    Unless the caller `release`s it, what has begun stays on record for the next push.
    Raises LostRace if another push is at work, Unreachable, Unusable.
    """
    with aws_errors(f"write s3://{bucket}/{KEY}"):
        before, etag = _dead_or_none(s3, bucket)
        begun = before if before is not None and before.changes is not None else None
        # What a dead push has begun stays on record until it is done.
        mine = push if begun is None else begun.model_copy(update={"alive": True, "beat": begun.beat + 1})
        try:
            begun_at = _now()
            lease = Lease(s3, bucket, mine, _put(s3, bucket, mine, after=etag), begun_at)
        except ClientError as error:
            if error_code(error) in LOST:
                raise LostRace("another push has just begun: repeat yours when it has ended") from error
            raise
    try:
        yield lease, begun
    finally:
        lease.leave()


def _dead_or_none(s3: S3Client, bucket: str) -> tuple[Push | None, str | None]:
    """The push of a holder that has ended, with its ETag; LostRace if one is at work."""
    push, etag = _read(s3, bucket)
    waited = 0.0
    while push is not None and push.alive and waited < DEAD:
        clock.sleep(BEAT / 2)
        waited += BEAT / 2
        now, now_etag = _read(s3, bucket)
        if now is not None and now.alive and now_etag != etag:
            raise LostRace(f"{push.described} is at work: repeat yours when it has ended")
        push, etag = now, now_etag
    return push, etag


def _read(s3: S3Client, bucket: str) -> tuple[Push | None, str | None]:
    try:
        answer = s3.get_object(Bucket=bucket, Key=KEY)
    except ClientError as error:
        if error_code(error) == "NoSuchKey":
            return None, None
        raise
    with answer["Body"] as body:
        content = body.read()
    try:
        return Push.model_validate_json(content), answer["ETag"]
    except ValidationError as error:
        raise Unusable(
            f"s3://{bucket}/{KEY} is of another version of mwaactl, which has not finished its push: repeat "
            "that push with it"
        ) from error


def _put(s3: S3Client, bucket: str, push: Push, *, after: str | None) -> str:
    """Write the record if it still is the one with that ETag (None: there is none); return the new ETag."""
    content = push.model_dump_json().encode()
    condition: Mapping[str, str] = {"IfNoneMatch": "*"} if after is None else {"IfMatch": after}
    try:
        return s3.put_object(Bucket=bucket, Key=KEY, Body=content, **condition)["ETag"]  # type: ignore[arg-type]
    except ClientError as error:
        # boto3 may have repeated a call that had arrived.
        if error_code(error) in LOST:
            there, etag = _read(s3, bucket)
            # as it is written: instants lose their microseconds
            if there is not None and there.model_dump_json().encode() == content and etag is not None:
                return etag
        raise


def _now() -> tuple[float, float]:
    """Two clocks: one stands still while the machine sleeps, the other can be set."""
    return time.monotonic(), time.time()


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user without a name
        return socket.gethostname()
