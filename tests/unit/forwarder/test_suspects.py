"""Events at which Marquez fails while it takes others: given up late, and without delaying others."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import pytest

from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import Clock
from tests.fakes.lineage.events import log_event, set_aside_key
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez

HOUR = 3600.0


def fails_at(run: str, status: int = 500) -> Any:
    return lambda event: status if event["run"]["runId"] == run else None


def set_aside(s3: FakeS3) -> list[str]:
    return [key for key in s3.lineage.objects if key.startswith("set-aside/")]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_suspect_is_retried_for_an_hour_and_then_set_aside(
    s3: FakeS3, marquez: FakeMarquez, status: int
) -> None:
    clock = Clock()
    bad = log_event(s3, 1, "START", run="bad")
    log_event(s3, 2, "START", run="good")
    marquez.poison = fails_at("bad", status)
    worker, tried = forwarder(s3, marquez, clock=clock), []
    for minute in range(70):
        clock.seconds, before = 100 + 60 * minute, marquez.tried
        worker.once(1)
        if marquez.tried > before:
            tried.append(minute)
            assert set_aside(s3) == [] or minute == 63
    assert marquez.accepted("run") == [{"runId": "good"}]
    assert tried == [0, 1, 3, 7, 15, 31, 63]
    assert s3.lineage.metadata[set_aside_key(bad)]["reason"] == (
        f"HTTP {status}: answer, while the server accepted another event, as in the hour before"
    )


def test_failures_at_random_set_nothing_aside_and_leave_each_run_as_it_ended(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    """Half of all posts for three minutes, while Marquez takes each probe: the worst case."""
    chance, clock = random.Random(1), Clock()
    worker = forwarder(s3, marquez, clock=clock)
    runs = [str(number) for number in range(150)]
    for number, run in enumerate(runs):
        for kind, second in (("START", 0), ("RUNNING", 0.3), ("COMPLETE", 0.6)):
            log_event(s3, number + second, kind, run=run, job=f"job-{number % 9}")
    marquez.poison = lambda _: 500 if chance.random() < 0.5 else None
    for clock.seconds in (40, 100, 160, 220):
        worker.once(1)
    checkpoint = worker._keeper.try_take(worker._now())
    assert checkpoint is not None
    assert checkpoint.suspects, "else this shows nothing"
    marquez.poison = lambda _: None
    for clock.seconds in range(280, 280 + 3600, 60):
        worker.once(1)
    assert set_aside(s3) == []
    for run in runs:
        assert set(marquez.of_run(run)) == {"START", "RUNNING", "COMPLETE"}
        assert marquez.state(run) == "COMPLETED"


def test_a_suspect_is_not_forgotten_when_another_forwarder_takes_over(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 1, "START", run="bad")
    log_event(s3, 500, "START", run="good")
    marquez.poison = fails_at("bad")
    forwarder(s3, marquez, seconds=1000).once(1)
    marquez.poison = lambda _: None
    forwarder(s3, marquez, seconds=1059).once(1)
    assert marquez.of_run("bad") == []
    forwarder(s3, marquez, seconds=1061).once(1)
    assert marquez.of_run("bad") == ["START"]
    forwarder(s3, marquez, seconds=9000).once(1)
    assert marquez.of_run("bad") == ["START"]


def test_a_suspect_that_expired_is_forgotten(s3: FakeS3, marquez: FakeMarquez) -> None:
    bad = log_event(s3, 1, "START", run="bad")
    marquez.poison = fails_at("bad")
    worker = forwarder(s3, marquez, seconds=100)
    worker.once(1)
    del s3.lineage.objects[bad]
    forwarder(s3, marquez, seconds=200).once(1)
    checkpoint = worker._keeper.try_take(worker._now())
    assert checkpoint is not None
    assert not checkpoint.suspects


def test_a_job_of_which_marquez_takes_nothing_costs_the_others_little(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    for number in range(20):
        log_event(s3, number, "START", run="bad", name=str(number))
    log_event(s3, 20, "START", run="good", job="other")
    marquez.poison = fails_at("bad")
    forwarder(s3, marquez, seconds=50).once(1)
    assert marquez.of_run("good") == ["START"]
    assert marquez.tried == 5 + 19 + 1


def test_events_for_which_there_is_no_room_as_suspects_are_set_aside(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage_log.checkpoint.MOST_SUSPECTS", 2)
    keys = [log_event(s3, number, "START", run="bad", name=str(number)) for number in range(3)]
    marquez.poison = fails_at("bad")
    forwarder(s3, marquez, seconds=50).once(1)
    assert set_aside(s3) == [set_aside_key(keys[2])]


@pytest.mark.parametrize("time", ["yesterday", "2026-11-23T10:00:00", None, 7])
def test_an_event_whose_time_is_wrong_is_set_aside_at_once(
    s3: FakeS3, marquez: FakeMarquez, time: Any
) -> None:
    bad = log_event(s3, 1, "START")
    event = json.loads(gzip.decompress(s3.lineage.objects[bad])) | {"eventTime": time}
    s3.lineage.objects[bad] = gzip.compress(json.dumps(event).encode())
    forwarder(s3, marquez, seconds=50).once(1)
    assert marquez.tried == 5
    reason = s3.lineage.metadata[set_aside_key(bad)]["reason"]
    assert reason.startswith("5 times HTTP 500")
    assert reason.endswith("its eventTime is not a time with a zone")


def test_a_late_event_that_is_half_written_does_not_reopen_its_run(s3: FakeS3, marquez: FakeMarquez) -> None:
    def half(event: dict[str, Any]) -> int | None:
        return marquez.knowledge.take(event, "") and 500 if event["eventType"] == "START" else None

    log_event(s3, 20, "COMPLETE", run="one")
    forwarder(s3, marquez, seconds=40).once(1)
    log_event(s3, 10, "START", run="one", late=35)
    marquez.poison = half
    forwarder(s3, marquez, seconds=46).once(1)
    assert marquez.state("one") == "COMPLETED"


def test_a_late_event_stays_a_suspect_until_its_runs_end_is_posted_again(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 20, "COMPLETE", run="one")
    forwarder(s3, marquez, seconds=40).once(1)
    log_event(s3, 10, "START", run="one", late=35)
    marquez.poison = lambda event: 500 if event["eventType"] == "COMPLETE" else None
    forwarder(s3, marquez, seconds=46).once(1)
    assert marquez.state("one") == "RUNNING"
    marquez.poison = lambda _: None
    forwarder(s3, marquez, seconds=46 + 61).once(1)
    assert marquez.state("one") == "COMPLETED"
