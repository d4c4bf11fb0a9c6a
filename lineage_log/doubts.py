"""Runs in doubt: Marquez may carry out one of their posts at any time, also after newer ones.

A post is in doubt when it was not answered, when its forwarder vanished, or when its forwarder no longer held
the checkpoint. Doubts are kept in the checkpoint, so they outlive the process that posted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from lineage_log.event import Event

FIRST_CHECK = timedelta(seconds=15)
MOST_CHECKS = 8  # 15 and 30 s, 1, 2, 4, 8, 16 and 32 minutes after the post
MOST_DOUBTS = 5000
RECENT = 5000  # runs whose newest events are known
MOST_UNSAVED = 2000  # events delivered since the checkpoint was last saved
# The posts of a forwarder that vanished are among its first events that are not done: what it had delivered
# since it saved the checkpoint, and what was in progress (`ordered_pool.MOST_ITEMS`).
MOST_UNKNOWN = MOST_UNSAVED + 256


Recent = dict[str, tuple[str, str]]  # a Doubt's `begun` and `ended` by run; the oldest first


class Doubt(NamedTuple):
    """A run in doubt: checked `checks` times, next at `due`.

    `begun` and `ended`: the keys of its newest events that left it running and that ended it; "" if unknown.
    """

    due: datetime
    checks: int = 0
    begun: str = ""
    ended: str = ""

    def after_check(self, now: datetime) -> Doubt:
        return self._replace(checks=self.checks + 1, due=now + FIRST_CHECK * 2**self.checks)

    def joined(self, other: Doubt) -> Doubt:
        """The doubt that is checked for longer, with the newest events of both."""
        later = max(self, other, key=lambda doubt: (-doubt.checks, doubt.due))
        return later._replace(begun=max(self.begun, other.begun), ended=max(self.ended, other.ended))


def joined(first: Mapping[str, Doubt], second: Mapping[str, Doubt]) -> dict[str, Doubt]:
    """Both; of a run that both have, what is checked for longer, with the newest events of both."""
    runs = {**first, **second}
    return {run: first[run].joined(doubt) if run in first else doubt for run, doubt in runs.items()}


class Unknown(NamedTuple):
    """A forwarder vanished: it may have posted the first `events` events with keys below `below`."""

    events: int
    below: str


class Doubts:
    """The runs in doubt, and what makes others doubtful. Safe to use from several threads."""

    def __init__(
        self,
        known: Mapping[str, Doubt] | None = None,
        unknown: Unknown | None = None,
        recent: Recent | None = None,
    ) -> None:
        """`recent`: what this process delivered before."""
        self._lock = threading.Lock()
        self._unknown = unknown
        self._recent: Recent = {} if recent is None else recent
        self._doubts = {run: self._with_recent(run, doubt) for run, doubt in (known or {}).items()}
        self._unsaved: list[str] = []  # runs of the events delivered since `to_save`
        self._being_saved: list[str] = []
        self._undoing: dict[int, tuple[str, Doubt]] = {}  # by a number that rises: late events in progress
        self._begun = self._to_note = self._noted = 0  # such numbers: up to there, they are begun, saved

    @property
    def unknown(self) -> Unknown | None:
        return self._unknown

    @property
    def too_many_unsaved(self) -> bool:
        """Whether nothing more may be posted until the checkpoint has been saved."""
        return len(self._unsaved) + len(self._being_saved) >= MOST_UNSAVED

    def snapshot(self) -> dict[str, Doubt]:
        """The runs that are in doubt for whoever takes over now."""
        with self._lock:
            return self._snapshot()

    def unanswered(self, run: str, now: datetime) -> None:
        with self._lock:
            self._add(run, now)

    @contextmanager
    def undoing(self, run: str, undone: Iterable[Event], now: datetime) -> Iterator[Callable[[], bool]]:
        """Within the block, a late event is posted, and then what it undoes in its run.

        If the block does not end well, or this process not at all, the run is in doubt, and the doubt says
        what was undone, which Marquez no longer knows. Yields whether a saved checkpoint says so.
        """
        keys: dict[bool, str] = {}
        for event in undone:
            keys[event.begins] = max(keys.get(event.begins, ""), event.key)
        doubt = Doubt(now + FIRST_CHECK, begun=keys.get(True, ""), ended=keys.get(False, ""))
        with self._lock:
            self._begun = number = self._begun + 1
            self._undoing[number] = run, doubt
        try:
            yield lambda: self._noted >= number
        except Exception:
            self.join({run: doubt})
            raise
        finally:
            with self._lock:
                del self._undoing[number]

    def delivered(self, run: str, event: Event, now: datetime) -> None:
        with self._lock:
            begun, ended = self._recent.pop(run, ("", ""))
            if event.begins:
                begun = max(begun, event.key)
            elif event.kind is not None:
                ended = max(ended, event.key)
            self._recent[run] = begun, ended
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
            self._unsaved.append(run)
            if self._unknown is not None and event.key < self._unknown.below:
                self._add(run, now)
                left = self._unknown.events - 1
                self._unknown = self._unknown._replace(events=left) if left else None
            elif run in self._doubts:
                self._doubts[run] = self._with_recent(run, self._doubts[run])

    def join(self, others: Mapping[str, Doubt]) -> None:
        """Take over doubts that others have left in the checkpoint."""
        with self._lock:
            for run, doubt in others.items():
                known = self._doubts.get(run)
                self._doubts[run] = self._with_recent(run, known.joined(doubt) if known else doubt)

    def due(self, now: datetime) -> list[tuple[str, Doubt]]:
        """The doubts to check now, the most urgent first."""
        with self._lock:
            return sorted(
                ((run, doubt) for run, doubt in self._doubts.items() if doubt.due <= now),
                key=lambda item: item[1].due,
            )

    def checked(self, run: str, now: datetime) -> None:
        with self._lock:
            doubt = self._doubts[run].after_check(now)
            if doubt.checks < MOST_CHECKS:
                self._doubts[run] = doubt
            else:
                del self._doubts[run]

    def begin_save(self) -> None:
        """What was delivered or begun until now is saved by the checkpoint that is written next."""
        with self._lock:
            self._to_note = self._begun
            self._being_saved += self._unsaved
            self._unsaved = []

    def saved(self) -> None:
        """The checkpoint has been written: it was still ours when those were answered."""
        with self._lock:
            self._being_saved = []
            self._noted = self._to_note

    def lost(self, now: datetime) -> dict[str, Doubt]:
        """All doubts of a forwarder that has lost the checkpoint, nobody knows when."""
        with self._lock:
            for run in (*self._being_saved, *self._unsaved):
                self._add(run, now)
            return self._snapshot()

    def _snapshot(self) -> dict[str, Doubt]:
        doubts = dict(self._doubts)
        for run, doubt in self._undoing.values():
            known = doubts.get(run)
            doubts[run] = self._with_recent(run, known.joined(doubt) if known else doubt)
        return doubts

    def _add(self, run: str, now: datetime) -> None:
        known = self._doubts.get(run)
        if known is None and len(self._doubts) >= MOST_DOUBTS:
            return
        doubt = Doubt(now + FIRST_CHECK)
        self._doubts[run] = self._with_recent(run, known.joined(doubt) if known else doubt)

    def _with_recent(self, run: str, doubt: Doubt) -> Doubt:
        begun, ended = self._recent.get(run, ("", ""))
        return doubt._replace(begun=max(doubt.begun, begun), ended=max(doubt.ended, ended))
