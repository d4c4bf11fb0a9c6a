"""Trouble other than Marquez's: a backlog, the checkpoint, clocks, and events that nobody would write."""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from lineage_log.checkpoint import BadCheckpointError
from lineage_log.patient_client import Patience, UnreachableError
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START, Clock
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import CHECKPOINT_KEY, QUICK, forwarder, keeper_of, run_until, running
from tests.fakes.lineage.marquez import FakeMarquez

HOUR = 3600.0


# More than one pass takes


def test_more_events_in_the_window_than_one_pass_takes_are_all_forwarded(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwarder.rounds.NEW", 0.02)
    for second in range(100):
        log_event(s3, second, "RUNNING", name=str(second))
    run_until(lambda: len(marquez.posted) == 100, running(s3, marquez, "a", seconds=110))


# The checkpoint


@pytest.mark.parametrize("busy", [True, False])
def test_a_checkpoint_that_is_spoilt_while_it_is_held_ends_the_forwarder_with_the_repair(
    s3: FakeS3, marquez: FakeMarquez, busy: bool
) -> None:
    stop, ended = threading.Event(), []
    worker = forwarder(s3, marquez, keeper=keeper_of(s3, "a", lease=0.2), stop=stop)
    log_event(s3, 1, "START")

    def run() -> None:
        try:
            worker.run()
        except BadCheckpointError as error:
            ended.append(str(error))

    def spoil(_event: dict[str, Any]) -> int | None:
        s3.lineage.objects[CHECKPOINT_KEY] = b"spoilt"
        return 503 if busy else None

    marquez.poison = spoil
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    stop.set()
    thread.join(10)
    assert len(ended) == 1
    assert f"aws s3 rm s3://{LINEAGE_LOG}/forwarder/checkpoint.json" in ended[0]


# Clocks


@pytest.mark.parametrize("ahead", [-600, 90, 600])
def test_a_node_whose_clock_is_wrong_forwards_what_comes_in_time(marquez: FakeMarquez, ahead: float) -> None:
    class Dated(FakeS3):
        seconds = 0.0

        def put_object(self, **arguments: Any) -> dict[str, Any]:
            date = format_datetime(START + timedelta(seconds=self.seconds), usegmt=True)
            return {
                **super().put_object(**arguments),
                "ResponseMetadata": {"HTTPHeaders": {"date": date}},
            }

    bucket, clock = Dated(), Clock()
    worker = forwarder(bucket, marquez, clock=clock)
    log_event(bucket, 190, "START", run="before")
    for bucket.seconds in (200, 260):
        clock.seconds = bucket.seconds + ahead
        worker.once(1)
    log_event(bucket, 195, "START", run="after", late=58)
    worker.once(1)
    assert [event["run"]["runId"] for event in marquez.posted] == ["before", "after"]


# Marquez goes away at an unlucky moment


def test_what_came_late_is_not_forgotten_when_marquez_goes_away_meanwhile(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    clock = Clock()
    impatient = replace(QUICK, patience=Patience(longest_pause=0.01, give_up=0.1))
    worker = forwarder(s3, marquez, clock=clock, timing=impatient)
    clock.seconds = 0
    worker.once(1)
    clock.seconds = HOUR
    worker.once(1)
    log_event(s3, 60, "START", run="late", late=HOUR)
    marquez.answers, marquez.probes = [503] * 10_000, 503
    clock.seconds = 3 * HOUR
    with pytest.raises(UnreachableError):
        worker.once(1)
    marquez.answers, marquez.probes = [], 201
    worker.once(1)
    assert marquez.of_run("late") == ["START"]


# Events that nobody would write


def test_a_run_id_that_is_not_text_stops_nothing(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 20, "COMPLETE", run="one")
    forwarder(s3, marquez, seconds=40).once(1)
    late = log_event(s3, 10, "START", run="other", late=35)
    event = json.loads(gzip.decompress(s3.lineage.objects[late])) | {"run": {"runId": "\ud800"}}
    s3.lineage.objects[late] = gzip.compress(json.dumps(event).encode())
    forwarder(s3, marquez, seconds=46).once(1)
    assert [event["run"]["runId"] for event in marquez.posted] == ["one", "\ud800"]
