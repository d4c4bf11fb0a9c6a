"""Work in lanes: what shares a lane is done one after the other, different lanes at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
MOST_ITEMS = 256
MOST_BYTES = 64 * 1024 * 1024


class Lanes(Generic[Item]):
    """Bounded: whoever puts waits while too much is under way. After an error nothing more is begun."""

    def __init__(self, work: Callable[[Item], None], *, workers: int) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[tuple[Item, int]]] = {}  # of each lane that is at work
        self._ready: deque[tuple[str, Item, int]] = deque()
        self._items = self._bytes = 0
        self._error: Exception | None = None
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"lane-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, lane: str, item: Item, size: int) -> None:
        """Queue `item` of `size` bytes. Raises the first error of the work."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._has_room(size))
            self._raise()
            self._items += 1
            self._bytes += size
            if lane in self._waiting:
                self._waiting[lane].append((item, size))
            else:
                self._waiting[lane] = deque()
                self._ready.append((lane, item, size))
                self._changed.notify_all()

    def drain(self) -> None:
        """Wait until all is done. Raises the first error of the work."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or not self._items)
            self._raise()

    def close(self) -> None:
        """End the threads when what they have begun is done; what waits is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _has_room(self, size: int) -> bool:
        return self._items == 0 or (self._items < MOST_ITEMS and self._bytes + size <= MOST_BYTES)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._ready and self._error is None))
                if self._closed:
                    return
                lane, item, size = self._ready.popleft()
            error: Exception | None = None
            try:
                self._work(item)
            except Exception as failed:  # noqa: BLE001 - raised in the thread that puts and drains
                error = failed
            with self._changed:
                self._error = self._error or error
                self._items -= 1
                self._bytes -= size
                if self._waiting[lane]:
                    self._ready.append((lane, *self._waiting[lane].popleft()))
                else:
                    del self._waiting[lane]
                self._changed.notify_all()
