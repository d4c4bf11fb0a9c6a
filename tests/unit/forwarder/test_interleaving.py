"""Late objects are forwarded between live events, each once; the lag is that of the oldest one waiting."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from forwarder.forwarder import Forwarder
from forwarder.late_listing import listings
from lineage_log.checkpoint import Checkpoint
from lineage_log.log import key_at
from lineage_log.patient_client import Patience, UnreachableError
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import Clock, at
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import QUICK, forwarder
from tests.fakes.lineage.marquez import FakeMarquez

HOUR = 3600.0
LISTED = HOUR + 11 * 60.0  # when the first listing of the first hour is due, and what it finds can be seen


def posts(marquez: FakeMarquez) -> Counter[str]:
    return Counter(event["run"]["runId"] for event in marquez.posted)


def taken(worker: Forwarder, clock: Clock) -> Checkpoint:
    checkpoint = worker._keeper.try_take(clock.now)
    assert checkpoint is not None
    return checkpoint


def fall_behind(s3: FakeS3, marquez: FakeMarquez, clock: Clock, late: int) -> Any:
    """A forwarder before a listing that finds so many objects."""
    worker = forwarder(s3, marquez, clock=clock)
    log_event(s3, 0, "START", run="first")
    for clock.seconds in (100, HOUR):
        worker.once(1)
    for number in range(late):
        log_event(s3, 10 + number, "RUNNING", run=f"late{number}", job=str(number), late=HOUR)
    clock.seconds = LISTED
    return worker


def test_late_objects_do_not_hold_up_live_events(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwarder.rounds.LATE", 20)
    clock = Clock()
    worker = fall_behind(s3, marquez, clock, late=200)
    marquez.seconds = 0.01

    def arrive(event: dict[str, Any]) -> None:
        if event["run"]["runId"] == "late0":
            log_event(s3, clock.seconds - 1, "START", run="live")

    marquez.poison = arrive
    worker.once(1)
    order = [event["run"]["runId"] for event in marquez.posted]
    assert order.index("live") < 40
    assert set(posts(marquez).values()) == {1}
    assert len(order) == 202


def test_the_lag_is_the_age_of_the_oldest_event_that_waits(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwarder.rounds.LATE", 20)
    clock, lags = Clock(), []
    worker = fall_behind(s3, marquez, clock, late=100)
    marquez.seconds = 0.01
    marquez.poison = lambda event: lags.append(worker.seconds_behind())
    worker.once(1)
    assert max(lags) > HOUR, "a late object is as old as its event"
    assert worker.seconds_behind() is None
    with worker._hold(taken(worker, clock)) as rounds:
        rounds.next()
        assert worker.seconds_behind() == 0


def test_a_long_time_without_a_look_for_new_events_is_a_lag(s3: FakeS3, marquez: FakeMarquez) -> None:
    clock = Clock(100)
    worker = forwarder(s3, marquez, clock=clock)
    with worker._hold(taken(worker, clock)) as rounds:
        rounds.next()
        clock.forward(50)
        assert worker.seconds_behind() == 0
        clock.forward(50)
        assert worker.seconds_behind() == 100


@pytest.mark.parametrize("late", [70, 110, 119])
def test_what_a_clock_that_is_behind_makes_late_is_forwarded_once(
    s3: FakeS3, marquez: FakeMarquez, late: float
) -> None:
    """Also by a forwarder that knows only the checkpoint."""
    clock = Clock()
    forwarder(s3, marquez, clock=clock).once(1)
    for minute in range(1, 60, 3):
        log_event(s3, minute * 60, "RUNNING", run=str(minute), late=late)
        clock.seconds = minute * 60 + late + 1
        forwarder(s3, marquez, clock=clock).once(1)
    for clock.seconds in (LISTED, LISTED + 600, 3 * HOUR, 9 * HOUR, 48 * HOUR):
        forwarder(s3, marquez, clock=clock).once(1)
    assert set(posts(marquez).values()) == {1}


def test_an_interrupted_listing_is_continued_where_it_was(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwarder.rounds.LATE", 20)
    clock = Clock()
    fall_behind(s3, marquez, clock, late=100)
    marquez.seconds = 0.005

    def go_away(event: dict[str, Any]) -> int | None:
        return 503 if event["run"]["runId"] == "late80" else None

    marquez.poison, marquez.probes = go_away, 503
    impatient = replace(QUICK, patience=Patience(longest_pause=0.01, give_up=0.05))
    with pytest.raises(UnreachableError):
        forwarder(s3, marquez, clock=clock, timing=impatient).once(1)
    marquez.poison, marquez.probes = (lambda event: None), 201
    clock.seconds += 4 * HOUR
    forwarder(s3, marquez, clock=clock).once(1)
    times = posts(marquez)
    assert len(times) == 101
    assert sum(count > 1 for count in times.values()) <= 20, "the last slice only"


def test_a_late_event_that_is_refused_is_refused_once(s3: FakeS3, marquez: FakeMarquez) -> None:
    clock = Clock()
    fall_behind(s3, marquez, clock, late=1)
    marquez.poison = lambda event: 422 if event["run"]["runId"] == "late0" else None
    refused = 0
    for clock.seconds in (LISTED, LISTED + 600, 3 * HOUR, 9 * HOUR, 48 * HOUR):
        worker = forwarder(s3, marquez, clock=clock)
        worker.once(1)
        refused += worker._delivery.counts.set_aside
    assert refused == 1


def test_listings_due_at_one_instant_are_done_together(s3: FakeS3, marquez: FakeMarquez) -> None:
    """For only the instant is remembered: the floor must have passed all of their hours."""
    clock = Clock(13 * HOUR)
    worker = forwarder(s3, marquez, clock=clock)
    for floor in range(8):
        checkpoint = Checkpoint(
            floor=key_at(at(floor * HOUR)), started_at=at(-30 * HOUR), listed_until=at(-20 * HOUR)
        )
        with worker._hold(checkpoint) as rounds:
            due, _ = rounds._due_listings(checkpoint)
        last = due[-1].due
        same = [each for each in listings(at(-20 * HOUR), clock.now, at(-30 * HOUR)) if each.due == last]
        assert same == [each for each in due if each.due == last]
