"""When to list an hour of the log again, to find late objects.

The pass over the end of the log finds what appears up to a window (two minutes) after its event's time. For
later objects, each hour of the log is listed again 10, 20, 40, ... minutes after its end, up to two weeks,
and then every two weeks for more than a year. Such a listing forwards only objects that S3 stored long after
their event's time, and between the times when the previous listing and this one were due. So each object
belongs to one listing, and is found before its delay has doubled (but not earlier than 10 minutes after its
hour), and after two weeks at the latest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

HOUR = timedelta(hours=1)
FIRST = timedelta(minutes=10)
DOUBLED = 12  # times: up to 14 days
AGES = tuple(FIRST * 2**number for number in range(DOUBLED))  # time from the end of an hour to its listing
AGES += tuple(AGES[-1] * number for number in range(2, 33))  # more than a year
SLACK = timedelta(minutes=15)  # for the beginning: what arrived before it was forwarded by the first pass
VISIBLE = timedelta(minutes=1)  # after a listing is due: by then, what S3 has stored can be seen
SKEW = timedelta(seconds=15)


class Listing(NamedTuple):
    """The listing of the hour that begins at `hour`: what arrived after `since` and until `due`."""

    due: datetime
    hour: datetime
    since: datetime


def listings(after: datetime, until: datetime, started_at: datetime) -> Iterator[Listing]:
    """All listings due in (after, until], ordered by time.

    Forwarding began at `started_at`; its first pass found everything that had arrived before.
    """
    pairs = zip((-HOUR, *AGES), AGES, strict=False)  # each age with the previous one
    return heapq.merge(*(_listings(before, age, after, until, started_at) for before, age in pairs))


def _listings(
    before: timedelta, age: timedelta, after: datetime, until: datetime, started_at: datetime
) -> Iterator[Listing]:
    end = _whole_hour(after - age) + HOUR
    while end + age <= until:
        yield Listing(end + age, end - HOUR, max(started_at - SLACK, end + before))
        end += HOUR


def is_late(instant: datetime, modified: datetime, window: timedelta) -> bool:
    """Whether the pass over the log's end may have missed the object."""
    return modified - instant > max(window / 2, window - SKEW)


def hour_of(instant: datetime | None) -> datetime | None:
    return instant and _whole_hour(instant)


def _whole_hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)
