"""An event that is posted again, since no answer came, is in the log once and is delivered once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from bluegreen import transport
from hypothesis import given
from hypothesis import strategies as st

from lineage_log.log import NEWEST, OLDEST, Log, instant_of
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START, at
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.intake import EVENT, ask
from tests.fakes.lineage.marquez import FakeMarquez

DAY = 86400


def post(s3: FakeS3, seconds: float, event_time: datetime = START) -> int:
    """Post an event at that time, as S3's clock shows it, too; the status."""
    before = len(s3.written)
    status = ask(s3, {**EVENT, "eventTime": event_time.isoformat()}, now=at(seconds)).status
    for _, key in s3.written[before:]:
        s3.lineage.modified[key] = at(seconds)
    return status


def events(s3: FakeS3) -> list[str]:
    """The keys of the events in the log, as all its readers see them."""
    return [entry.key for page in Log(cast(Any, s3), LINEAGE_LOG).pages("") for entry in page]


# Of the event, seen from its first post: in time, late, and with a clock that is far behind or ahead.
TIMES = [-1, -3600, 240, -OLDEST.total_seconds() - 5, NEWEST.total_seconds() + 2, 1800, 90 * DAY]


@pytest.mark.parametrize("off", TIMES)
@pytest.mark.parametrize("again", [3, 300])
def test_it_is_delivered_once(s3: FakeS3, marquez: FakeMarquez, off: float, again: float) -> None:
    forwarder(s3, marquez, seconds=-2 * DAY).once(1)  # one that has worked for long
    assert post(s3, 0, at(off)) == 201
    (key,) = events(s3)
    forwarder(s3, marquez, seconds=min(again, 180)).once(1)
    assert post(s3, again, at(off)) == 201
    assert events(s3) == [key]
    for seconds in (again + 180, 2 * 3600, 4 * 3600, DAY, 2 * DAY):
        forwarder(s3, marquez, seconds=seconds).once(1)
    assert len(marquez.posted) == 1


@pytest.mark.parametrize("off", TIMES)
def test_one_of_which_nothing_but_its_place_was_written_is_written_there(s3: FakeS3, off: float) -> None:
    put, calls = s3.put_object, 0

    def dies_at(call: int) -> Callable[..., Any]:
        def dying(**given: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                raise client_error("SlowDown", 503)
            return put(**given)

        return dying

    for call in (1, 2):
        s3.lineage.objects.clear()
        calls = 0
        cast(Any, s3).put_object = dies_at(call)
        status = post(s3, 0, at(off))
        assert (status, len(events(s3))) in {(503, 0), (201, 1)}
        cast(Any, s3).put_object = put
        assert post(s3, 600, at(off)) == 201
        assert len(events(s3)) == 1


def test_two_that_meet_in_s3_are_one(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    put, conflicts = s3.put_object, [1, 1]

    def conflicting(**given: Any) -> Any:
        if conflicts:
            conflicts.pop()
            raise client_error("ConditionalRequestConflict", 409)
        return put(**given)

    monkeypatch.setattr(s3, "put_object", conflicting)
    assert post(s3, 0) == 201
    conflicts[:] = [1] * 100
    assert post(s3, 0) == 503


@given(
    off=st.integers(-500 * DAY, 500 * DAY) | st.integers(-400, 400),
    posts=st.lists(st.integers(0, 1000), min_size=1, max_size=5).map(sorted),
)
def test_whenever_it_is_posted_it_is_there_once_and_near_its_time_or_that_of_the_first_post(
    off: int, posts: list[int]
) -> None:
    s3 = FakeS3(page_size=3)
    for seconds in posts:
        assert post(s3, seconds, at(off)) == 201
    (key,) = events(s3)
    first = at(posts[0])
    bound = first - OLDEST <= at(off) <= first + NEWEST
    assert instant_of(key) == (at(off) if bound else first)


@pytest.mark.parametrize("off", [timedelta(0), NEWEST, NEWEST * 2, -OLDEST, -OLDEST * 2])
def test_keys_follow_the_same_rule_as_those_of_airflow(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    monkeypatch.setattr(transport, "_now", lambda: START)
    assert post(s3, 0, START + off) == 201
    (ours,), airflows = events(s3), f"events/{transport._key((START + off).isoformat())}"
    assert ours.rpartition("-")[0] == airflows.rpartition("-")[0]
    assert len(ours) == len(airflows)
