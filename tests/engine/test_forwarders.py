"""Real forwarder processes, an emulated S3, a Marquez in trouble: nothing lost, each run keeps its order."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lineage_log.checkpoint import FIRST_RETRY
from lineage_log.log import key_at
from mwaactl.aws import Clients
from mwaactl.lineage.replay import Window, replay
from tests.engine.deployment import LocalCloud
from tests.engine.forwarding import Bucket, Double, Node, first_holder, holding, temporary_bucket, wait

LEASE = 2.0  # seconds
KINDS = ("START", "RUNNING", "COMPLETE")


@dataclass
class Log(Bucket):
    """A lineage log of the test's own, and what was written to it."""

    written: list[dict[str, Any]] = field(default_factory=list)

    def write(self, kind: str, run: str, job: str | None, **changes: Any) -> str:
        now = datetime.now(UTC)
        event = {
            "eventTime": now.isoformat(),
            "eventType": kind,
            "run": {"runId": run, "facets": {}},
            "job": job and {"namespace": "test", "name": job},
            "producer": f"test:{uuid.uuid4()}",  # tells events apart
            **changes,
        }
        key = f"{key_at(now)}-{uuid.uuid4().hex[:12]}.json.gz"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=gzip.compress(json.dumps(event).encode()))
        self.written.append(event)
        return key

    def write_runs(self, count: int, jobs: int = 12) -> None:
        """`count` runs, several at a time, as tasks do."""
        runs = [(str(uuid.uuid4()), f"job-{number % jobs}") for number in range(count)]
        for start in range(0, count, jobs):
            for kind in KINDS:
                for run, job in runs[start : start + jobs]:
                    self.write(kind, run, job)


@pytest.fixture
def log(cloud: LocalCloud) -> Iterator[Log]:
    s3 = cloud.client("s3")
    with temporary_bucket(s3) as bucket:
        yield Log(s3, bucket)


@pytest.fixture
def marquez(clean: ExitStack) -> Double:
    return Double.start(clean)


@pytest.fixture
def start(
    cloud: LocalCloud, log: Log, marquez: Double, clean: ExitStack, tmp_path: Path
) -> Callable[[], Node]:
    return lambda: Node.start(clean, cloud.env, tmp_path, log.bucket, marquez.url, LEASE)


def known(marquez: Double) -> set[str]:
    """The producers of all raw events: each event has its own."""
    return {event["producer"] for event in marquez.raw() if event["job"]["namespace"] == "test"}


def all_known(log: Log, marquez: Double) -> bool:
    return known(marquez) == {event["producer"] for event in log.written}


def states(log: Log, marquez: Double) -> set[str]:
    shown = marquez.state()["runs"]
    return {shown[event["run"]["runId"]] for event in log.written}


def all_shown(log: Log, marquez: Double) -> bool:
    """All events are known, and no run is just having its events repeated and its state restored."""
    return all_known(log, marquez) and states(log, marquez) == {"COMPLETED"}


def check_runs(log: Log, marquez: Double, taken_over: Node | None = None) -> None:
    """Each run has the state of its last event, and no forwarder posted its events in another order.

    The order is not checked of the one that has `taken_over`: it posts again what the killed one may have
    posted, then restores the run's state, and so repeats earlier events after later ones.
    """
    assert states(log, marquez) == {"COMPLETED"}
    first: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, run, agent in marquez.posts():
        if kind not in first[run, agent] and not (taken_over and agent.endswith(taken_over.holder)):
            first[run, agent].append(kind)
    assert first
    wrong = {key: kinds for key, kinds in first.items() if kinds != sorted(kinds, key=KINDS.index)}
    assert not wrong


def test_a_forwarder_is_killed_and_the_other_continues_without_a_loss(
    log: Log, marquez: Double, start: Callable[[], Node]
) -> None:
    marquez.faults("half", share=0.3, latency=0.02)
    first, other = first_holder(log, start(), start())
    writer = threading.Thread(target=log.write_runs, args=(120,))
    writer.start()
    wait(lambda: len(marquez.posts()) > 60, 60, "some events are known")
    first.process.kill()
    assert not all_known(log, marquez) or writer.is_alive()
    taken = wait(lambda: holding(log, other) is other, 30, "the other one has taken over")
    assert taken < 3 * LEASE
    writer.join()
    # With bad luck an event fails so often in a row that it is put off for a minute.
    wait(lambda: all_shown(log, marquez), 60 + FIRST_RETRY.total_seconds(), "all runs are shown")
    marquez.faults()
    check_runs(log, marquez, taken_over=other)
    assert log.set_aside() == []


