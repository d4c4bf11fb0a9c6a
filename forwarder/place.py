"""The forwarder's place in the log, kept in the log's bucket - and with it, who may forward.

One object holds both. It is written on condition that nobody else has written it since (S3's If-Match), so
of two forwarders that want to go on, one wins. A holder renews it all the time; whoever sees it unchanged
for the whole lease, by its own clock (the machines' clocks are never compared), takes the dead holder's
place.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from forwarder.log import instant_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LOST = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412")


class LostPlaceError(Exception):
    """Another forwarder has taken over: stop at once."""


class BadPlaceError(Exception):
    """The place cannot be read; says what to do."""


@dataclass(frozen=True)
class Place:
    """`frontier`: the highest key delivered ("" at the start). `seen`: those in the window before it."""

    frontier: str = ""
    seen: frozenset[str] = frozenset()

    def past(self, key: str) -> Self:
        # What lies in the log without a time in its name is carried, but says nothing about how far we are.
        frontier = max(self.frontier, key) if instant_of(key) else self.frontier
        return replace(self, frontier=frontier, seen=self.seen | {key})

    def without_before(self, key: str) -> Self:
        """Forget what was seen before `key`."""
        return replace(self, seen=frozenset(k for k in self.seen if k >= key))


class PlaceKeeper:
    """Takes, renews, moves and gives up the place. Not thread-safe."""

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        key: str,
        *,
        holder: str,
        lease: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`holder`: a name no other forwarder has. `lease` in seconds."""
        self._s3, self._bucket, self._key = s3, bucket, key
        self._holder, self._lease, self._clock = holder, lease, clock
        self._etag: str | None = None
        self._beat = 0
        self._renewed = 0.0
        self._watched: tuple[str, float] | None = None

    def try_take(self) -> Place | None:
        """The place, now ours; None while another forwarder holds it. Raises BadPlaceError."""
        found = self._read()
        if found is None:
            return self._taken(Place(), None)
        place, holder, beat, etag = found
        if holder is not None and holder != self._holder and not self._dead(etag):
            return None
        self._beat = beat
        return self._taken(place, etag)

    def save(self, place: Place) -> None:
        """Keep our place, which renews the lease. Raises LostPlaceError."""
        self._write(place, self._holder)

    @property
    def age(self) -> float:
        """Seconds since the place was last kept."""
        return self._clock() - self._renewed

    def renew(self, place: Place) -> None:
        """Make sure that the place is ours for two thirds of the lease from now on. Raises LostPlaceError."""
        while self.age > self._lease / 3:
            self.save(place)

    def give_up(self, place: Place) -> None:
        """Keep our place for whoever comes next, at once. Raises LostPlaceError."""
        self._write(place, None)

    def _dead(self, etag: str) -> bool:
        if self._watched is None or self._watched[0] != etag:
            self._watched = (etag, self._clock())
        return self._clock() - self._watched[1] >= self._lease

    def _taken(self, place: Place, etag: str | None) -> Place | None:
        self._etag = etag
        try:
            self.save(place)
        except LostPlaceError:
            return None
        return place

    def _read(self) -> tuple[Place, str | None, int, str] | None:
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        try:
            kept = json.loads(answer["Body"].read())
            seen = frozenset(folder + name for folder, names in kept["seen"].items() for name in names)
            place = Place(str(kept["frontier"]), seen)
            return place, kept["holder"], int(kept["beat"]), answer["ETag"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadPlaceError(
                f"s3://{self._bucket}/{self._key} is not a forwarder's place ({error!r}). To begin again at"
                f" the log's start, remove it: aws s3 rm s3://{self._bucket}/{self._key}"
            ) from error

    def _write(self, place: Place, holder: str | None) -> None:
        kept = {
            "frontier": place.frontier,
            "holder": holder,
            "beat": self._beat + 1,  # so that every renewal is another content, with another ETag
            "seen": _by_folder(place.seen),
        }
        condition: dict[str, Any] = {"IfMatch": self._etag} if self._etag else {"IfNoneMatch": "*"}
        started = self._clock()
        try:
            answer = self._s3.put_object(
                Bucket=self._bucket,
                Key=self._key,
                Body=json.dumps(kept, separators=(",", ":")).encode(),
                ContentType="application/json",
                **condition,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in LOST:
                raise LostPlaceError(
                    f"s3://{self._bucket}/{self._key} was written by another forwarder"
                ) from error
            raise
        self._etag, self._beat, self._renewed = answer["ETag"], self._beat + 1, started


def _by_folder(keys: Iterable[str]) -> dict[str, list[str]]:
    """Keys as `{folder: [names]}`: half the size, and there can be thousands."""
    folders: dict[str, list[str]] = {}
    for key in sorted(keys):
        folder, slash, name = key.rpartition("/")
        folders.setdefault(folder + slash, []).append(name)
    return folders
