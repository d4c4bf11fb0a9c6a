"""A thread pool that keeps order where it matters, and works in parallel where it does not.

Each item names what it writes and what it reads. It waits for earlier items that write what it reads or
writes, and for those that read what it writes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
MOST_ITEMS = 256
MOST_BYTES = 16 * 1024 * 1024  # but for one item of any size


@dataclass(eq=False, slots=True)
class _Use(Generic[Item]):
    """The items in progress that use something: the last one that writes it, and who has read it since."""

    writer: _Entry[Item] | None = None
    readers: set[_Entry[Item]] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class _Entry(Generic[Item]):
    """An item in progress; `waits` for so many others, `followers` wait for it."""

    item: Item
    size: int
    names: frozenset[str]
    waits: int = 0
    followers: list[_Entry[Item]] = field(default_factory=list)


class OrderedPool(Generic[Item]):
    """Bounded: `put` blocks while too much is in progress. After an error, no further item is started."""

    def __init__(self, work: Callable[[Item], None], *, workers: int) -> None:
        self._work = work
        lock = threading.Lock()
        self._started, self._finished = threading.Condition(lock), threading.Condition(lock)
        self._entries: dict[_Entry[Item], None] = {}  # in progress, in the order of `put`
        self._uses: dict[str, _Use[Item]] = {}
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

    def put(self, item: Item, *, size: int, writes: Iterable[str], reads: Iterable[str] = ()) -> None:
        """Queue `item` of `size` bytes. Raises the first error of a worker."""
        writes = frozenset(writes)
        reads = frozenset(reads) - writes
        with self._finished:
            self._finished.wait_for(lambda: self._error is not None or self._has_room(size))
            self._raise()
            entry = _Entry(item, size, writes | reads)
            for earlier in self._note(entry, writes, reads):
                earlier.followers.append(entry)
                entry.waits += 1
            self._entries[entry] = None
            self._bytes += size
            if not entry.waits:
                self._start(entry)

    def _note(self, entry: _Entry[Item], writes: frozenset[str], reads: frozenset[str]) -> set[_Entry[Item]]:
        """Note what an item uses; return the items that it waits for."""
        earlier: set[_Entry[Item]] = set()
        for name in entry.names:
            use = self._uses.setdefault(name, _Use())
            if use.writer is not None:
                earlier.add(use.writer)
            if name in reads:
                use.readers.add(entry)
            if name in writes:
                earlier |= use.readers
                use.writer, use.readers = entry, set()
        return earlier

    def drain(
        self, *, only: Callable[[Item], bool] = lambda _item: True, seconds: float | None = None
    ) -> bool:
        """Wait until all items, or those that `only` selects, are processed; False if it takes longer.

        Raises the first error of a worker.
        """

        def done() -> bool:
            return not any(only(entry.item) for entry in self._entries)

        with self._finished:
            self._finished.wait_for(lambda: self._error is not None or done(), seconds)
            self._raise()
            return done()

    def close(self) -> None:
        """Stop the threads after their current items; drop those that wait."""
        with self._started:
            self._closed = True
            self._started.notify_all()
        for thread in self._threads:
            thread.join()

    def _has_room(self, size: int) -> bool:
        return not self._entries or (len(self._entries) < MOST_ITEMS and self._bytes + size <= MOST_BYTES)

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
        for name in entry.names:
            use = self._uses.get(name)
            if use is not None:
                use.readers.discard(entry)
                use.writer = None if use.writer is entry else use.writer
                if use.writer is None and not use.readers:
                    del self._uses[name]
        for follower in entry.followers:
            follower.waits -= 1
            if not follower.waits:
                self._start(follower)
        self._finished.notify()
