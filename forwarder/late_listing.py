"""When to look again for objects that came late.

The pass over the log's end finds what appears up to a window (two minutes) after its event's time. For later
ones each hour of the log is listed again 10, 20, 40, ... minutes after its end, up to two weeks, and then
every two weeks for more than a year. Only objects that S3 took long after their event's time, and since the
listing before, are carried then. So a late object is found when it is at most twice as late (but not before
10 minutes after its hour), and after two weeks at the latest.
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


class Look(NamedTuple):
    """The listing due at `due` of the hour that begins at `hour`: for objects that came after `since`."""

    due: datetime
    hour: datetime
    since: datetime


def looks(after: datetime, until: datetime, begun: datetime) -> Iterator[Look]:
    """All that are due in (after, until], by time. Forwarding began at `begun`: the pass saw all before."""
    pairs = zip((-HOUR, *AGES), AGES, strict=False)  # each age with the one before it
    return heapq.merge(*(_looks(before, age, after, until, begun) for before, age in pairs))


def _looks(
    before: timedelta, age: timedelta, after: datetime, until: datetime, begun: datetime
) -> Iterator[Look]:
    end = _whole_hour(after - age) + HOUR
    while end + age <= until:
        yield Look(end + age, end - HOUR, max(begun, end + before) - SLACK)
        end += HOUR


def is_late(instant: datetime, modified: datetime, window: timedelta) -> bool:
    """Whether the pass at the log's end may have missed the object; half the window is kept for clocks."""
    return modified - instant > window / 2


def _whole_hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)
