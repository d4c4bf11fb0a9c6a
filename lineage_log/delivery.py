"""Delivery of events, including late ones: each run in Marquez ends in the state of its newest event."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lineage_log.doubts import Doubt, Doubts
from lineage_log.event import Event, parsed_instant
from lineage_log.http_server import Answer
from lineage_log.log import Log, instant_of
from lineage_log.marquez_client import MarquezClient
from lineage_log.patient_client import Patience, PatientClient, Refusal, UnansweredError
from lineage_log.read_ahead import read_ahead

log = logging.getLogger("forwarder")

SETTLING = 1.0  # seconds per call of `settle`
SMALL = 1024 * 1024  # bytes to look at and to post again for a late event; beyond, one event at a time


class Counts:
    """The numbers of events that all threads together have processed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.delivered = self.set_aside = self.late = 0

    def add(self, *, delivered: int = 0, set_aside: int = 0, late: int = 0) -> None:
        with self._lock:
            self.delivered += delivered
            self.set_aside += set_aside
            self.late += late


class _Times(NamedTuple):
    """When a run, in Marquez, was started and ended last."""

    state: str
    started: datetime | None
    ended: datetime | None

    @classmethod
    def of(cls, answer: Answer) -> _Times:
        run = _object(answer.text) if answer.delivered else {}
        times = (parsed_instant(run.get(name)) for name in ("startedAt", "endedAt"))
        return cls(str(run.get("state")), *times)


class _TooLargeError(Exception):
    """More than SMALL: to be done alone."""


class _AtInstant(NamedTuple):
    """A run's last events at an instant: one that begins it, then one that ends it.

    `of_child`: whether a child of the run has one there.
    """

    begun: Event | None
    ended: Event | None
    of_child: bool

    @property
    def last(self) -> Event | None:
        return self.ended or self.begun

    def of(self, *, begins: bool) -> Event | None:
        return self.begun if begins else self.ended


