"""A round does not wait for the events of the one before it: nothing is idle, nothing loses its order."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lineage_log.log import key_at
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import Clock, at
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez

LONGEST = 5.0  # seconds


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forwarder.rounds.NEW", 0.1)


def wait_for_others(marquez: FakeMarquez, count: int) -> float:
    """What a post does that takes until so many others are through, which it must not stop."""
    deadline = time.monotonic() + LONGEST
    while len(marquez.posted) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return 0


def runs(marquez: FakeMarquez) -> list[str]:
    return [event["run"]["runId"] for event in marquez.posted]


def test_what_arrives_while_one_event_is_slow_is_forwarded_beside_it(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    clock = Clock(60)

    def be_slow(event: dict[str, Any]) -> float:
        if event["run"]["runId"] != "slow":
            return 0
        for number in range(20):
            log_event(s3, 20 + number, "RUNNING", run=str(number), job=str(number))
        return wait_for_others(marquez, 21)

    marquez.more_seconds = be_slow
    log_event(s3, 10, "START", run="slow", job="slow")
    log_event(s3, 11, "START", run="other", job="other")
    assert forwarder(s3, marquez, clock=clock).once(1) == 22
    assert sorted(runs(marquez)) == sorted({"slow", "other", *map(str, range(20))})
    assert runs(marquez)[-1] == "slow"


def test_one_slow_event_does_not_stop_a_backlog(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage_log.ordered_pool.MOST_ITEMS", 16)
    for number in range(300):
        log_event(s3, number / 1000, "RUNNING", run=str(number), job=str(number))
    marquez.seconds = 0.002
    marquez.more_seconds = lambda event: wait_for_others(marquez, 299) if event["run"]["runId"] == "0" else 0
    assert forwarder(s3, marquez, posters=2).once(1) == 300
    assert runs(marquez)[-1] == "0"


def test_an_event_that_appears_before_one_in_progress_is_a_late_one(s3: FakeS3, marquez: FakeMarquez) -> None:
    """Though nothing newer is done yet: it will be when the late one is posted."""
    begun: list[str] = []

    def be_slow(event: dict[str, Any]) -> float:
        if begun:
            return 0
        begun.append("COMPLETE")
        log_event(s3, 10, "START", run="one")
        return 0.5

    marquez.more_seconds = be_slow
    log_event(s3, 20, "COMPLETE", run="one")
    worker = forwarder(s3, marquez, clock=Clock(60))
    worker.once(1)
    assert marquez.of_run("one") == ["COMPLETE", "START", "COMPLETE"]
    assert marquez.state("one") == "COMPLETED"
    assert worker._delivery.counts.late == 1


def test_the_floor_waits_for_what_an_earlier_round_has_begun(s3: FakeS3, marquez: FakeMarquez) -> None:
    """Or its event would be lost if the forwarder were killed now."""
    clock, floors, lags = Clock(3600), [], []
    worker = forwarder(s3, marquez, clock=clock)

    def watch(event: dict[str, Any]) -> None:
        if (number := int(event["run"]["runId"])) > 1:
            floors.append(worker._progress.checkpoint().floor if worker._progress else "")
            lags.append(worker.seconds_behind())
        elif number == 1:
            for later in range(2, 6):
                log_event(s3, 10 + later, "RUNNING", run=str(later), job=str(later))

    marquez.poison = watch
    marquez.more_seconds = lambda event: wait_for_others(marquez, 5) if event["run"]["runId"] == "0" else 0
    log_event(s3, 10, "RUNNING", run="0", job="0")
    log_event(s3, 11, "RUNNING", run="1", job="1")
    worker.once(1)
    assert runs(marquez)[-1] == "0"
    assert len(floors) == 4
    assert max(floors) < key_at(at(10))
    assert lags == [3590.0] * 4


def test_late_events_in_progress_do_not_stop_new_ones(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwarder.rounds.LATE", 2)
    hour, clock = 3600.0, Clock()
    worker = forwarder(s3, marquez, clock=clock)
    log_event(s3, 0, "START", run="first")
    for clock.seconds in (100, hour):
        worker.once(1)
    for number in range(5):
        log_event(s3, 10 + number, "RUNNING", run=f"late{number}", job=f"late{number}", late=hour)
    clock.seconds = hour + 11 * 60

    def be_slow(event: dict[str, Any]) -> float:
        if event["run"]["runId"] != "late0":
            return 0
        for number in range(20):
            log_event(s3, clock.seconds - 30 + number, "RUNNING", run=str(number), job=str(number))
        return wait_for_others(marquez, 22)

    marquez.more_seconds = be_slow
    worker.once(1)
    order = runs(marquez)
    assert sorted(order) == sorted(["first", *(f"late{n}" for n in range(5)), *map(str, range(20))])
    assert order.index("late0") > order.index("19")
    assert order.index("late2") > order.index("late0"), "a slice is noted before the next one begins"
