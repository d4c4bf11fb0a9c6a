"""Reading many events in order and ahead of time, so that the requests to S3 overlap.

Bounded: up to READ_AHEAD events of up to SMALL bytes are held, and one larger event, which is not read ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, islice

from lineage_log.event import Event, UnreadableError
from lineage_log.log import LargeObjectError, Log, instant_of

READERS = 16
READ_AHEAD = 64  # events
SMALL = 256 * 1024  # bytes of an object

Read = Event | UnreadableError | None  # None: the object has expired
ReadSoFar = Read | LargeObjectError  # which is read when it is its turn


def read_ahead(source: Log, keys: Iterator[str]) -> Iterator[tuple[str, Read]]:
    """Yield each key with its content, in the order of `keys`; takes keys only as far as it reads ahead.

    Where several events have the same instant, their keys are in the order of chance: those that begin a run
    come first.
    """
    for _, same_instant in groupby(_in_key_order(source, keys), lambda pair: instant_of(pair[0]) or pair[0]):
        others: list[tuple[str, ReadSoFar]] = []
        for key, event in same_instant:
            if isinstance(event, Event) and event.begins:
                yield key, event
            elif len(others) < READ_AHEAD and not (isinstance(event, Event) and len(event.packed) > SMALL):
                others.append((key, event))
            else:
                others.append((key, LargeObjectError()))
        for key, other in others:
            yield key, _now(source, key, other)


def _in_key_order(source: Log, keys: Iterator[str]) -> Iterator[tuple[str, Read]]:
    ahead: deque[tuple[str, Future[ReadSoFar]]] = deque()
    with ThreadPoolExecutor(READERS) as readers:
        while True:
            for key in islice(keys, READ_AHEAD - len(ahead)):
                ahead.append((key, readers.submit(_read, source, key)))
            if not ahead:
                return
            key, reading = ahead.popleft()
            yield key, _now(source, key, reading.result())


def _now(source: Log, key: str, so_far: ReadSoFar) -> Read:
    if not isinstance(so_far, LargeObjectError):
        return so_far
    try:
        return source.read(key)
    except UnreadableError as error:
        return error


def _read(source: Log, key: str) -> ReadSoFar:
    try:
        return source.read(key, SMALL)
    except (UnreadableError, LargeObjectError) as error:
        return error