class Delivery:
    """Delivers events to Marquez. The caller keeps the order of a lane by making one call at a time for it.

    All methods raise StoppedError, UnreachableError, and what S3 and `may_post` raise.
    """

    def __init__(
        self,
        source: Log,
        marquez: MarquezClient,
        patience: Patience,
        *,
        stop: threading.Event,
        may_post: Callable[[], None] = lambda: None,
        until_saved: Callable[[Callable[[], bool]], None] = lambda _saved: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`may_post` is called before each request; it raises if this process must no longer post.

        `until_saved` waits until a saved checkpoint makes its argument true; by default, there is none.
        """
        self._log, self._until_saved = source, until_saved
        self._client = PatientClient(
            marquez, patience, stop=stop, may_post=may_post, on_answer=self._watch_for_doubt
        )
        self._now = now
        self._large = threading.Lock()
        self._doubts = Doubts()
        self.counts = Counts()

    def begin(self, doubts: Doubts) -> None:
        """Reset the time for which Marquez has been failing. From now on, runs in doubt go to `doubts`."""
        self._client.begin()
        self._doubts = doubts

    def deliver(self, event: Event, *, late: bool = False, suspect: bool = False) -> Refusal | None:
        """Deliver an event; None on success. `late`: newer ones may be there; `suspect`: it failed before."""
        patient = False if suspect else None
        post = self.post_late if late else self._client.post
        refusal = post(event, patient=patient)
        self.counts.add(delivered=refusal is None, late=late and refusal is None)
        return refusal

    def set_aside(self, key: str, reason: str) -> None:
        log.error("set aside: %s: %s", key, reason)
        self._log.set_aside(key, reason)
        self.counts.add(set_aside=1)

    def post_late(self, event: Event, *, patient: bool | None = None) -> Refusal | None:
        """Post an event that may arrive after newer ones of its run, and restore the run.

        In Marquez the last write wins: a START that arrives after its COMPLETE leaves the run running. So
        the events that led to the run's present state and times are posted once more. `patient`: see
        PatientClient.
        """
        try:
            return self._post_late(event, patient, SMALL)
        except _TooLargeError:
            with self._large:
                return self._post_late(event, patient, None)

    def _post_late(self, event: Event, patient: bool | None, most: int | None) -> Refusal | None:
        """Raises _TooLargeError, before it posts anything, if this takes more than `most` bytes."""
        try:
            undone = self._undone_by(event, most)
        except UnansweredError as error:
            return Refusal(f"late, and the state of its run is unknown: {error}", final=False)
        if isinstance(undone, Refusal):
            return undone
        if not undone or event.run_in_marquez is None:
            return self._client.post(event, patient=patient)
        with self._doubts.undoing(event.run_in_marquez, undone, self._now()) as saved:
            self._until_saved(saved)
            refusal = self._client.post(event, patient=patient)
            for newer in undone:
                log.info("%s is late: posting %s again", event.key, newer.key)
                # Also after a failure: the event may be partly written.
                refusal = self._client.post(newer, patient=True) or refusal
        return refusal

    def settle(self, *, all_at_once: bool = False) -> bool:
        """Check runs in doubt, for a second at most: Marquez may have carried out a post after newer ones.

        `all_at_once`: also those that are not due, as long as it takes. False: some could not be checked now.
        Call this only while no delivery is in progress.
        """
        until = time.monotonic() + (math.inf if all_at_once else SETTLING)
        for run, doubt in self._doubts.due(datetime.max.replace(tzinfo=UTC) if all_at_once else self._now()):
            if time.monotonic() > until or not self._settle(run, doubt):
                return False  # another time
            self._doubts.checked(run, self._now())
        return True

    def _settle(self, run: str, doubt: Doubt) -> bool:
        """Restore a run in which an older post was carried out last. False: this could not be done now.

        A run has the times of its newest events, and the state that the newer of them reports.
        """
        answer = self._client.run_once(run)
        if not answer.is_conclusive:
            return False
        state, started, ended = _Times.of(answer)
        begun_at = _newest(started, instant_of(doubt.begun))
        ended_at = _newest(ended, instant_of(doubt.ended))
        right = (started == begun_at, ended == ended_at)
        runs = begun_at is not None and (ended_at is None or begun_at > ended_at)
        if all(right) and (state == "RUNNING") == runs:
            return True
        if begun_at is None and ended_at is None:
            return True  # nothing has happened yet
        begun, end = (begun_at, doubt.begun, True), (ended_at, doubt.ended, False)
        older, newer = (end, begun) if runs else (begun, end)
        last = self._known_event(run, *newer)
        if last is None:
            log.warning("run %s is %s, and the log lacks the event that says what it is", run, state)
            return True
        log.warning("an older post of run %s was carried out late: posting %s again", run, last.key)
        first = None if right[runs] else self._known_event(run, *older)
        return not any(self._client.post(event, patient=True) for event in (first, last) if event)

    def _known_event(self, run: str, instant: datetime | None, key: str, begins: bool) -> Event | None:
        """The event that begins or ends a run at `instant`, which may have that key."""
        if instant is None:
            return None
        event = self._log.read(key) if instant_of(key) == instant else None
        return event or self._at(instant, run, most=None).of(begins=begins)

    def _watch_for_doubt(self, event: Event, answer: Answer) -> None:
        run = event.run_in_marquez
        if run is None:
            return
        if answer.delivered:
            self._doubts.delivered(run, event, self._now())
        elif answer.status == 0:
            self._doubts.unanswered(run, self._now())

    def _undone_by(self, event: Event, most: int | None) -> list[Event] | Refusal:
        """What to post after a late event, in order: newer events of its run that it would undo.

        Raises UnansweredError and _TooLargeError.
        """
        run, instant = event.run_in_marquez, event.instant
        if run is None or instant is None or event.kind is None:
            return []
        state, started, ended = _Times.of(self._client.run(run))
        newest = _newest(started, ended)
        # At the same instant, an event that begins a run precedes the one that ended it.
        if (
            newest is None
            or newest < instant
            or (newest == instant and not (event.begins and ended == newest))
        ):
            return []
        at_newest = self._at(newest, run, but=event.key, most=most)
        last = at_newest.last
        if last is None and (at_newest.of_child or (event.begins and ended is None)):
            return []  # Marquez made the run from a task's event, before the DAG's own: nothing is undone
        if last is None:
            return Refusal(
                f"late: its run is {state} since {newest.isoformat()}, and the event that reported this "
                "is not in the log, so it cannot be posted again afterwards"
            )
        overwritten = started if event.begins else ended
        if overwritten is None or not instant < overwritten:
            return [last]
        if overwritten < newest:
            first = self._at(overwritten, run, but=event.key, most=most).of(begins=event.begins)
        else:
            first = at_newest.of(begins=event.begins)
        return [last] if first in (None, last) else [first, last]

    def _at(self, instant: datetime, run: str, *, most: int | None, but: str = "") -> _AtInstant:
        """What the log has at `instant`, except the event with the key `but`. Raises _TooLargeError."""
        found: dict[tuple[bool, bool], Event] = {}
        of_child = False
        entries = self._log.at(instant)
        if most is not None and sum(entry.size for entry in entries) > most:
            raise _TooLargeError
        for _, candidate in read_ahead(self._log, (entry.key for entry in entries)):
            if isinstance(candidate, Event) and candidate.key != but:
                if candidate.run_in_marquez == run:
                    found[candidate.instant == instant, candidate.begins] = candidate
                of_child = of_child or candidate.parent_run == run
        exact = any(key[0] for key in found)  # else to the millisecond
        at = _AtInstant(found.get((exact, True)), found.get((exact, False)), of_child)
        if most is not None and any(event.size > most for event in (at.begun, at.ended) if event):
            raise _TooLargeError
        return at


def _newest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
