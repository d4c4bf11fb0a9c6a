"""Many hosts that judge runs at once, in virtual time: what they ask of SSM, and how long their tasks wait.

Only one simulated process runs at a time, each in a thread of its own; when it sleeps, the next one goes on.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from bluegreen.aws import AwsError
from bluegreen.store import Answer, OwnershipUnknown, Store

from tests.fakes.timeline import dumped, gate_settings, initial

START = 1_800_000_000.0
SETTINGS = gate_settings("blue")
FRESH = timedelta(seconds=5)


class VirtualTime:
    """A clock that jumps to the next moment at which somebody has something to do."""

    def __init__(self) -> None:
        self.now = START
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._back = threading.Semaphore(0)
        self._errors: list[BaseException] = []

    def at(self, moment: float, work: Callable[[], None]) -> None:
        """Let a new process begin `work` at `moment`."""

        def process() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised in `run`
                self._errors.append(error)
            finally:
                self._back.release()

        self._push(moment, threading.Thread(target=process, daemon=True).start)

    def sleep(self, seconds: float) -> None:
        goes_on = threading.Semaphore(0)
        self._push(self.now + seconds, goes_on.release)
        self._back.release()
        goes_on.acquire()

    def run(self) -> None:
        """Return when nobody has anything left to do. Raises what a process raised."""
        while self._queue:
            moment, _, resume = heapq.heappop(self._queue)
            self.now = max(self.now, moment)
            resume()
            self._back.acquire()
            if self._errors:
                raise self._errors[0]

    def _push(self, moment: float, resume: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (moment, next(self._numbers), resume))

    @contextmanager
    def of_the_store(self) -> Iterator[None]:
        """Let the store sleep and measure in this time."""
        fake = SimpleNamespace(sleep=self.sleep, monotonic=lambda: self.now, time=lambda: self.now)
        with patch("bluegreen.store.time", fake):
            yield


@dataclass
class Quota:
    """SSM for all hosts: refuses what exceeds `rate` requests a second (at once: `burst`) or in an `outage`.

    `outage`: its begin and its end, in epoch seconds.
    """

    time: VirtualTime
    rate: float = 40.0
    burst: float = 40.0
    outage: tuple[float, float] = (math.inf, math.inf)
    takes: float = 0.02
    asked: list[float] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self._level, self._filled = self.burst, START

    def read(self, _known: Answer | None) -> Answer:
        self.asked.append(self.time.now)
        self._level = min(self.burst, self._level + (self.time.now - self._filled) * self.rate)
        self._filled = self.time.now
        self.time.sleep(self.takes)
        if self.outage[0] <= self.time.now < self.outage[1]:
            self.time.sleep(3.0)
            raise AwsError("https://ssm: timed out")
        if self._level < 1:
            self.refused += 1
            raise AwsError("https://ssm: 400 ThrottlingException: Rate exceeded")
        self._level -= 1
        record = (dumped(initial()), 1, datetime.fromtimestamp(START - 9999, UTC))
        return Answer(record, record)

    def busiest(self, seconds: float) -> float:
        """The most requests a second within any `seconds` that begin with a request."""
        asked, first, most = sorted(self.asked), 0, 0
        for last, moment in enumerate(asked):
            while moment - asked[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most / seconds

    def average(self) -> float:
        return len(self.asked) / (max(self.asked) - min(self.asked))


class SimulatedStore(Store):
    """Reads in the simulated process itself: a thread of its own would not be part of the virtual time."""

    def _fetch_within(self, seconds: float) -> str | None:
        failures: list[str] = []
        self._fetch(failures)
        return failures[0] if failures else None


@dataclass
class Fleet:
    """Two environments of `workers` and `schedulers` hosts, and what became of their tasks.

    `unknown`: no switch has known the DAGs yet, so a copy must not be older than the run that it judges.
    `waits`: seconds until each task had its verdict; `unjudged`: tasks that failed without one;
    `left`: runs that a scheduler left to their tasks.
    """

    folder: Path
    ssm: Quota
    workers: int = 25
    schedulers: int = 5
    retries: int = 0
    unknown: bool = False
    waits: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def hosts(self) -> int:
        """Of one environment."""
        return self.workers + self.schedulers

    def minutes(self, number: int, tasks: int = 2000, every: int = 60) -> None:
        """Run `number` minutes with so many `tasks` each.

        Half of the tasks are due on the minute and start at once. The others start throughout the minute, and
        are due at its beginning (`every` 60) or at every second (1).
        """
        time = self.ssm.time
        for minute in range(number):
            begin = START + 60 * minute
            for scheduler in range(2 * self.schedulers):
                for second in range(0, 60, every):
                    due = begin + second
                    self._judged(f"scheduler-{scheduler}", due, due + random.random(), 0)
            for task in range(tasks):
                host = f"worker-{random.randrange(2 * self.workers)}"
                queued = 0 if task < tasks / 2 else random.randrange(60)
                due = begin + queued // every * every
                started = begin + queued + random.uniform(0.3, 3)
                self._judged(host, due, started, 60, retried=task % 10 == 0)
        with time.of_the_store():
            time.run()

    def _judged(
        self, host: str, due: float, start: float, wait: float, *, retried: bool = False, tries: int = 0
    ) -> None:
        """Judge a run on a host in a process that begins at `start`."""
        time = self.ssm.time
        run_began = min(due + random.uniform(0.3, 3), start) if self.unknown else -math.inf

        def process() -> None:
            store = SimulatedStore(
                SETTINGS, self.ssm.read, self.folder / host, lambda: time.now, hosts=self.hosts
            )
            begun = time.now
            kind = "task" if wait else "scheduler"
            try:
                within = FRESH if retried else max(FRESH, timedelta(seconds=min(time.now - run_began, 1e6)))
                store.timeline(datetime.fromtimestamp(due, UTC), wait=wait, within=within)
            except OwnershipUnknown:
                self.outcomes[f"{kind}: no verdict"] += 1
                if tries < self.retries:
                    self._judged(host, due, time.now + 1, wait, retried=True, tries=tries + 1)
            else:
                self.outcomes[f"{kind}: verdict"] += 1
                if wait:
                    self.waits.append(time.now - begun)

        time.at(start, process)
