"""A thread pool that keeps order: items of one lane run one after the other, different lanes in parallel.

Items of different lanes are processed in parallel only if they happened at about the same time. An effect
happens later than its cause, often in another lane (the next task of a DAG, the next writer of a dataset),
and must be reported later.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
MOST_ITEMS = 256
MOST_BYTES = 64 * 1024 * 1024
SPAN = 1.0  # seconds between the times of items that are in progress together


class OrderedPool(Generic[Item]):
    """Bounded: `put` blocks while too much is in progress. After an error, no further item is started."""

    def __init__(self, work: Callable[[Item], None], *, workers: int) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[tuple[int, Item, int]]] = {}  # by lane in progress
        self._ready: deque[tuple[str, int, Item, int]] = deque()
        self._times: dict[int, float] = {}  # of the items in progress, by number: in the order of `put`
        self._number = self._bytes = 0
        self._error: Exception | None = None
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"pool-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, lane: str, item: Item, *, size: int, at: float) -> None:
        """Queue `item` of `size` bytes, which happened `at` (seconds). Raises the first error of a worker."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._has_room(size, at))
            self._raise()
            self._number += 1
            self._times[self._number] = at
            self._bytes += size
            if lane in self._waiting:
                self._waiting[lane].append((self._number, item, size))
            else:
                self._waiting[lane] = deque()
                self._ready.append((lane, self._number, item, size))
                self._changed.notify_all()

    def drain(self) -> None:
        """Wait until all items are processed. Raises the first error of a worker."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or not self._times)
            self._raise()

    def close(self) -> None:
        """Stop the threads after their current items; drop those that wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _has_room(self, size: int, at: float) -> bool:
        if not self._times:
            return True
        oldest = next(iter(self._times.values()))
        return len(self._times) < MOST_ITEMS and self._bytes + size <= MOST_BYTES and at - oldest <= SPAN

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._ready and self._error is None))
                if self._closed:
                    return
                lane, number, item, size = self._ready.popleft()
            error: Exception | None = None
            try:
                self._work(item)
            except Exception as failure:  # noqa: BLE001 - raised in the thread that puts and drains
                error = failure
            with self._changed:
                self._error = self._error or error
                del self._times[number]
                self._bytes -= size
                if self._waiting[lane]:
                    self._ready.append((lane, *self._waiting[lane].popleft()))
                else:
                    del self._waiting[lane]
                self._changed.notify_all()
