"""Reading many events in order and ahead of time, so that the requests to S3 overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, islice

from lineage_log.event import Event, UnreadableError
from lineage_log.log import Log, instant_of

READERS = 16
READ_AHEAD = 64  # events

Read = Event | UnreadableError | None  # None: the object has expired


def read_ahead(source: Log, keys: Iterator[str]) -> Iterator[tuple[str, Read]]:
    """Yield each key with its content, in the order of `keys`; takes keys only as far as it reads ahead.

    Where several events have the same instant, their keys are in the order of chance: those that begin a run
    come first.
    """
    for _, same_instant in groupby(_in_key_order(source, keys), lambda pair: instant_of(pair[0]) or pair[0]):
        yield from sorted(same_instant, key=lambda pair: not (isinstance(pair[1], Event) and pair[1].begins))


def _in_key_order(source: Log, keys: Iterator[str]) -> Iterator[tuple[str, Read]]:
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