def test_a_forwarder_that_was_paused_posts_nothing_when_it_resumes(
    log: Log, marquez: Double, start: Callable[[], Node]
) -> None:
    first, other = first_holder(log, start(), start())
    log.write_runs(12)
    wait(lambda: all_known(log, marquez), 30, "the first events are known")
    time.sleep(1)  # nothing is in progress
    os.kill(first.process.pid, signal.SIGSTOP)
    log.write_runs(12)
    wait(lambda: all_known(log, marquez), 30, "the other one delivers them")
    before = marquez.posts()
    os.kill(first.process.pid, signal.SIGCONT)
    log.write_runs(12)
    wait(lambda: all_shown(log, marquez), 30, "all runs are shown")
    after = marquez.posts()[len(before) :]
    assert {agent for _, _, agent in after} == {f"lineage-forwarder/{other.holder}"}
    assert "standing by" in first.output.read_text()
    check_runs(log, marquez)


def test_a_forwarder_that_is_paused_in_the_middle_of_its_work_loses_nothing(
    log: Log, marquez: Double, start: Callable[[], Node]
) -> None:
    marquez.faults(latency=0.05)
    first, other = first_holder(log, start(), start())
    log.write_runs(48)
    wait(lambda: len(marquez.posts()) > 30, 30, "some events are known")
    os.kill(first.process.pid, signal.SIGSTOP)
    wait(lambda: holding(log, other) is other, 30, "the other one has taken over")
    stopped = len([agent for _, _, agent in marquez.posts() if first.holder in agent])
    os.kill(first.process.pid, signal.SIGCONT)
    wait(lambda: all_known(log, marquez), 60, "all events are known")
    since = len([agent for _, _, agent in marquez.posts() if first.holder in agent]) - stopped
    assert since <= 8  # at most what each poster was sending at that very moment
    assert known(marquez) == {event["producer"] for event in log.written}


def test_a_forwarder_that_is_terminated_hands_over_at_once(
    log: Log, marquez: Double, start: Callable[[], Node]
) -> None:
    first, other = first_holder(log, start(), start())
    first.process.terminate()
    assert first.process.wait(10) == 0
    assert wait(lambda: holding(log, other) is other, 10, "the other one has taken over") < LEASE


def test_every_kind_of_outage_passes_and_only_the_bad_events_are_set_aside(
    log: Log, marquez: Double, start: Callable[[], Node]
) -> None:
    start()
    bad = {
        log.write("START", "bad time", "job-x", eventTime="yesterday"),
        log.write("START", "no job", None),
    }
    del log.written[:]
    for kind in ("refuse", "hang", "fail", "read-only", "half"):
        marquez.faults(kind)
        log.write_runs(6, jobs=6)
        time.sleep(3)
    marquez.faults()
    wait(lambda: all_shown(log, marquez), 60, "all runs are shown")
    check_runs(log, marquez)
    wait(lambda: len(log.set_aside()) == len(bad), 30, "the bad ones are set aside")
    assert set(log.set_aside()) == {key.replace("events/", "set-aside/", 1) for key in bad}
    reasons = [
        log.s3.head_object(Bucket=log.bucket, Key=key)["Metadata"]["reason"] for key in log.set_aside()
    ]
    for expected in ("times HTTP 500", "HTTP 422"):
        assert any(expected in reason for reason in reasons)


def test_a_replay_fills_an_empty_back_end(log: Log, marquez: Double, tmp_path: Path) -> None:
    since = datetime.now(UTC)
    log.write_runs(24)
    clients = cast(Clients, SimpleNamespace(s3=log.s3))
    window = Window(
        stack="x", bucket=log.bucket, to=marquez.url, since=since, until=datetime.now(UTC), namespace="test"
    )
    result = replay(clients, window, folder=tmp_path)
    assert result.posted == result.events == len(log.written)
    assert all_known(log, marquez)
    check_runs(log, marquez)
