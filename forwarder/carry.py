"""The forwarder's work: take the place, carry what is new in order, keep the place, over and over."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError

from forwarder.deliver import Marquez
from forwarder.log import Log, UnreadableError, instant_of, key_at
from forwarder.metrics import Metrics
from forwarder.place import LostPlaceError, Place, PlaceKeeper

log = logging.getLogger("forwarder")

CHUNK = 32  # events read ahead at once
READERS = 8
KEEP_EVERY = 2.0  # seconds: what is carried again, at most, after a crash
SUSPECT_AFTER = 5  # times a server error for one event, before the event itself is suspected


class StoppedError(Exception):
    """The process was told to end."""


class UnreachableError(Exception):
    """Marquez has not taken an event for so long that another node had better try."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """All in seconds.

    `settle`: how long after its time an event is carried, so that its neighbours arrive. `window`: how far
    behind the frontier late objects are still found. `give_up`: after how long without success the place is
    left to another forwarder, and `rest` for how long this one then stands back.
    """

    poll: float = 5
    settle: float = 2
    window: float = 600
    longest_backoff: float = 30
    give_up: float = 120
    rest: float = 30


class Forwarder:
    def __init__(
        self,
        source: Log,
        keeper: PlaceKeeper,
        marquez: Marquez,
        timing: Timing,
        *,
        metrics: Metrics | None = None,
        stop: threading.Event | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log, self._keeper, self._marquez, self._timing = source, keeper, marquez, timing
        self._metrics = metrics
        self._stop = stop or threading.Event()
        self._now = now
        self._place = Place()
        self._runs: dict[str, str | None] = {}  # run ids of what this process carried within the window

    def run(self) -> None:
        """Forward until told to stop. Raises BadPlaceError."""
        while not self._stop.is_set():
            try:
                if self._take():
                    self._forward()
                else:
                    self._wait(self._timing.poll)
            except StoppedError:
                break
            except LostPlaceError as lost:
                log.warning("%s: standing by", lost)
            except UnreachableError as error:
                log.warning("%s: leaving the place to another forwarder, if there is one", error)
                self._leave()
                self._stop.wait(self._timing.rest)
            except (ClientError, BotoCoreError) as error:
                log.warning("S3: %s: trying again in %g s", error, self._timing.poll)
                self._stop.wait(self._timing.poll)
        self._leave()

    def once(self, patience: float) -> int:
        """Forward what is there, then give the place up; returns how many were carried.

        Waits `patience` seconds for the place. Raises LostPlaceError when another forwarder has it, and
        UnreachableError.
        """
        deadline = time.monotonic() + patience
        while not self._take():
            if time.monotonic() > deadline:
                raise LostPlaceError("another forwarder is at work")
            self._wait(1)
        carried = 0
        while count := self._pass():
            carried += count
        self._keeper.give_up(self._place)
        return carried

    def _take(self) -> bool:
        place = self._keeper.try_take()
        if place is None:
            return False
        self._place, self._runs = place, {}
        log.info("forwarding, from %s", place.frontier or "the log's start")
        return True

    def _forward(self) -> None:
        while True:
            carried = self._pass()
            self._keeper.renew(self._place)
            if self._metrics:
                self._metrics.caught_up(self._now())
            if carried:
                log.info("carried %d, up to %s", carried, self._place.frontier)
            self._wait(self._timing.poll)

    def _leave(self) -> None:
        try:
            self._keeper.give_up(self._place)
        except LostPlaceError:
            pass  # not ours to give
        except (ClientError, BotoCoreError) as error:
            log.warning("could not give the place up (it will be free when the lease ends): %s", error)

    def _pass(self) -> int:
        """Carry every event that is due and not yet carried; returns how many."""
        carried = 0
        until = key_at(self._now() - timedelta(seconds=self._timing.settle))
        # Threads only read ahead; what they read is posted one after the other.
        with ThreadPoolExecutor(READERS) as pool:
            for page in self._log.pages(self._window_start(), until):
                new = [key for key in page if key not in self._place.seen]
                for start in range(0, len(new), CHUNK):
                    chunk = new[start : start + CHUNK]
                    for key, event in zip(chunk, pool.map(self._read, chunk), strict=True):
                        self._carry(key, event)
                    carried += len(chunk)
                    if self._keeper.age > KEEP_EVERY:
                        self._keep()
                    if self._metrics:
                        self._metrics.carried(len(chunk), chunk[-1], self._now())
        if carried:
            self._keep()
        return carried

    def _window_start(self) -> str:
        frontier = instant_of(self._place.frontier)
        if frontier is None:
            return ""
        return key_at(frontier - timedelta(seconds=self._timing.window))

    def _keep(self) -> None:
        """Keep the place, without what has left the window."""
        self._place = self._place.without_before(self._window_start())
        self._runs = {key: run for key, run in self._runs.items() if key in self._place.seen}
        self._keeper.save(self._place)

    def _read(self, key: str) -> bytes | UnreadableError | None:
        try:
            return self._log.read(key)
        except UnreadableError as error:
            return error

    def _carry(self, key: str, event: bytes | UnreadableError | None) -> None:
        late = key < self._place.frontier
        followers = sorted(seen for seen in self._place.seen if seen > key) if late else ()
        self._deliver(key, event)
        self._runs[key] = _run_id(event)
        self._place = self._place.past(key)
        if followers and self._runs[key] is not None:
            self._repeat(self._runs[key], followers)

    def _repeat(self, run: str | None, followers: Sequence[str]) -> None:
        """Post again what came after a late event of the same run.

        In Marquez the last write wins: a START that arrives after its COMPLETE would leave the run running.
        """
        for key in followers:
            if key in self._runs and self._runs[key] != run:
                continue
            event = self._read(key)
            self._runs[key] = _run_id(event)
            if self._runs[key] == run:
                log.info("again, because an earlier event of its run came late: %s", key)
                self._deliver(key, event)

    def _deliver(self, key: str, event: bytes | UnreadableError | None) -> None:
        """Post until it is delivered or set aside. Raises LostPlaceError, StoppedError, UnreachableError."""
        if event is None:
            return
        if isinstance(event, UnreadableError):
            self._put_aside(key, str(event))
            return
        started = time.monotonic()
        server_errors = tries = 0
        while True:
            self._keeper.renew(self._place)  # two forwarders must not both post
            answer = self._marquez.post(event)
            if answer.delivered:
                return
            if answer.refused:
                self._put_aside(key, str(answer))
                return
            # Some bad events are answered with 500. Retrying one for ever would hold up all others.
            server_errors += answer.status == 500
            if server_errors >= SUSPECT_AFTER and self._marquez.answers_queries():
                self._put_aside(key, f"{server_errors} times {answer}, while queries are answered")
                return
            if time.monotonic() - started > self._timing.give_up:
                raise UnreachableError(f"not delivered for {self._timing.give_up:g} s: {key}: {answer}")
            pause = min(2**tries, self._timing.longest_backoff) * random.uniform(0.5, 1)  # noqa: S311 - jitter
            tries += 1
            log.warning("not delivered, trying again in %.1f s: %s: %s", pause, key, answer)
            self._wait(pause)

    def _put_aside(self, key: str, reason: str) -> None:
        log.error("set aside: %s: %s", key, reason)
        self._log.set_aside(key, reason)
        if self._metrics:
            self._metrics.set_aside()

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StoppedError


def _run_id(event: bytes | UnreadableError | None) -> str | None:
    """The event's run; None for an event without one."""
    if not isinstance(event, bytes):
        return None
    try:
        run = json.loads(event)["run"]["runId"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(run)
