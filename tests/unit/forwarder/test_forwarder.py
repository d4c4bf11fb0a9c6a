"""The forwarder, on an S3 in memory and against a real HTTP server."""

from __future__ import annotations

import gzip
import json
import random
import re
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from lineage_log.checkpoint import BadCheckpointError
from lineage_log.ordered_pool import MOST_ITEMS
from lineage_log.patient_client import Patience, UnreachableError
from lineage_log.read_ahead import READ_AHEAD
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START
from tests.fakes.lineage.events import log_event, set_aside_key
from tests.fakes.lineage.forwarders import CHECKPOINT_KEY, QUICK, forwarder, run_until, running
from tests.fakes.lineage.marquez import FakeMarquez

# Delivery


def test_events_of_one_job_are_delivered_in_the_order_of_their_times(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    seconds = list(range(100))
    random.Random(1).shuffle(seconds)
    for second in seconds:
        log_event(s3, second * 60, "RUNNING", name=f"{second:03}")
    assert forwarder(s3, marquez).once(1) == 100
    assert marquez.accepted("name") == [f"{second:03}" for second in range(100)]


def test_jobs_are_delivered_at_the_same_time_and_each_in_order(s3: FakeS3, marquez: FakeMarquez) -> None:
    marquez.seconds = 0.02
    for second in range(20):
        for job in "abcd":
            log_event(s3, second / 50, "RUNNING", run=job, name=str(second), job=job)
    assert forwarder(s3, marquez, posters=4).once(1) == 80
    assert marquez.concurrency == 4
    for job in "abcd":
        names = [int(event["name"]) for event in marquez.posted if event["run"]["runId"] == job]
        assert names == list(range(20))


def test_what_was_delivered_is_not_delivered_again(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 1, "START")
    forwarder(s3, marquez, seconds=60).once(1)
    log_event(s3, 2, "COMPLETE")
    assert forwarder(s3, marquez, seconds=60).once(1) == 1
    assert marquez.accepted("eventType") == ["START", "COMPLETE"]


@pytest.mark.parametrize("status", [500, 502, 503, 404, 401, 429])
def test_a_failing_server_is_tried_again_and_the_order_kept(
    s3: FakeS3, marquez: FakeMarquez, status: int
) -> None:
    log_event(s3, 1, "START")
    log_event(s3, 2, "COMPLETE")
    marquez.answers = [status, status, 201, status]
    forwarder(s3, marquez).once(1)
    assert marquez.accepted("eventType") == ["START", "COMPLETE"]
    assert marquez.tried == 5


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_event_is_set_aside_and_the_next_one_delivered(
    s3: FakeS3, marquez: FakeMarquez, status: int
) -> None:
    refused = log_event(s3, 1, "START", run="bad")
    log_event(s3, 2, "START", run="good")
    marquez.answers = [status]
    forwarder(s3, marquez).once(1)
    assert [event["run"]["runId"] for event in marquez.posted] == ["good"]
    assert s3.lineage.objects[set_aside_key(refused)] == s3.lineage.objects[refused]
    assert s3.lineage.metadata[set_aside_key(refused)]["reason"] == f"HTTP {status}: answer"


def test_nothing_is_set_aside_when_the_server_refuses_everything(s3: FakeS3, marquez: FakeMarquez) -> None:
    """A proxy that is wrong, or a version that does not fit: not the event's fault."""
    log_event(s3, 1, "START")
    marquez.answers, marquez.probes = [400] * 1000, 400
    impatient = replace(QUICK, patience=Patience(longest_pause=0.01, give_up=0.1))
    with pytest.raises(UnreachableError, match="400"):
        forwarder(s3, marquez, timing=impatient).once(1)
    assert not any(key.startswith("set-aside/") for key in s3.lineage.objects)


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08 not gzip", b"\x1f\x8b", b"not JSON", b"[" * 200_000])
def test_an_unreadable_object_is_set_aside_unposted(s3: FakeS3, marquez: FakeMarquez, content: bytes) -> None:
    key = log_event(s3, 1, "START")
    s3.lineage.objects[key] = content
    forwarder(s3, marquez).once(1)
    assert marquez.tried == 0
    assert s3.lineage.objects[set_aside_key(key)] == content


def test_nothing_is_set_aside_while_the_database_takes_nothing(s3: FakeS3, marquez: FakeMarquez) -> None:
    """Read-only, for example: every query is answered and every post fails."""
    log_event(s3, 1, "START")
    marquez.answers, marquez.probes = [500] * 20, 500
    forwarder(s3, marquez).once(1)
    assert marquez.accepted("eventType") == ["START"]
    assert not any(key.startswith("set-aside/") for key in s3.lineage.objects)


def test_an_event_of_an_outage_that_ends_between_the_proofs_is_delivered(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 1, "START")
    marquez.answers = [500] * 4  # one less than it takes to suspect the event
    forwarder(s3, marquez).once(1)
    assert marquez.accepted("eventType") == ["START"]


def test_a_server_that_stays_away_ends_the_attempt_without_moving_the_checkpoint(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 1, "START")
    marquez.answers, marquez.probes = [503] * 1000, 503
    impatient = replace(QUICK, patience=Patience(longest_pause=0.01, give_up=0.1))
    with pytest.raises(UnreachableError, match="503"):
        forwarder(s3, marquez, timing=impatient).once(1)
    marquez.answers = []
    assert forwarder(s3, marquez).once(1) == 1


def test_an_event_that_expired_meanwhile_is_passed_over(marquez: FakeMarquez) -> None:
    class Expiring(FakeS3):
        def get_object(self, **request: Any) -> dict[str, Any]:
            return super().get_object(**request | ({"Key": "gone"} if request["Key"] == expired else {}))

    bucket = Expiring()
    expired = log_event(bucket, 1, "START")
    log_event(bucket, 2, "COMPLETE")
    forwarder(bucket, marquez).once(1)
    assert marquez.accepted("eventType") == ["COMPLETE"]


def test_a_backlog_is_not_read_into_memory_while_marquez_hangs(marquez: FakeMarquez) -> None:
    class Counting(FakeS3):
        reads = 0

        def get_object(self, **request: Any) -> dict[str, Any]:
            self.reads += 1
            return super().get_object(**request)

    def hang(_event: dict[str, Any]) -> None:
        go.wait(20)

    go = threading.Event()
    marquez.poison = hang
    bucket = Counting(page_size=100)
    for second in range(3000):
        log_event(bucket, second / 4000, "RUNNING", run=str(second), job=str(second))
    stop = threading.Event()
    thread = threading.Thread(target=forwarder(bucket, marquez, stop=stop).run)
    thread.start()
    deadline, reads = time.monotonic() + 20, -1
    while reads != bucket.reads and time.monotonic() < deadline:
        reads = bucket.reads
        time.sleep(0.3)
    stop.set()
    go.set()
    thread.join(20)
    assert MOST_ITEMS <= reads <= MOST_ITEMS + READ_AHEAD + 2  # and the checkpoint
    assert len(bucket.listed) <= reads / 100 + 2


# Order between jobs


def test_what_follows_from_a_dataset_waits_for_its_writer(s3: FakeS3, marquez: FakeMarquez) -> None:
    """And the next writer waits for the readers, who were there before it."""
    shared = {"namespace": "n", "name": "table"}
    marquez.more_seconds = lambda event: random.uniform(0, 0.02)
    for second in range(60):
        key = log_event(s3, second, "RUNNING", run=str(second), job=str(second))
        event = json.loads(gzip.decompress(s3.lineage.objects[key]))
        event["outputs" if second % 10 == 0 else "inputs"] = [shared]
        s3.lineage.objects[key] = gzip.compress(json.dumps(event).encode())
    forwarder(s3, marquez).once(1)
    order = [int(event["run"]["runId"]) for event in marquez.posted]
    assert [sorted(order[start : start + 10]) for start in range(0, 60, 10)] == [
        list(range(start, start + 10)) for start in range(0, 60, 10)
    ]
    assert order[::10] == list(range(0, 60, 10)), "each writer before its readers"
    assert order != sorted(order)


def test_jobs_with_nothing_in_common_do_not_wait_however_far_apart(s3: FakeS3, marquez: FakeMarquez) -> None:
    marquez.seconds = 0.2
    for minute in range(16):
        log_event(s3, 60 * minute, "RUNNING", run=str(minute), job=str(minute))
    forwarder(s3, marquez).once(1)
    assert marquez.concurrency >= 6, "of eight; the double may be slow to accept the last"


# Running


def test_two_running_forwarders_deliver_each_event_once(s3: FakeS3, marquez: FakeMarquez) -> None:
    for second in range(60):
        log_event(s3, second, "RUNNING", name=f"{second:02}")
    run_until(lambda: len(marquez.posted) >= 60, running(s3, marquez, "a"), running(s3, marquez, "b"))
    assert marquez.accepted("name") == [f"{second:02}" for second in range(60)]


def test_a_stopped_forwarder_hands_over_to_the_next(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 1, "START")
    run_until(lambda: len(marquez.posted) == 1, running(s3, marquez, "a", seconds=60))
    log_event(s3, 2, "COMPLETE")
    run_until(lambda: len(marquez.posted) == 2, running(s3, marquez, "b", seconds=60))
    assert marquez.accepted("eventType") == ["START", "COMPLETE"]


def test_a_stopped_forwarder_forgets_nothing_that_it_delivered(s3: FakeS3, marquez: FakeMarquez) -> None:
    marquez.seconds = 0.01
    for second in range(200):
        log_event(s3, second, "RUNNING", run=str(second % 7), job=str(second % 7), name=f"{second:03}")
    run_until(lambda: len(marquez.posted) > 50, running(s3, marquez, "a"))
    assert len(marquez.posted) < 200
    forwarder(s3, marquez).once(1)
    assert sorted(marquez.accepted("name")) == [f"{second:03}" for second in range(200)]


def test_a_node_whose_marquez_is_away_leaves_the_work_to_the_other(s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 1, "START")
    away = FakeMarquez(url="http://127.0.0.1:9")  # nobody listens there
    impatient = replace(QUICK, rest=0.5, patience=Patience(longest_pause=0.01, give_up=0.05))
    alone = running(s3, away, "a", timing=impatient)
    helped = running(s3, marquez, "b")
    run_until(lambda: len(marquez.posted) == 1, alone, helped)


def test_trouble_with_s3_passes(marquez: FakeMarquez) -> None:
    class Shaky(FakeS3):
        failures = 3

        def list_objects_v2(self, **arguments: Any) -> dict[str, Any]:
            if self.failures:
                self.failures -= 1
                raise EndpointConnectionError(endpoint_url="http://s3")
            return super().list_objects_v2(**arguments)

    bucket = Shaky()
    log_event(bucket, 1, "START")
    run_until(lambda: len(marquez.posted) == 1, running(bucket, marquez, "a"))


def test_a_broken_checkpoint_is_reported_with_the_repair(s3: FakeS3, marquez: FakeMarquez) -> None:
    s3.lineage.objects[CHECKPOINT_KEY], s3.lineage.modified[CHECKPOINT_KEY] = b'{"frontier": 1}', START
    with pytest.raises(
        BadCheckpointError, match=re.escape(f"aws s3 rm s3://{LINEAGE_LOG}/forwarder/checkpoint.json")
    ):
        forwarder(s3, marquez).once(1)
