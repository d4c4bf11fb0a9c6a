"""The forwarder's place in the log, kept in the log's bucket - and with it, who may forward.

One object holds both. It is written on condition that nobody else has written it since (S3's If-Match), so
of two forwarders that want to go on, one wins. A holder writes it all the time; whoever sees it unchanged
for the whole lease, by its own clock (the machines' clocks are never compared), takes the dead holder's
place.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FIRST_AGAIN = timedelta(minutes=1)  # until a suspect is tried again; then 2, 4, 8, 16 and 32 minutes
AGAIN = 6  # times
MOST_SUSPECTS = 1000
LOST = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412")


class LostPlaceError(Exception):
    """Another forwarder has taken over: stop at once."""


class BadPlaceError(Exception):
    """The place cannot be read; says what to do."""


class Suspect(NamedTuple):
    """An event at which Marquez failed while it took others: was tried again `tries` times, next at `due`."""

    tries: int
    due: datetime


@dataclass(frozen=True)
class Place:
    """What of the log has been carried.

    All keys up to `floor`, and above it those in `seen`; save the `suspects`, which are tried again. What
    comes late below the floor is found by the sweep (`late_listing`), whose looks are done up to `swept`;
    forwarding began at `begun`.
    """

    floor: str = ""
    seen: frozenset[str] = frozenset()
    begun: datetime | None = None
    swept: datetime | None = None
    suspects: Mapping[str, Suspect] = field(default_factory=dict)

    @property
    def frontier(self) -> str:
        """The highest key carried; "" at the start."""
        return max(self.seen, default=self.floor)

    def holds(self, key: str) -> bool:
        return key <= self.floor or key in self.seen


@dataclass(frozen=True)
class Kept:
    """The place as it lies in the bucket. `holder` None: nobody forwards."""

    place: Place
    holder: str | None
    beat: int
    etag: str
    modified: datetime | None = None


def boot_clock() -> float:
    """Seconds that also pass while the process is stopped or the machine suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class PlaceKeeper:
    """Takes, keeps and gives up the place. Safe to use from several threads."""

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
        """`holder`: a name no other forwarder has. `lease` in seconds."""
        self._s3, self._bucket, self._key = s3, bucket, key
        self.holder, self.lease = holder, lease
        self._clock = clock
        self._lock = threading.RLock()
        self._etag: str | None = None
        self._beat = 0
        self._renewed = 0.0
        self._watched: tuple[str, float] | None = None
        self._told: tuple[datetime, float] | None = None  # S3's time, and ours by `clock`

    @property
    def s3_time(self) -> datetime | None:
        """What S3's clock shows now, to about a second, by its last answer; None before the first one."""
        told = self._told
        return told and told[0] + timedelta(seconds=self._clock() - told[1])

    def try_take(self, now: datetime) -> Place | None:
        """The place, now ours; None while another forwarder holds it. Raises BadPlaceError."""
        with self._lock:
            kept = read_place(self._s3, self._bucket, self._key)
            if kept is None:
                return self._taken(Place(begun=now, swept=now), None)
            if kept.holder is not None and kept.holder != self.holder and not self._dead(kept.etag):
                return None
            self._beat = kept.beat
            return self._taken(kept.place, kept.etag)

    def save(self, place: Place) -> None:
        """Keep our place, which renews the lease. Raises LostPlaceError."""
        self._write(place, self.holder)

    @property
    def ours(self) -> bool:
        """Whether nobody else can have taken the place, for a third of the lease from now on."""
        return self._clock() - self._renewed < self.lease * 2 / 3

    def give_up(self, place: Place) -> None:
        """Keep our place for whoever comes next, at once. Raises LostPlaceError."""
        self._write(place, None)
        self._renewed -= self.lease

    def _dead(self, etag: str) -> bool:
        if self._watched is None or self._watched[0] != etag:
            self._watched = (etag, self._clock())
        return self._clock() - self._watched[1] >= self.lease

    def _taken(self, place: Place, etag: str | None) -> Place | None:
        self._etag = etag
        try:
            self.save(place)
        except LostPlaceError:
            return None
        return place

    def _write(self, place: Place, holder: str | None) -> None:
        with self._lock:
            beat = self._beat + 1  # so that every renewal is another content, with another ETag
            condition: dict[str, Any] = {"IfMatch": self._etag} if self._etag else {"IfNoneMatch": "*"}
            started = self._clock()
            try:
                answer = self._s3.put_object(
                    Bucket=self._bucket,
                    Key=self._key,
                    Body=_text(place, holder, beat).encode(),
                    ContentType="application/json",
                    **condition,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in LOST:
                    raise
                # The write before may have been taken without our hearing of it, or this one repeated.
                now = read_place(self._s3, self._bucket, self._key)
                if now is None or now.holder != self.holder:
                    raise LostPlaceError(
                        f"s3://{self._bucket}/{self._key} was written by another forwarder"
                    ) from error
                self._etag, self._beat = now.etag, now.beat
                self._write(place, holder)
                return
            self._etag, self._beat, self._renewed = answer["ETag"], beat, started
            if date := answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"):
                self._told = parsedate_to_datetime(date), self._clock()


class Progress:
    """The place while it moves: keys are begun in order within a pass, and done in any order.

    Safe to use from several threads.
    """

    def __init__(self, place: Place) -> None:
        self._lock = threading.Lock()
        self._place = place
        self._seen = set(place.seen)
        self._suspects = dict(place.suspects)
        self._order: deque[str] = deque()  # begun in this pass, from the first that is not done
        self._open: set[str] = set()
        self._limit = ""

    def begin_pass(self, limit: str) -> Place:
        """Keys up to `limit` need not be remembered one by one, once all before them are done."""
        with self._lock:
            self._order, self._open, self._limit = deque(), set(), limit
        return self.place()

    def begin(self, key: str) -> None:
        with self._lock:
            self._order.append(key)
            self._open.add(key)

    def done(self, key: str) -> None:
        with self._lock:
            self._suspects.pop(key, None)
            self._pass_over(key)

    def suspect(self, key: str, now: datetime) -> bool:
        """Go on without this event, to try it again later. False: not again, or there are too many."""
        with self._lock:
            known = self._suspects.get(key)
            tries = known.tries + 1 if known else 0
            if tries == AGAIN or (known is None and len(self._suspects) >= MOST_SUSPECTS):
                return False
            self._suspects[key] = Suspect(tries, now + FIRST_AGAIN * 2**tries)
            self._pass_over(key)
            return True

    def suspected(self, key: str) -> bool:
        with self._lock:
            return key in self._suspects

    def due(self, now: datetime) -> list[str]:
        """Keys of the suspects that are to be tried again now, in order."""
        with self._lock:
            return sorted(key for key, suspect in self._suspects.items() if suspect.due <= now)

    def end_pass(self, whole: bool) -> None:
        """`whole`: everything up to the limit was listed, not only a part."""
        with self._lock:
            if whole and not self._open:
                self._raise_floor(self._limit)

    def swept(self, until: datetime) -> None:
        with self._lock:
            self._place = replace(self._place, swept=until)

    @property
    def oldest(self) -> str | None:
        """The first key that is begun and not done."""
        with self._lock:
            return self._order[0] if self._order else None

    def place(self) -> Place:
        with self._lock:
            self._seen = {key for key in self._seen if key > self._place.floor}
            self._place = replace(self._place, seen=frozenset(self._seen), suspects=dict(self._suspects))
            return self._place

    def _pass_over(self, key: str) -> None:
        self._open.discard(key)
        self._seen.add(key)
        while self._order and self._order[0] not in self._open:
            self._raise_floor(self._order.popleft())

    def _raise_floor(self, key: str) -> None:
        if self._place.floor < key <= self._limit:
            self._place = replace(self._place, floor=key)


def read_place(s3: S3Client, bucket: str, key: str) -> Kept | None:
    """None when there is none yet. Raises BadPlaceError."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    try:
        place, holder, beat = _parsed(answer["Body"].read())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadPlaceError(
            f"s3://{bucket}/{key} is not a forwarder's place ({error!r}). To go on where it stood, put the"
            f" version before back: aws s3api list-object-versions --max-items 2 --bucket {bucket} --prefix"
            f" {key}. To begin again at the log's start, remove it: aws s3 rm s3://{bucket}/{key}"
        ) from error
    return Kept(place, holder, beat, answer["ETag"], answer.get("LastModified"))


def _parsed(text: bytes) -> tuple[Place, str | None, int]:
    kept = json.loads(text)
    seen = frozenset(folder + name for folder, names in kept["seen"].items() for name in names)
    begun, swept = (_instant(kept[name]) for name in ("begun", "swept"))
    suspects = {
        key: Suspect(int(tries), _instant(due)) for key, (tries, due) in kept.get("suspects", {}).items()
    }
    holder = None if kept["holder"] is None else str(kept["holder"])
    return Place(str(kept["floor"]), seen, begun, swept, suspects), holder, int(kept["beat"])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _text(place: Place, holder: str | None, beat: int) -> str:
    kept = {
        "floor": place.floor,
        "holder": holder,
        "beat": beat,
        "begun": place.begun and place.begun.isoformat(),
        "swept": place.swept and place.swept.isoformat(),
        "seen": _by_folder(place.seen),
        "suspects": {
            key: (suspect.tries, suspect.due.isoformat()) for key, suspect in place.suspects.items()
        },
    }
    return json.dumps(kept, separators=(",", ":"))


def _by_folder(keys: Iterable[str]) -> dict[str, list[str]]:
    """Keys as `{folder: [names]}`: half the size, and there can be thousands."""
    folders: dict[str, list[str]] = {}
    for key in sorted(keys):
        folder, slash, name = key.rpartition("/")
        folders.setdefault(folder + slash, []).append(name)
    return folders
