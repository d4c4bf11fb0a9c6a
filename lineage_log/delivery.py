"""Delivering one event: tried until Marquez has it or refuses it for good."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from lineage_log.event import Event, UnreadableError, parsed_instant
from lineage_log.log import Log, instant_of
from lineage_log.marquez_client import Answer, Marquez

log = logging.getLogger("forwarder")

TRIES, PROOFS = 3, 3  # failures before an event is suspected; then how often the server must take another one
DOUBT = 90.0  # seconds in which Marquez may still carry out a post that it has not answered
REMEMBERED = 1000  # runs in doubt, lanes that fail
STATES = {
    "START": "RUNNING",
    "RUNNING": "RUNNING",
    "COMPLETE": "COMPLETED",
    "FAIL": "FAILED",
    "ABORT": "ABORTED",
}
FRESH = 10.0  # seconds for which a delivery proves that the server takes events


class StoppedError(Exception):
    """The process was told to end."""


class UnreachableError(Exception):
    """Marquez has not taken an event for so long that another node had better try."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """In seconds. `longest_pause`: between tries. `give_up`: without any success, until UnreachableError."""

    longest_pause: float = 5
    give_up: float = 30


@dataclass(frozen=True)
class Refusal:
    """Why Marquez, which takes other events, does not have one. Not `final`: it may take it later."""

    reason: str
    final: bool = True


class _UnansweredError(Exception):
    """Marquez works, but does not tell of one run."""


class Counts:
    """What was done, by all threads together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.posted = self.set_aside = self.late = 0

    def add(self, *, posted: int = 0, set_aside: int = 0, late: int = 0) -> None:
        with self._lock:
            self.posted += posted
            self.set_aside += set_aside
            self.late += late


@dataclass
class _Doubt:
    """A post of the run was not answered at `since`; `latest`: the event of it delivered last, since then."""

    since: float
    latest: Event | None = None


