"""Retrying requests to a server until it answers, or the event itself is clearly at fault."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lineage_log.event import Event
from lineage_log.http_server import Answer
from lineage_log.marquez_client import MarquezClient

log = logging.getLogger("forwarder")

# Failures before the event is suspected; after that, how often the server must accept another one.
TRIES, PROOFS = 3, 3
FRESH = 10.0  # seconds for which a success proves that the server accepts events
REMEMBERED = 1000  # failing lanes
LONGEST_WAIT = 25.0  # seconds, if the server itself names a pause; less than until giving up


class StoppedError(Exception):
    """The process was asked to stop."""


class UnreachableError(Exception):
    """Marquez has accepted no event for so long that another node should try."""


class UnansweredError(Exception):
    """Marquez accepts events, but does not answer a query about one run."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Times in seconds: the longest pause between attempts, and without any success until giving up."""

    longest_pause: float = 5
    give_up: float = 30


@dataclass(frozen=True)
class Refusal:
    """Why Marquez, which accepts other events, refuses this one. Not `final`: a retry may succeed."""

    reason: str
    final: bool = True


class Server(Protocol):
    """What events are posted to."""

    def post(self, event: bytes) -> Answer: ...

    def probe(self) -> Answer:
        """Post a small event of our own, to test whether the server accepts events at the moment."""


ServerT = TypeVar("ServerT", bound=Server)


class PatientPoster(Generic[ServerT]):
    """Posts and retries. The caller keeps the order of a lane by making one call at a time for it.

    All methods raise StoppedError, UnreachableError, and what `may_post` raises.
    """

    def __init__(
        self,
        server: ServerT,
        patience: Patience,
        *,
        stop: threading.Event,
        may_post: Callable[[], None],
        on_answer: Callable[[Event, Answer], None],
    ) -> None:
        """`may_post` is called before each request; it raises if this process must no longer post.

        `on_answer` receives the answer to each post of an event.
        """
        self._server, self._patience, self._stop = server, patience, stop
        self._may_post, self._on_answer = may_post, on_answer
        self._succeeded_at = -FRESH
        self._failing_since: float | None = None
        self._failing_lanes: set[str] = set()  # whose last event failed, though a retry may succeed

    def begin(self) -> None:
        """Reset the time for which the server has been failing."""
        self._failing_since = None

    def post(self, event: Event, *, patient: bool | None = None) -> Refusal | None:
        """Post until the server accepts the event (None), or clearly refuses it while it accepts others.

        `patient`: conclude that after several failures, else after one. By default, the first event of a lane
        gets several attempts, and those after a failed event get one each: a job whose events all fail does
        not delay the others.
        """
        text = event.text
        if patient is None:
            patient = event.lane not in self._failing_lanes
        tries, proofs_needed = (TRIES, PROOFS) if patient else (1, 1)
        failures = proofs = pauses = 0
        while True:
            answer = self._ask(lambda: self._server.post(text))
            self._on_answer(event, answer)
            if answer.delivered:
                self._failing_lanes.discard(event.lane)
                return None
            if answer.refused and (self._succeeded_lately() or self._takes_others()):
                return Refusal(str(answer))
            failures += 1
            # Servers answer some bad events with 500. Retrying forever would hold up the events after it.
            if not answer.refused and failures >= tries and self._takes_others():
                proofs += 1
                if proofs == proofs_needed:
                    return self._failure(event, answer, failures)
            else:
                proofs = 0
                self._pause(pauses, f"{event.key}: {answer}", answer.retry_after)
                pauses += 1

    def _failure(self, event: Event, answer: Answer, failures: int) -> Refusal:
        """The refusal of an event at which the server failed while it accepted others."""
        if len(self._failing_lanes) < REMEMBERED:
            self._failing_lanes.add(event.lane)
        times = f"{failures} times " if failures > 1 else ""
        reason = f"{times}{answer}, while the server accepted another event"
        if event.instant is not None:
            return Refusal(reason, final=False)
        return Refusal(f"{reason}; its eventTime is not a time with a zone")

    def _takes_others(self) -> bool:
        return self._ask(self._server.probe).delivered

    def _succeeded_lately(self) -> bool:
        return time.monotonic() - self._succeeded_at < FRESH

    def _ask(self, request: Callable[[], Answer]) -> Answer:
        if self._stop.is_set():
            raise StoppedError
        self._may_post()
        answer = request()
        if answer.delivered:
            self._succeeded_at, self._failing_since = time.monotonic(), None
        return answer

    def _pause(self, number: int, what: str, wished: float = 0) -> None:
        """Wait, a little longer after each failure, and at least as long as the server `wished`."""
        now = time.monotonic()
        since = self._failing_since = self._failing_since or now
        if now - since > self._patience.give_up:
            raise UnreachableError(f"every request has failed for {now - since:.0f} s; the last: {what}")
        pause = min(0.5 * 2**number, self._patience.longest_pause) * random.uniform(0.5, 1)  # noqa: S311 - jitter
        pause = max(pause, min(wished, LONGEST_WAIT))
        log.warning("not delivered, retrying in %.1f s: %s", pause, what)
        if self._stop.wait(pause):
            raise StoppedError


class PatientClient(PatientPoster[MarquezClient]):
    """A PatientPoster for Marquez, which is also asked what it knows of a run."""

    def run(self, run_id: str) -> Answer:
        """Marquez's conclusive record of a run. Raises UnansweredError."""
        tries = proofs = 0
        while not (answer := self.run_once(run_id)).is_conclusive:
            tries += 1
            if tries >= TRIES and self._takes_others():
                proofs += 1
                if proofs == PROOFS:
                    raise UnansweredError(str(answer))
                continue
            proofs = 0
            self._pause(tries, f"query for run {run_id}: {answer}")
        return answer

    def run_once(self, run_id: str) -> Answer:
        """Like `run` with a single attempt: the answer may be inconclusive."""
        return self._ask(lambda: self._server.run(run_id))
