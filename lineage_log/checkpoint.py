"""A forwarder's checkpoint: how far it has read the log. One object in the log's bucket, as JSON."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from lineage_log.doubts import Doubt, Doubts, Recent, Unknown, joined
from lineage_log.log import is_absent

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PutObjectOutputTypeDef

FIRST_RETRY = timedelta(minutes=1)  # of a suspect; the next retries follow after 2, 4, 8, 16 and 32 minutes
MOST_RETRIES = 6
MOST_SUSPECTS = 1000
MOST_LATE = 5000
LOST = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412")
ATTEMPTS = 10  # to write a checkpoint that another one holds and writes


class BadCheckpointError(Exception):
    """The checkpoint cannot be read; the message says how to restore it."""


class ListingPosition(NamedTuple):
    """The late listings due up to `until` are in progress: what they found is forwarded up to `after`."""

    until: datetime
    after: str


class Suspect(NamedTuple):
    """An event at which Marquez failed while it accepted others: retried `retries` times, next at `due`."""

    retries: int
    due: datetime


@dataclass(frozen=True)
class Checkpoint:
    """How far the log has been forwarded.

    Done are all keys up to `floor` and those in `done` above it, except the `suspects`, which are retried.
    The late listings (`forwarder.late_listing`) find objects that appear late below the floor; they are
    complete up to `listed_until`, and `listing` is how far the present ones are. Late are the keys above it
    that were forwarded all the same, with the times when S3 stored them. Forwarding began at `started_at`.

    `doubts`, by run, and `unknown`: see `lineage_log.doubts`.
    """

    floor: str = ""
    done: frozenset[str] = frozenset()
    started_at: datetime | None = None
    listed_until: datetime | None = None
    listing: ListingPosition | None = None
    late: Mapping[str, datetime] = field(default_factory=dict)
    suspects: Mapping[str, Suspect] = field(default_factory=dict)
    doubts: Mapping[str, Doubt] = field(default_factory=dict)
    unknown: Unknown | None = None

    @property
    def frontier(self) -> str:
        """The highest key that is done; "" at the start."""
        return max(self.done, default=self.floor)

    def covers(self, key: str) -> bool:
        return key <= self.floor or key in self.done


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint as stored in the bucket. `holder` None: nobody forwards. Each write increments `beat`."""

    checkpoint: Checkpoint
    holder: str | None
    beat: int
    etag: str
    modified: datetime | None = None


