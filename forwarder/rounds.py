"""The rounds of a forwarder that holds the checkpoint: new events, late ones, and those to retry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from forwarder import late_listing
from forwarder.carrier import Deliverer
from forwarder.late_listing import HOUR, Listing
from lineage_log.checkpoint import Checkpoint, ListingPosition, Progress
from lineage_log.event import Event
from lineage_log.log import AFTER_ALL, ListedObject, Log, hour_prefix, instant_of, key_at
from lineage_log.ordered_pool import OrderedPool
from lineage_log.read_ahead import read_ahead

log = logging.getLogger("forwarder")

# Per round, for one kind of event must not hold up the others for long:
NEW, RETRYING = 5.0, 5.0  # seconds
LATE = 64  # events
LATE_LISTINGS = 20  # at a time
MISPLACED = timedelta(seconds=1)


class Round(NamedTuple):
    """The number of events that a round forwarded. `complete`: nothing else is due now."""

    events: int
    complete: bool


class _Item(NamedTuple):
    """An event. `late`: it may arrive after newer ones of its run; `listed`: a listing has found it."""

    event: Event
    late: bool
    listed: bool


class Rounds:
    """The rounds from taking the checkpoint to giving it up.

    The next round begins while events of this one are in progress, so that the posters never run out of them.
    """

    def __init__(
        self,
        source: Log,
        delivery: Deliverer,
        progress: Progress,
        *,
        posters: int,
        settle: timedelta,
        window: timedelta,
        now: Callable[[], datetime],
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`settle` and `window`: see `Timing`. `ready` waits until more may be posted."""
        self._log, self._delivery, self._progress, self._ready = source, delivery, progress, ready
        self._settle, self._window, self._now = settle, window, now
        self._pool = OrderedPool[_Item](self._deliver, workers=posters)
        self._note_late: Callable[[], None] | None = None  # that the late events in progress are forwarded

    def next(self) -> Round:
        """Forward what is due now. Raises what `Delivery` raises."""
        noted = self._finish_late()
        new, all_new = self._forward_new()
        late, all_late = Round(0, False)
        if noted or self._progress.next_new:  # else new events may have come since the last slice began
            late, all_late = self._forward_late()
        self._retry_suspects()
        if self._progress.doubts.due(self._now()):
            self._pool.drain()
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
        start, end = self._now(), time.monotonic() + NEW
        until = key_at(start - self._settle)
        reached = self._progress.reached
        # What S3 stores in time is visible a window after its event's time; below that, only listings search.
        checkpoint = self._progress.begin_pass(key_at(start - self._window))
        pages = self._log.pages(checkpoint.floor, until)
        new = (entry for page in pages for entry in page if self._progress.is_new(entry.key))
        events = self._forward(self._begin(_until(end, new)), late_below=reached)
        rest = next(new, None)
        self._progress.next_new = rest and rest.key
        complete = rest is None
        if complete:
            self._progress.looked_at = start
            # Then there is time to look again, though a slow event may be in progress.
            complete = self._pool.drain(seconds=max(0, end - time.monotonic()))
        self._progress.end_pass(complete)
        return Round(events, complete)

    def _forward_late(self) -> Round:
        """Forward the late objects that the due listings find, in hours below the floor: a slice of them.

        A later round notes that. Until then, new events are posted beside them.
        """
        if not self._finish_late():
            return Round(0, False)
        checkpoint = self._progress.checkpoint()
        due, all_due = self._due_listings(checkpoint)
        if not due:
            return Round(0, True)
        until, after = checkpoint.listing or ListingPosition(due[-1].due, "")
        hours = {listing.hour: listing for listing in reversed(due)}  # from the first `since`
        spans = {hour: (first.since, _last_due(due, hour)) for hour, first in sorted(hours.items())}
        found = self._list_late(spans, after, checkpoint)
        late = [entry.key for entry in islice(found, LATE)]
        rest = next(found, None)

        def listed(key: str, modified: datetime) -> bool:
            hour = late_listing.hour_of(instant_of(key))
            return hour in spans and modified <= spans[hour][1]

        def note() -> None:
            if rest is not None:
                self._progress.set_listing(ListingPosition(until, late[-1]))
            else:
                self._progress.end_listing(until, listed)
            self._progress.next_late = rest and rest.key

        self._progress.next_late = late[0] if late else None
        self._note_late = note
        self._forward(iter(late), late_below=checkpoint.floor, listed=True)
        if not late:
            self._finish_late()
        return Round(len(late), all_due and not late)

    def _finish_late(self) -> bool:
        """Note that late events are forwarded. False: some are still in progress."""
        if self._note_late is not None:
            if not self._pool.drain(only=lambda item: item.listed, seconds=0):
                return False
            self._note_late()
            self._note_late = None
        return True

    def _due_listings(self, checkpoint: Checkpoint) -> tuple[list[Listing], bool]:
        """The listings to do next, and whether those are all that are due now.

        Those due at one instant are done together, for only the instant is remembered.
        """
        if checkpoint.listed_until is None or checkpoint.started_at is None:
            raise ValueError("a checkpoint that is held must have both times")
        until = checkpoint.listing.until if checkpoint.listing else self._now() - late_listing.VISIBLE
        due: list[Listing] = []
        for listing in late_listing.listings(checkpoint.listed_until, until, checkpoint.started_at):
            if key_at(listing.hour + HOUR) > checkpoint.floor:
                return [each for each in due if each.due < listing.due], True
            if len(due) >= LATE_LISTINGS and listing.due > due[-1].due:
                return due, False
            due.append(listing)
        return due, True

    def _retry_suspects(self) -> None:
        """Forward the due suspects as late events, within a time limit for the sake of other events."""
        until = time.monotonic() + RETRYING
        for key in self._progress.due_suspects(self._now()):
            self._forward(iter((key,)), late_below=AFTER_ALL)
            self._pool.drain()
            if time.monotonic() > until:
                break

    def _list_late(
        self, spans: dict[datetime, tuple[datetime, datetime]], after: str, checkpoint: Checkpoint
    ) -> Iterator[ListedObject]:
        """The late objects above the key `after` that arrived within the spans of their hours."""
        for hour, (since, until) in spans.items():
            if key_at(hour + HOUR) <= after:
                continue  # done in an earlier round
            for page in self._log.pages(after, prefix=hour_prefix(hour)):
                for entry in page:
                    missed = self._is_late(entry) and entry.key not in checkpoint.late
                    if missed and since < entry.modified <= until:
                        yield entry

    def _is_late(self, entry: ListedObject) -> bool:
        return late_listing.is_late(entry.instant, entry.modified, self._window)

    def _begin(self, entries: Iterator[ListedObject]) -> Iterator[str]:
        started_at = self._progress.checkpoint().started_at
        for entry in entries:
            if self._is_late(entry) and started_at and entry.modified > started_at - late_listing.SLACK:
                self._progress.add_late(entry.key, entry.modified)
            self._progress.begin(entry.key)
            yield entry.key

    def _forward(self, keys: Iterator[str], *, late_below: str, listed: bool = False) -> int:
        """Hand the events under `keys` to the pool, in order.

        Those below `late_below`, and those at its instant, may come after newer events of their runs.
        """
        count, newest = 0, instant_of(late_below)
        end = late_below if newest is None else key_at(newest + timedelta(microseconds=1))
        for key, event in read_ahead(self._log, keys):
            count += 1
            if isinstance(event, Event):
                self._ready()
                item = _Item(event, key < end or _is_misplaced(event), listed)
                self._pool.put(item, size=event.size, writes=event.writes, reads=event.reads)
                continue
            if event is not None:
                self._delivery.set_aside(key, str(event))
            self._progress.finish(key)
        return count

    def _deliver(self, item: _Item) -> None:
        event, late, _ = item
        suspect = self._progress.is_suspect(event.key)
        refusal = self._delivery.deliver(event, late=late, suspect=suspect)
        if refusal and not refusal.final and self._progress.suspect(event.key, self._now()):
            log.warning("will be retried later: %s: %s", event.key, refusal.reason)
            return
        if refusal:
            before = ", as in the hour before" if suspect and not refusal.final else ""
            self._delivery.set_aside(event.key, refusal.reason + before)
        self._progress.finish(event.key)


def _until(end: float, entries: Iterator[ListedObject]) -> Iterator[ListedObject]:
    while time.monotonic() < end and (entry := next(entries, None)) is not None:
        yield entry


def _last_due(due: list[Listing], hour: datetime) -> datetime:
    return max(listing.due for listing in due if listing.hour == hour)


def _is_misplaced(event: Event) -> bool:
    """Whether an event's place in the log is not that of its time, which was out of bounds."""
    instant = instant_of(event.key)
    return instant is not None and event.instant is not None and abs(instant - event.instant) > MISPLACED
