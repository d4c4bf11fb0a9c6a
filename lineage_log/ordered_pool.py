"""Work in lanes: what shares a lane is done one after the other, different lanes at the same time.

At the same time, that is, if it also happened at about the same time. What follows from something else comes
later, often in another lane (a DAG's next task, the next writer of a dataset), and must be told later.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
MOST_ITEMS = 256
MOST_BYTES = 64 * 1024 * 1024
SPAN = 1.0  # seconds between the times of what is under way together


class Lanes(Generic[Item]):
    """Bounded: whoever puts waits while too much is under way. After an error nothing more is begun."""

    def __init__(self, work: Callable[[Item], None], *, workers: int) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[tuple[int, Item, int]]] = {}  # of each lane that is at work
        self._ready: deque[tuple[str, int, Item, int]] = deque()
        self._times: dict[int, float] = {}  # of what is put and not done, by number: in order of putting
        self._number = self._bytes = 0
        self._error: Exception | None = None
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"lane-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, lane: str, item: Item, *, size: int, at: float) -> None:
        """Queue `item` of `size` bytes, which happened `at` (seconds). Raises the first error of the work."""
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
        """Wait until all is done. Raises the first error of the work."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or not self._times)
            self._raise()

    def close(self) -> None:
        """End the threads when what they have begun is done; what waits is dropped."""
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
            except Exception as failed:  # noqa: BLE001 - raised in the thread that puts and drains
                error = failed
            with self._changed:
                self._error = self._error or error
                del self._times[number]
                self._bytes -= size
                if self._waiting[lane]:
                    self._ready.append((lane, *self._waiting[lane].popleft()))
                else:
                    del self._waiting[lane]
                self._changed.notify_all()