class Progress:
    """A checkpoint that advances: keys begin in order within a pass, and finish in any order.

    A pass goes over all keys above the floor. What an earlier one has begun may still be in progress.
    Safe to use from several threads.
    """

    def __init__(
        self, checkpoint: Checkpoint, now: datetime | None = None, recent: Recent | None = None
    ) -> None:
        """`recent`: see Doubts."""
        self._lock = threading.Lock()
        self._checkpoint = checkpoint
        self._done = set(checkpoint.done)
        self._suspects = dict(checkpoint.suspects)
        self._late = dict(checkpoint.late)
        self.looked_at = now or datetime.now(UTC)  # up to then, all events are known
        self.next_new: str | None = None  # the first key that is known and has not begun
        self.next_late: str | None = None  # the first late one that is known and not noted as forwarded
        self.doubts = Doubts(checkpoint.doubts, checkpoint.unknown, recent)
        self._order: deque[str] = deque()  # keys met in this pass, from the first unfinished one
        self._open: set[str] = set()
        self._limit = ""

    def begin_pass(self, limit: str) -> Checkpoint:
        """Begin a pass. The floor may rise to `limit`; above it, finished keys are recorded individually."""
        with self._lock:
            self._order, self._limit = deque(), limit
        return self.checkpoint()

    def is_new(self, key: str) -> bool:
        """Whether the next key of a pass is still to begin. One in progress keeps the floor below it."""
        with self._lock:
            if key in self._open:
                self._order.append(key)
                return False
            return key not in self._done

    def begin(self, key: str) -> None:
        with self._lock:
            self._order.append(key)
            self._open.add(key)

    def finish(self, key: str) -> None:
        with self._lock:
            self._suspects.pop(key, None)
            self._pass_over(key)

    def suspect(self, key: str, now: datetime) -> bool:
        """Continue without this event, to retry it later. False: no retries left, or too many suspects."""
        with self._lock:
            known = self._suspects.get(key)
            retries = known.retries + 1 if known else 0
            if retries == MOST_RETRIES or (known is None and len(self._suspects) >= MOST_SUSPECTS):
                return False
            self._suspects[key] = Suspect(retries, now + FIRST_RETRY * 2**retries)
            self._pass_over(key)
            return True

    def is_suspect(self, key: str) -> bool:
        with self._lock:
            return key in self._suspects

    def due_suspects(self, now: datetime) -> list[str]:
        """The keys of the suspects to retry now, in order."""
        with self._lock:
            return sorted(key for key, suspect in self._suspects.items() if suspect.due <= now)

    def end_pass(self, complete: bool) -> None:
        """End a pass. `complete`: everything up to the limit was listed."""
        with self._lock:
            if complete and not self._open:
                self._raise_floor(self._limit)

    def add_late(self, key: str, modified: datetime) -> None:
        """Remember that a late object was forwarded all the same, for the listings."""
        with self._lock:
            self._late[key] = modified
            if len(self._late) > MOST_LATE:
                del self._late[next(iter(self._late))]

    def set_listing(self, position: ListingPosition) -> None:
        with self._lock:
            self._checkpoint = replace(self._checkpoint, listing=position)

    def end_listing(self, until: datetime, listed: Callable[[str, datetime], bool]) -> None:
        """The listings due up to `until` are complete; forget the late keys that they have `listed`."""
        with self._lock:
            self._late = {key: modified for key, modified in self._late.items() if not listed(key, modified)}
            self._checkpoint = replace(self._checkpoint, listed_until=until, listing=None)

    @property
    def reached(self) -> str:
        """The highest key that has begun; "" at the start."""
        with self._lock:
            return max((self._checkpoint.floor, *self._done, *self._open))

    @property
    def oldest_open(self) -> str | None:
        """The first known key that is not finished."""
        with self._lock:
            known = (*self._open, self.next_new, self.next_late)
            return min((key for key in known if key), default=None)

    def checkpoint(self) -> Checkpoint:
        with self._lock:
            self._done = {key for key in self._done if key > self._checkpoint.floor}
            self._checkpoint = replace(
                self._checkpoint,
                done=frozenset(self._done),
                late=dict(self._late),
                suspects=dict(self._suspects),
                doubts=self.doubts.snapshot(),
                unknown=self.doubts.unknown,
            )
            return self._checkpoint

    def _pass_over(self, key: str) -> None:
        self._open.discard(key)
        self._done.add(key)
        while self._order and self._order[0] not in self._open:
            self._raise_floor(self._order.popleft())

    def _raise_floor(self, key: str) -> None:
        if self._checkpoint.floor < key <= self._limit:
            self._checkpoint = replace(self._checkpoint, floor=key)


