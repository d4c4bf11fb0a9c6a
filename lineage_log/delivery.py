"""Delivery of events, including late ones: each run in Marquez ends in the state of its newest event."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lineage_log.event import Event, parsed_instant
from lineage_log.log import Log, instant_of
from lineage_log.marquez_client import Answer, MarquezClient
from lineage_log.patient_client import Patience, PatientClient, Refusal, UnansweredError
from lineage_log.read_ahead import read_ahead

log = logging.getLogger("forwarder")

DOUBT = 90.0  # seconds in which Marquez may still carry out a post that it has not answered
REMEMBERED = 1000  # runs in doubt
STATES = {
    "START": "RUNNING",
    "RUNNING": "RUNNING",
    "COMPLETE": "COMPLETED",
    "FAIL": "FAILED",
    "ABORT": "ABORTED",
}


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


@dataclass
class _Doubt:
    """A post for the run was not answered at `since`; `latest`: its last event delivered after that."""

    since: float
    latest: Event | None = None


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
    ) -> None:
        """`may_post` is called before each request; it raises if this process must no longer post."""
        self._log = source
        self._client = PatientClient(
            marquez, patience, stop=stop, may_post=may_post, on_answer=self._watch_for_doubt
        )
        self._doubts: dict[str, _Doubt] = {}  # by run
        self.counts = Counts()

    def begin(self) -> None:
        """Reset the time for which Marquez has been failing."""
        self._client.begin()

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
        """Post an event that may arrive after newer ones of its run, and restore the run's state.

        In Marquez the last write wins: a START that arrives after its COMPLETE leaves the run running. So
        the event that led to the run's current state is posted once more. `patient`: see PatientClient.
        """
        try:
            newer = self._newer_state(event)
        except UnansweredError as error:
            return Refusal(f"late, and the state of its run is unknown: {error}", final=False)
        if newer is None:
            return self._client.post(event, patient=patient)
        state, instant = newer
        latest = self._event_at(instant, event)
        if latest is None:
            return Refusal(
                f"late: its run is {state} since {instant.isoformat()}, and the event that reported this "
                "is not in the log, so it cannot be posted again afterwards"
            )
        refusal = self._client.post(event, patient=patient)
        log.info("%s is late: posting %s again", event.key, latest.key)
        # Also after a failure: the event may be partly written.
        return self._client.post(latest, patient=True) or refusal

    def settle(self) -> None:
        """Check the runs with an unanswered post: Marquez may have carried it out after newer ones.

        Call this only while no delivery is in progress.
        """
        for run, doubt in list(self._doubts.items()):
            if time.monotonic() - doubt.since < DOUBT:
                continue
            answer = self._client.run_once(run)
            if not answer.is_conclusive:
                return  # another time
            latest = doubt.latest
            expected = STATES.get(latest.kind or "") if latest else None
            if latest and expected and answer.delivered and _object(answer.text).get("state") != expected:
                log.warning("an unanswered post was carried out late: posting %s again", latest.key)
                if self._client.post(latest, patient=True):
                    continue  # another time
            del self._doubts[run]

    def _watch_for_doubt(self, event: Event, answer: Answer) -> None:
        if event.run is None:
            return
        if answer.delivered and event.run in self._doubts:
            self._doubts[event.run].latest = event
        elif answer.status == 0 and len(self._doubts) < REMEMBERED:
            self._doubts[event.run] = _Doubt(time.monotonic())

    def _newer_state(self, event: Event) -> tuple[str, datetime] | None:
        """The state of the event's run and since when, if the event would undo it.

        Raises UnansweredError.
        """
        instant = instant_of(event.key)
        if event.run is None or instant is None:
            return None
        answer = self._client.run(event.run)
        run = _object(answer.text) if answer.delivered else {}
        started, ended = (parsed_instant(run.get(name)) for name in ("startedAt", "endedAt"))
        newest = max((time for time in (started, ended) if time is not None), default=None)
        if newest is None:
            return None
        if run.get("state") == "RUNNING" and ended is None and event.begins:
            return None  # Marquez creates a DAG's run from its first task's START, before the DAG's own
        # At the same instant, an event that begins a run precedes the one that ended it.
        undone = newest > instant or (newest == instant and event.begins)
        return (str(run.get("state")), newest) if undone else None

    def _event_at(self, instant: datetime, event: Event) -> Event | None:
        """The log's last event of this event's run at `instant`, one that ends the run if there is one."""
        latest: Event | None = None
        for _, candidate in read_ahead(self._log, iter(self._log.at(instant))):
            if isinstance(candidate, Event) and candidate.run == event.run and candidate.key != event.key:
                latest = candidate
        return latest


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
