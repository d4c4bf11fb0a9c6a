"""Objects that come later than their events' times: none is lost, and no run keeps a wrong state."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forwarder import late_listing
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import START, Clock
from tests.fakes.lineage.events import log_event, set_aside_key
from tests.fakes.lineage.forwarders import QUICK, forwarder
from tests.fakes.lineage.marquez import FakeMarquez

HOUR, DAY = 3600.0, 86400.0
MOMENT = timedelta(microseconds=1)


def runs(marquez: FakeMarquez) -> list[str]:
    return [event["run"]["runId"] for event in marquez.posted]


# Within the window


def test_an_object_that_comes_late_within_the_window_is_delivered_at_once(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 100, "START", run="one")
    forwarder(s3, marquez, seconds=110).once(1)
    log_event(s3, 20, "START", run="late", late=95)
    assert forwarder(s3, marquez, seconds=115).once(1) == 1
    assert runs(marquez) == ["one", "late"]


def test_an_event_is_forwarded_only_when_its_time_has_settled(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 10, "START")
    settling = replace(QUICK, settle=2)
    assert forwarder(s3, marquez, timing=settling, seconds=11.9).once(1) == 0
    assert forwarder(s3, marquez, timing=settling, seconds=12.1).once(1) == 1


def test_an_event_from_the_future_does_not_hide_the_present(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 50_000, "START", run="future")
    assert forwarder(s3, marquez, seconds=100).once(1) == 0
    log_event(s3, 50, "START", run="present")
    assert forwarder(s3, marquez, seconds=100).once(1) == 1


def test_the_checkpoint_remembers_no_more_than_the_window(s3: FakeS3, marquez: FakeMarquez) -> None:
    for minute in range(120):
        log_event(s3, minute * 60, "RUNNING")
    worker = forwarder(s3, marquez, seconds=119 * 60 + 1)
    assert worker.once(1) == 120
    checkpoint = worker._keeper.try_take(START)
    assert checkpoint is not None
    assert len(checkpoint.done) == 2


@pytest.mark.parametrize(
    "stranger", ["events/2026/11/readme", "events/2026/11/23/10/20991123T100000.000000Z-x.json.gz"]
)
def test_a_stranger_in_the_log_neither_stops_nor_repeats_anything(
    s3: FakeS3, marquez: FakeMarquez, stranger: str
) -> None:
    log_event(s3, 0, "START", name="before")
    s3.lineage.objects[stranger], s3.lineage.modified[stranger] = b'{"name": "stranger"}', START
    for _ in range(3):
        forwarder(s3, marquez, seconds=30).once(1)
    log_event(s3, 20, "COMPLETE", name="after")
    forwarder(s3, marquez, seconds=30).once(1)
    assert marquez.accepted("name") == ["before", "after"]


# The late listings


@pytest.mark.parametrize("late", [125, 20 * 60, 2 * HOUR, 3 * DAY, 30 * DAY])
def test_an_object_is_found_however_late_it_comes(s3: FakeS3, marquez: FakeMarquez, late: float) -> None:
    clock = Clock()
    worker = forwarder(s3, marquez, clock=clock)
    log_event(s3, 0, "START", run="first")
    for clock.seconds in (100, late / 3, late / 2, late + 60):
        worker.once(1)
    log_event(s3, 60, "START", run="late", late=late)
    for clock.seconds in (late + 65, max(HOUR + 661, 2 * late + HOUR + 60), 3 * late + HOUR):
        worker.once(1)
    assert runs(marquez) == ["first", "late"]


def test_what_came_in_time_is_not_forwarded_again_by_a_late_listing(s3: FakeS3, marquez: FakeMarquez) -> None:
    for minute in range(60):
        log_event(s3, minute * 60, "RUNNING", late=3)
    forwarded = sum(forwarder(s3, marquez, seconds=hour * HOUR).once(1) for hour in range(1, 40))
    assert forwarded == len(marquez.posted) == 60


def test_what_came_late_is_forwarded_once(s3: FakeS3, marquez: FakeMarquez) -> None:
    clock = Clock()
    worker = forwarder(s3, marquez, clock=clock)
    log_event(s3, 0, "START", run="first")
    clock.seconds = 100
    worker.once(1)
    log_event(s3, 60, "START", run="late", late=5 * HOUR)
    for hour in range(2, 200):
        clock.seconds = hour * HOUR
        worker.once(1)
    assert runs(marquez) == ["first", "late"]


def test_a_new_forwarder_does_not_list_again_what_was_there_before(s3: FakeS3, marquez: FakeMarquez) -> None:
    """A log that was copied here as a whole: every object is late, and none is forwarded twice."""
    for minute in range(0, 600, 10):
        log_event(s3, minute * 60, "RUNNING", late=5 * DAY)
    for day in (6, 7, 14, 40):
        forwarder(s3, marquez, seconds=day * DAY).once(1)
    assert len(marquez.posted) == 60


def test_the_late_listings_stay_behind_a_backlog_that_is_being_forwarded(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwarder.rounds.NEW", 0.001)
    forwarder(s3, marquez, seconds=0).once(1)
    for minute in range(0, 300, 10):
        log_event(s3, minute * 60, "RUNNING", name=f"{minute:03}", late=300)
    assert forwarder(s3, marquez, seconds=10 * HOUR).once(1) == 30
    assert marquez.accepted("name") == [f"{minute:03}" for minute in range(0, 300, 10)]


def test_what_comes_late_while_a_backlog_is_forwarded_is_found(s3: FakeS3, marquez: FakeMarquez) -> None:
    for minute in range(60):
        log_event(s3, minute * 60, "RUNNING", run="backlog")
    begins = 30 * HOUR

    def arrive(_event: dict[str, Any]) -> None:
        if len(marquez.posted) == 40:
            log_event(s3, 61, "START", run="late", late=begins)

    marquez.poison = arrive
    forwarder(s3, marquez, seconds=begins).once(1)
    assert "late" not in runs(marquez)
    marquez.poison = lambda event: None
    forwarder(s3, marquez, seconds=2 * begins + HOUR).once(1)
    assert runs(marquez).count("late") == 1


def test_the_late_listings_continue_where_a_dead_forwarder_stopped(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 0, "START", run="first")
    forwarder(s3, marquez, seconds=1000).once(1)
    log_event(s3, 60, "START", run="late", late=20 * 60)
    log_event(s3, 2 * DAY, "START", run="last")
    # nobody forwards for ten days
    forwarder(s3, marquez, seconds=10 * DAY).once(1)
    assert runs(marquez) == ["first", "last", "late"]


@settings(deadline=None)
@given(late=st.floats(60, 400 * DAY), minute=st.integers(0, 59))
@example(late=3600.0, minute=10)
def test_a_listing_is_due_after_every_late_arrival_within_its_bound(late: float, minute: int) -> None:
    event = START + timedelta(minutes=minute)
    arrival = event + timedelta(seconds=late)
    soon = max(timedelta(minutes=70), timedelta(seconds=late) + late_listing.HOUR)
    bound = arrival + min(soon, timedelta(days=15))
    due = [  # also at the moment of the arrival
        listing
        for listing in late_listing.listings(arrival - MOMENT, bound, started_at=START - timedelta(days=900))
        if listing.hour <= event < listing.hour + late_listing.HOUR and listing.since < arrival <= listing.due
    ]
    assert len(due) == 1


def test_the_number_of_late_listings_a_day_is_fixed() -> None:
    noon = START.replace(hour=12)
    listings = list(late_listing.listings(noon, noon + timedelta(days=1), started_at=noon))
    assert len(listings) == 24 * len(late_listing.AGES) == 1032
    assert max(Counter(listing.hour for listing in listings).values()) <= 8  # the newest hours
    assert listings == sorted(listings)


def test_consecutive_rounds_list_as_often_as_a_single_one(s3: FakeS3) -> None:
    end = START + timedelta(days=3)
    at_once = list(late_listing.listings(START, end, START))
    by_parts = [
        listing
        for part in range(36)
        for listing in late_listing.listings(
            START + timedelta(hours=2 * part), START + timedelta(hours=2 * part + 2), START
        )
    ]
    assert by_parts == at_once


def test_a_quiet_poll_lists_the_end_of_the_log_once(s3: FakeS3, marquez: FakeMarquez) -> None:
    forwarder(s3, marquez, seconds=100).once(1)
    s3.listed.clear()
    forwarder(s3, marquez, seconds=101).once(1)
    assert s3.listed == ["events/"]


# Late events of runs that have gone on. In Marquez the last write wins.


def test_a_late_start_does_not_leave_its_run_running(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 20, "COMPLETE", run="one")
    log_event(s3, 30, "COMPLETE", run="other")
    forwarder(s3, marquez, seconds=40).once(1)
    log_event(s3, 10, "START", run="one", late=35)
    forwarder(s3, marquez, seconds=46).once(1)
    assert marquez.of_run("one") == ["COMPLETE", "START", "COMPLETE"]
    assert len(marquez.posted) == 4
    assert marquez.state("one") == "COMPLETED"


def test_a_start_that_is_days_late_does_not_leave_its_run_running(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 0, "START", run="one")
    log_event(s3, 2000, "FAIL", run="one")
    forwarder(s3, marquez, seconds=HOUR).once(1)
    log_event(s3, 10, "RUNNING", run="one", late=3 * DAY)
    forwarder(s3, marquez, seconds=8 * DAY).once(1)
    assert marquez.of_run("one") == ["START", "FAIL", "RUNNING", "FAIL"]
    assert marquez.state("one") == "FAILED"


def test_a_late_end_of_a_run_that_was_started_again_does_not_end_it(s3: FakeS3, marquez: FakeMarquez) -> None:
    """A cleared DAG run keeps its run id."""
    log_event(s3, 10, "START", run="one")
    log_event(s3, 30, "START", run="one", name="again")
    forwarder(s3, marquez, seconds=40).once(1)
    log_event(s3, 20, "FAIL", run="one", late=25)
    forwarder(s3, marquez, seconds=46).once(1)
    assert marquez.of_run("one") == ["START", "START", "FAIL", "START"]
    assert marquez.state("one") == "RUNNING"


def test_a_late_event_of_an_unknown_run_is_simply_posted(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 30, "START", run="other")
    forwarder(s3, marquez, seconds=40).once(1)
    log_event(s3, 10, "START", run="new", late=35)
    log_event(s3, 20, "COMPLETE", run="new", late=25)
    forwarder(s3, marquez, seconds=46).once(1)
    assert marquez.of_run("new") == ["START", "COMPLETE"]


def test_a_late_event_whose_runs_end_is_no_longer_in_the_log_is_set_aside(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    end = log_event(s3, 20, "COMPLETE", run="one")
    forwarder(s3, marquez, seconds=40).once(1)
    del s3.lineage.objects[end]
    late = log_event(s3, 10, "START", run="one", late=35)
    forwarder(s3, marquez, seconds=46).once(1)
    assert marquez.of_run("one") == ["COMPLETE"]
    reason = s3.lineage.metadata[set_aside_key(late)]["reason"]
    assert reason.startswith("late: its run is COMPLETED since 2026-11-23T10:00:20+00:00")


@pytest.mark.parametrize("status", [500, 429, 403])
def test_a_late_event_of_a_run_whose_state_is_unknown_waits_alone(
    s3: FakeS3, marquez: FakeMarquez, status: int
) -> None:
    log_event(s3, 20, "COMPLETE", run="one")
    forwarder(s3, marquez, seconds=40).once(1)
    marquez.run_status = status
    log_event(s3, 10, "START", run="one", late=35)
    log_event(s3, 42, "START", run="two")
    forwarder(s3, marquez, seconds=46).once(1)
    assert runs(marquez) == ["one", "two"]
    marquez.run_status = 0
    forwarder(s3, marquez, seconds=46 + 61).once(1)
    assert marquez.of_run("one") == ["COMPLETE", "START", "COMPLETE"]


def test_a_late_event_of_a_job_comes_before_what_the_same_pass_found(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 10, "START", run="one")
    forwarder(s3, marquez, seconds=40).once(1)
    log_event(s3, 5, "START", run="zero", late=40)
    log_event(s3, 41, "COMPLETE", run="one")
    forwarder(s3, marquez, seconds=46).once(1)
    assert [(e["run"]["runId"], e["eventType"]) for e in marquez.posted] == [
        ("one", "START"),
        ("zero", "START"),
        ("one", "COMPLETE"),
    ]
