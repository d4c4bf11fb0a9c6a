"""A thread pool that keeps order: items of one lane run one after the other, different lanes in parallel.

Items of different lanes are processed in parallel only if they happened at about the same time. An effect
happens later than its cause, often in another lane (the next task of a DAG, the next writer of a dataset),
and must be reported later.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
MOST_ITEMS = 256
MOST_BYTES = 64 * 1024 * 1024
SPAN = 1.0  # seconds between the times of items that are in progress together


@dataclass(eq=False, slots=True)
class _Entry(Generic[Item]):
    """An item in progress; `waits` for so many others, `followers` wait for it."""

    lane: str
    item: Item
    size: int
    at: float
    waits: int = 0
    followers: list[_Entry[Item]] = field(default_factory=list)


class OrderedPool(Generic[Item]):
    """Bounded: `put` blocks while too much is in progress. After an error, no further item is started."""

    def __init__(self, work: Callable[[Item], None], *, workers: int) -> None:
        self._work = work
        lock = threading.Lock()
        self._started, self._finished = threading.Condition(lock), threading.Condition(lock)
        self._entries: dict[_Entry[Item], None] = {}  # in progress, in the order of `put`
        self._last: dict[str, _Entry[Item]] = {}  # of each lane in progress
        self._ready: deque[_Entry[Item]] = deque()
        self._bytes = 0
        self._error: Exception | None = None
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"pool-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, lane: str, item: Item, *, size: int, at: float, after: str | None = None) -> None:
        """Queue `item` of `size` bytes, which happened `at` (seconds). Raises the first error of a worker.

        It also waits for the earlier items of the lane `after`.
        """
        with self._finished:
            self._finished.wait_for(lambda: self._error is not None or self._has_room(size, at))
            self._raise()
            entry = _Entry(lane, item, size, at)
            for earlier in {self._last[name] for name in (lane, after) if name in self._last}:
                earlier.followers.append(entry)
                entry.waits += 1
            self._entries[entry] = None
            self._last[lane] = entry
            self._bytes += size
            if not entry.waits:
                self._start(entry)

    def drain(self) -> None:
        """Wait until all items are processed. Raises the first error of a worker."""
        with self._finished:
            self._finished.wait_for(lambda: self._error is not None or not self._entries)
            self._raise()

    def close(self) -> None:
        """Stop the threads after their current items; drop those that wait."""
        with self._started:
            self._closed = True
            self._started.notify_all()
        for thread in self._threads:
            thread.join()

    def _has_room(self, size: int, at: float) -> bool:
        if not self._entries:
            return True
        oldest = next(iter(self._entries)).at
        return len(self._entries) < MOST_ITEMS and self._bytes + size <= MOST_BYTES and at - oldest <= SPAN

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _start(self, entry: _Entry[Item]) -> None:
        self._ready.append(entry)
        self._started.notify()

    def _serve(self) -> None:
        while True:
            with self._started:
                self._started.wait_for(lambda: self._closed or (self._ready and self._error is None))
                if self._closed:
                    return
                entry = self._ready.popleft()
            error: Exception | None = None
            try:
                self._work(entry.item)
            except Exception as failure:  # noqa: BLE001 - raised in the thread that puts and drains
                error = failure
            with self._started:
                self._finish(entry, error)

    def _finish(self, entry: _Entry[Item], error: Exception | None) -> None:
        self._error = self._error or error
        del self._entries[entry]
        self._bytes -= entry.size
        if self._last[entry.lane] is entry:
            del self._last[entry.lane]
        for follower in entry.followers:
            follower.waits -= 1
            if not follower.waits:
                self._start(follower)
        self._finished.notify()