def read_checkpoint(s3: S3Client, bucket: str, key: str) -> StoredCheckpoint | None:
    """Read the checkpoint; None if there is none yet. Raises BadCheckpointError."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if is_absent(error):
            return None
        raise
    try:
        checkpoint, holder, beat = _parse(answer["Body"].read())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadCheckpointError(
            f"s3://{bucket}/{key} is not a forwarder's checkpoint ({error!r}). To resume from the previous"
            f" version, restore it: aws s3api list-object-versions --max-items 2 --bucket {bucket} --prefix"
            f" {key}. To start over from the beginning of the log, delete it: aws s3 rm s3://{bucket}/{key}"
        ) from error
    return StoredCheckpoint(checkpoint, holder, beat, answer["ETag"], answer.get("LastModified"))


def write_checkpoint(
    s3: S3Client, bucket: str, key: str, text: str, etag: str | None
) -> PutObjectOutputTypeDef:
    """Write it if the stored one still has this ETag; None: if there is none. Raises ClientError."""
    condition: dict[str, Any] = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    return s3.put_object(
        Bucket=bucket, Key=key, Body=text.encode(), ContentType="application/json", **condition
    )


def leave_doubts(s3: S3Client, bucket: str, key: str, doubts: Mapping[str, Doubt]) -> bool:
    """Add doubts to a checkpoint, whoever holds it: its holder finds them when it saves.

    False: it changes all the time. Without a checkpoint there is nobody to leave them to. Raises
    BadCheckpointError, ClientError.
    """
    for _ in range(ATTEMPTS):
        stored = read_checkpoint(s3, bucket, key)
        if stored is None:
            return True
        checkpoint = replace(stored.checkpoint, doubts=joined(stored.checkpoint.doubts, doubts))
        try:
            write_checkpoint(
                s3, bucket, key, checkpoint_json(checkpoint, stored.holder, stored.beat + 1), stored.etag
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in LOST:
                raise
        else:
            return True
    return False


def checkpoint_json(checkpoint: Checkpoint, holder: str | None, beat: int) -> str:
    """The JSON text that `read_checkpoint` reads."""
    listing = checkpoint.listing
    content = {
        "floor": checkpoint.floor,
        "holder": holder,
        "beat": beat,
        "started_at": checkpoint.started_at and checkpoint.started_at.isoformat(),
        "listed_until": checkpoint.listed_until and checkpoint.listed_until.isoformat(),
        "done": _by_folder(checkpoint.done),
        "listing": listing and (listing.until.isoformat(), listing.after),
        "late": {key: modified.isoformat() for key, modified in checkpoint.late.items()},
        "suspects": {
            key: (suspect.retries, suspect.due.isoformat()) for key, suspect in checkpoint.suspects.items()
        },
        "doubts": doubts_json(checkpoint.doubts),
        "unknown": checkpoint.unknown,
    }
    return json.dumps(content, separators=(",", ":"))


def _parse(text: bytes) -> tuple[Checkpoint, str | None, int]:
    content = json.loads(text)
    listing, unknown = content["listing"], content["unknown"]
    checkpoint = Checkpoint(
        floor=str(content["floor"]),
        done=frozenset(folder + name for folder, names in content["done"].items() for name in names),
        started_at=_instant(content["started_at"]),
        listed_until=_instant(content["listed_until"]),
        suspects={
            key: Suspect(int(retries), _instant(due)) for key, (retries, due) in content["suspects"].items()
        },
        listing=listing and ListingPosition(_instant(listing[0]), str(listing[1])),
        late={key: _instant(modified) for key, modified in content["late"].items()},
        doubts=read_doubts(content["doubts"]),
        unknown=unknown and Unknown(int(unknown[0]), str(unknown[1])),
    )
    holder = None if content["holder"] is None else str(content["holder"])
    return checkpoint, holder, int(content["beat"])


def doubts_json(doubts: Mapping[str, Doubt]) -> dict[str, Any]:
    """What `read_doubts` reads."""
    return {run: (due.isoformat(), *rest) for run, (due, *rest) in doubts.items()}


def read_doubts(content: Mapping[str, Any]) -> dict[str, Doubt]:
    """Raises ValueError, TypeError and AttributeError for anything else."""
    return {
        run: Doubt(_instant(due), int(checks), str(begun), str(ended))
        for run, (due, checks, begun, ended) in content.items()
    }


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _by_folder(keys: Iterable[str]) -> dict[str, list[str]]:
    """Keys as `{folder: [names]}`: half the size for what can be thousands of keys."""
    folders: dict[str, list[str]] = {}
    for key in sorted(keys):
        folder, slash, name = key.rpartition("/")
        folders.setdefault(folder + slash, []).append(name)
    return folders
