"""Reading many events in order and ahead of time, so that the requests to S3 overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from lineage_log.event import Event, UnreadableError
from lineage_log.log import Log

READERS = 16
READ_AHEAD = 64  # events

Read = Event | UnreadableError | None  # None: the object has expired


def read_ahead(source: Log, keys: Iterator[str]) -> Iterator[tuple[str, Read]]:
    """Yield each key with its content, in the order of `keys`; takes keys only as far as it reads ahead."""
    ahead: deque[tuple[str, Future[Read]]] = deque()
    with ThreadPoolExecutor(READERS) as readers:
        while True:
            for key in islice(keys, READ_AHEAD - len(ahead)):
                ahead.append((key, readers.submit(_read, source, key)))
            if not ahead:
                return
            key, reading = ahead.popleft()
            yield key, reading.result()


def _read(source: Log, key: str) -> Read:
    try:
        return source.read(key)
    except UnreadableError as error:
        return error
