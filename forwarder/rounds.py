"""The rounds of a forwarder that holds the checkpoint: new events, late ones, and those to retry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import NamedTuple

from forwarder import late_listing
from lineage_log.checkpoint import Progress
from lineage_log.delivery import Delivery
from lineage_log.event import Event
from lineage_log.log import AFTER_ALL, ListedObject, Log, hour_prefix, instant_of, key_at, seconds_of
from lineage_log.ordered_pool import OrderedPool
from lineage_log.read_ahead import read_ahead

log = logging.getLogger("forwarder")

PASS = 20_000  # new events; then the late listings are next
LATE_LISTINGS = 20  # per round
REMEMBERED = 10_000  # late keys
RETRYING = 5.0  # seconds per round for suspects


class Round(NamedTuple):
    """The number of events that a round forwarded. `complete`: nothing else is due now."""

    events: int
    complete: bool


class LateKeys:
    """The keys of late objects that were forwarded recently: consecutive listings overlap a little."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}  # the oldest first

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        self._keys[key] = None
        while len(self._keys) > REMEMBERED:
            del self._keys[next(iter(self._keys))]

    def clear(self) -> None:
        self._keys.clear()


class Rounds:
    """The rounds from taking the checkpoint to giving it up."""

    def __init__(
        self,
        source: Log,
        delivery: Delivery,
        progress: Progress,
        late_keys: LateKeys,
        *,
        posters: int,
        settle: timedelta,
        window: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        """`settle` and `window`: see `Timing`."""
        self._log, self._delivery, self._progress, self._late_keys = source, delivery, progress, late_keys
        self._settle, self._window, self._now = settle, window, now
        # For each event, whether it may arrive after newer ones of its run.
        self._pool = OrderedPool[tuple[Event, bool]](lambda item: self._deliver(*item), workers=posters)

    def next(self) -> Round:
        """Forward what is due now. Raises what `Delivery` raises."""
        new, all_new = self._forward_new()
        late, all_late = self._forward_late()
        self._retry_suspects()
        self._delivery.settle()
        if new or late:
            frontier = self._progress.checkpoint().frontier
            log.info("forwarded %d events up to %s, and %d late ones", new, frontier, late)
        return Round(new + late, all_new and all_late)

    def close(self) -> None:
        """Wait for the deliveries in progress; start no others."""
        self._pool.close()

    def _forward_new(self) -> Round:
        """Forward what is due and not yet forwarded, in one pass over the end of the log."""
        start = self._now()
        until = key_at(start - self._settle)
        # What S3 stores in time is visible a window after its event's time; below that, only listings search.
        checkpoint = self._progress.begin_pass(key_at(start - self._window))
        pages = self._log.pages(checkpoint.floor, until)
        new = (entry for page in pages for entry in page if entry.key not in checkpoint.done)
        keys = (self._note(entry) for entry in islice(new, PASS))
        events = self._forward(self._begin(keys), late_below=checkpoint.frontier)
        complete = next(new, None) is None
        self._progress.end_pass(complete)
        return Round(events, complete)

    def _forward_late(self) -> Round:
        """Forward the late objects that the due listings find, in hours below the floor."""
        events, checkpoint = 0, self._progress.checkpoint()
        if checkpoint.listed_until is None or checkpoint.started_at is None:
            raise ValueError("a checkpoint that is held must have both times")
        all_due = late_listing.listings(checkpoint.listed_until, self._now(), checkpoint.started_at)
        due = list(
            takewhile(
                lambda listing: key_at(listing.hour + late_listing.HOUR) <= checkpoint.floor,
                islice(all_due, LATE_LISTINGS),
            )
        )
        for hour in sorted({listing.hour for listing in due}):
            since = min(listing.since for listing in due if listing.hour == hour)
            events += self._forward(self._list_late(hour, since), late_below=checkpoint.floor)
        if due:
            self._progress.set_listed_until(due[-1].due)
        return Round(events, len(due) < LATE_LISTINGS)

    def _retry_suspects(self) -> None:
        """Forward the due suspects as late events, within a time limit for the sake of other events."""
        until = time.monotonic() + RETRYING
        for key in self._progress.due_suspects(self._now()):
            self._forward(iter((key,)), late_below=AFTER_ALL)
            if time.monotonic() > until:
                break

    def _list_late(self, hour: datetime, since: datetime) -> Iterator[str]:
        """The hour's keys that the passes may have missed, except those that an earlier listing found."""
        for page in self._log.pages("", prefix=hour_prefix(hour)):
            for entry in page:
                known = entry.key in self._late_keys
                if entry.modified > since and self._is_late(entry) and not known:
                    yield self._note(entry)

    def _is_late(self, entry: ListedObject) -> bool:
        return late_listing.is_late(entry.instant, entry.modified, self._window)

    def _note(self, entry: ListedObject) -> str:
        """Return the key; remember it if it is late, so that no listing forwards it again."""
        if self._is_late(entry):
            self._late_keys.add(entry.key)
        return entry.key

    def _begin(self, keys: Iterator[str]) -> Iterator[str]:
        for key in keys:
            self._progress.begin(key)
            yield key

    def _forward(self, keys: Iterator[str], *, late_below: str) -> int:
        """Hand the events under `keys` to the pool, in order, and wait until they are delivered.

        Those below `late_below`, and those at its instant, may come after newer events of their runs.
        """
        count, newest = 0, instant_of(late_below)
        end = late_below if newest is None else key_at(newest + timedelta(microseconds=1))
        for key, event in read_ahead(self._log, keys):
            count += 1
            if isinstance(event, Event):
                self._pool.put(event.lane, (event, key < end), size=len(event.packed), at=seconds_of(key))
                continue
            if event is not None:
                self._delivery.set_aside(key, str(event))
            self._progress.finish(key)
        self._pool.drain()
        return count

    def _deliver(self, event: Event, late: bool) -> None:
        suspect = self._progress.is_suspect(event.key)
        refusal = self._delivery.deliver(event, late=late, suspect=suspect)
        if refusal and not refusal.final and self._progress.suspect(event.key, self._now()):
            log.warning("will be retried later: %s: %s", event.key, refusal.reason)
            return
        if refusal:
            before = ", as in the hour before" if suspect and not refusal.final else ""
            self._delivery.set_aside(event.key, refusal.reason + before)
        self._progress.finish(event.key)
