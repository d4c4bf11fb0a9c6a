"""When to list an hour of the log again, for objects that came late.

The pass over the end of the log finds what appears up to a window (two minutes) after its event's time. For
later ones each hour of the log is listed again 10, 20, 40, ... minutes after its end, up to two weeks, and
then every two weeks for more than a year. Such a listing forwards only objects that S3 stored long after
their event's time, and since the listing before. So a late object is found when it is at most twice as late
(but not before 10 minutes after its hour), and after two weeks at the latest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

HOUR = timedelta(hours=1)
FIRST = timedelta(minutes=10)
DOUBLED = 12  # times: up to 14 days
AGES = tuple(FIRST * 2**number for number in range(DOUBLED))  # of an hour when it is listed, from its end
AGES += tuple(AGES[-1] * number for number in range(2, 33))  # more than a year
SLACK = timedelta(minutes=15)  # how long a write may take to become visible, clocks that differ


class Listing(NamedTuple):
    """The listing, due at `due`, of the hour that begins at `hour`: for objects that came after `since`."""

    due: datetime
    hour: datetime
    since: datetime


def listings(after: datetime, until: datetime, started_at: datetime) -> Iterator[Listing]:
    """All that are due in (after, until], by time.

    Forwarding began at `started_at`: its first pass found everything that had come before.
    """
    pairs = zip((-HOUR, *AGES), AGES, strict=False)  # each age with the one before it
    return heapq.merge(*(_listings(before, age, after, until, started_at) for before, age in pairs))


def _listings(
    before: timedelta, age: timedelta, after: datetime, until: datetime, started_at: datetime
) -> Iterator[Listing]:
    end = _whole_hour(after - age) + HOUR
    while end + age <= until:
        yield Listing(end + age, end - HOUR, max(started_at, end + before) - SLACK)
        end += HOUR


def is_late(instant: datetime, modified: datetime, window: timedelta) -> bool:
    """Whether the pass over the log's end may have missed the object; half the window is for clocks."""
    return modified - instant > window / 2


def _whole_hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)