class Courier:
    """Posts events. Whoever calls keeps the order of a lane: one call after the other."""

    def __init__(
        self,
        source: Log,
        marquez: Marquez,
        patience: Patience,
        *,
        stop: threading.Event,
        may_post: Callable[[], None] = lambda: None,
    ) -> None:
        """`may_post` is called before each post; it raises when this process must not post any more."""
        self._log, self._marquez, self._patience = source, marquez, patience
        self._stop, self._may_post = stop, may_post
        self._delivered_at = -FRESH
        self._failing_since: float | None = None
        self._doubts: dict[str, _Doubt] = {}  # by run
        self._failing: set[str] = set()  # lanes whose last event was not taken, though it might be later
        self.counts = Counts()

    def begin(self) -> None:
        """Forget how long Marquez has been failing."""
        self._failing_since = None

    def deliver(self, event: Event, *, late: bool = False, suspected: bool = False) -> Refusal | None:
        """None when it was delivered. `late`: later ones may have been posted; `suspected`: it failed before.

        Raises StoppedError, UnreachableError, and what S3 and `may_post` raise.
        """
        patient = False if suspected else None
        refusal = self.post_late(event, patient=patient) if late else self.post(event, patient=patient)
        self.counts.add(posted=refusal is None, late=late and refusal is None)
        return refusal

    def put_aside(self, key: str, reason: str) -> None:
        log.error("set aside: %s: %s", key, reason)
        self._log.set_aside(key, reason)
        self.counts.add(set_aside=1)

    def post(self, event: Event, *, patient: bool | None = None) -> Refusal | None:
        """Post until it is taken (None), or it is the event at which Marquez fails.

        `patient`: that takes several failures. Else one; so also (None) after an event of the same lane, lest
        a job of which Marquez takes nothing hold the others up with each of its events.
        """
        text = event.text
        if patient is None:
            patient = event.lane not in self._failing
        enough = (TRIES, PROOFS) if patient else (1, 1)
        failures = proofs = tries = 0
        while True:
            answer = self._ask(lambda: self._marquez.post(text))
            if answer.delivered:
                if event.run in self._doubts:
                    self._doubts[event.run].latest = event
                self._failing.discard(event.lane)
                return None
            if answer.status == 0 and event.run is not None and len(self._doubts) < REMEMBERED:
                self._doubts[event.run] = _Doubt(time.monotonic())
            if answer.refused and (self._fresh() or self._takes_others()):
                return Refusal(str(answer))
            failures += 1
            # Some bad events are answered with 500. Retrying one for ever would hold up those after it.
            if not answer.refused and failures >= enough[0] and self._takes_others():
                proofs += 1
                if proofs >= enough[1]:
                    if len(self._failing) < REMEMBERED:
                        self._failing.add(event.lane)
                    times = f"{failures} times " if failures > 1 else ""
                    why = f"{times}{answer}, while the server took another event"
                    why += "" if event.timed else "; its eventTime is no time with a zone"
                    return Refusal(why, final=not event.timed)
                continue
            proofs = 0
            self._pause(tries, f"{event.key}: {answer}")
            tries += 1

    def post_late(self, event: Event, *, patient: bool | None = None) -> Refusal | None:
        """Post an event that may come after later ones of its run, and leave the run as it stands now.

        In Marquez the last write wins: a START that arrives after its COMPLETE leaves the run running. So
        the event that made the run's present state is posted once more.
        """
        try:
            stands = self._stands(event)
        except _UnansweredError as error:
            return Refusal(f"came late, and how its run stands cannot be known: {error}", final=False)
        if stands is None:
            return self.post(event, patient=patient)
        state, instant = stands
        latest = self._event_at(instant, event)
        if latest is None:
            return Refusal(
                f"came late: its run is {state} since {instant.isoformat()}, and the event that said so "
                "is not in the log, to be posted after this one"
            )
        refusal = self.post(event, patient=patient)
        log.info("%s came late: posting %s again", event.key, latest.key)
        # Also after a failure: the event may be half written.
        return self.post(latest, patient=True) or refusal

    def settle(self) -> None:
        """Look at runs of which a post was not answered: Marquez may have carried it out after later ones.

        To be called while nothing is being delivered.
        """
        for run, doubt in list(self._doubts.items()):
            if time.monotonic() - doubt.since < DOUBT:
                continue
            answer = self._ask(partial(self._marquez.run, run))
            if not answer.tells:
                return  # another time
            latest = doubt.latest
            expected = STATES.get(latest.kind or "") if latest else None
            if latest and expected and answer.delivered and _object(answer.text).get("state") != expected:
                log.warning("an unanswered post was carried out late: posting %s again", latest.key)
                if self.post(latest, patient=True):
                    continue  # another time
            del self._doubts[run]

    def _stands(self, event: Event) -> tuple[str, datetime] | None:
        """The state of the event's run and since when, if that is later than the event.

        Raises _UnansweredError when Marquez works and yet cannot tell.
        """
        instant = instant_of(event.key)
        if event.run is None or instant is None:
            return None
        tries = 0
        run = event.run
        while True:
            answer = self._ask(lambda: self._marquez.run(run))
            if answer.tells:
                break
            tries += 1
            if tries >= TRIES and self._takes_others():
                raise _UnansweredError(str(answer))
            self._pause(tries, f"asking for run {run}: {answer}")
        told = _object(answer.text) if answer.delivered else {}
        times = [parsed_instant(told.get(name)) for name in ("startedAt", "endedAt")]
        newest = max((time for time in times if time is not None), default=None)
        return None if newest is None or newest <= instant else (str(told.get("state")), newest)

    def _event_at(self, instant: datetime, event: Event) -> Event | None:
        """The log's last event of this event's run at `instant`."""
        for key in reversed(self._log.at(instant)):
            try:
                found = self._log.read(key)
            except UnreadableError:
                continue
            if found is not None and found.run == event.run and found.key != event.key:
                return found
        return None

    def _takes_others(self) -> bool:
        return self._ask(self._marquez.probe).delivered

    def _fresh(self) -> bool:
        return time.monotonic() - self._delivered_at < FRESH

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        if self._stop.is_set():
            raise StoppedError
        self._may_post()
        answer = question()
        if answer.delivered:
            self._delivered_at, self._failing_since = time.monotonic(), None
        return answer

    def _pause(self, tries: int, what: str) -> None:
        """Wait a little longer after each try. Raises StoppedError, UnreachableError."""
        now = time.monotonic()
        since = self._failing_since = self._failing_since or now
        if now - since > self._patience.give_up:
            raise UnreachableError(f"nothing but failures for {now - since:.0f} s; last: {what}")
        pause = min(0.5 * 2**tries, self._patience.longest_pause) * random.uniform(0.5, 1)  # noqa: S311 - jitter
        log.warning("not delivered, trying again in %.1f s: %s", pause, what)
        if self._stop.wait(pause):
            raise StoppedError


def _object(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
