"""Posts that Marquez carries out late: whoever holds the checkpoint then puts their runs right."""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_log.checkpoint import Checkpoint, checkpoint_json, read_checkpoint
from lineage_log.doubts import MOST_CHECKS, Doubts, Unknown
from lineage_log.event import Event
from lineage_log.http_server import Answer
from lineage_log.patient_client import Patience, StoppedError, UnreachableError
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START, Clock, at
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import CHECKPOINT_KEY, QUICK, forwarder, keeper_of
from tests.fakes.lineage.marquez import FakeMarquez

IMPATIENT = replace(QUICK, patience=Patience(longest_pause=0.01, give_up=0.1))
ONE_CHECK = 16.0  # seconds after a post until it has been checked


@dataclass
class Hung:
    """A Marquez that has stopped: what it is asked to do waits until it wakes, and nobody gets an answer.

    It has the same database as `other`.
    """

    other: FakeMarquez
    waiting: list[dict[str, Any]] = field(default_factory=list)

    def post(self, text: bytes) -> Answer:
        self.waiting.append(json.loads(text))
        return Answer(0, "timed out")

    def probe(self) -> Answer:
        return Answer(0, "timed out")

    def wake(self) -> None:
        for event in self.waiting:
            self.other.knowledge.take(event, "")

    def close(self) -> None:
        """Nothing is open."""


def times(marquez: FakeMarquez, run: str) -> tuple[str, str | None, str | None]:
    known = marquez.known(run)
    return known.state, known.startedAt, known.endedAt


def z(seconds: float) -> str:
    return at(seconds).isoformat().replace("+00:00", "Z")


def hang(s3: FakeS3, marquez: FakeMarquez, clock: Clock, **options: Any) -> Hung:
    """A forwarder posts what is due to a Marquez that hangs, and gives up its place."""
    hung = Hung(marquez)
    worker = forwarder(s3, marquez, clock=clock, timing=IMPATIENT, client=cast(Any, hung), **options)
    with pytest.raises(UnreachableError):
        worker.once(1)
    return hung


@pytest.mark.parametrize("successors", [1, 2])
def test_what_a_hung_marquez_carries_out_when_it_wakes_is_put_right_by_whoever_forwards_then(
    s3: FakeS3, marquez: FakeMarquez, successors: int
) -> None:
    clock = Clock(60)
    log_event(s3, 10, "START", run="one")
    hung = hang(s3, marquez, clock)
    log_event(s3, 20, "COMPLETE", run="one")
    worker = forwarder(s3, marquez, clock=clock)
    worker.once(1)
    hung.wake()
    assert times(marquez, "one") == ("RUNNING", z(10), z(20)), "that is how Marquez shows it"
    if successors == 2:
        worker = forwarder(s3, marquez, clock=clock)
    clock.forward(ONE_CHECK)
    worker.once(1)
    assert times(marquez, "one") == ("COMPLETED", z(10), z(20))


@pytest.mark.parametrize("minutes", [0.5, 3, 25])
def test_a_run_looks_wrong_for_no_longer_than_its_post_was_late(
    s3: FakeS3, marquez: FakeMarquez, minutes: float
) -> None:
    clock = Clock(60)
    log_event(s3, 10, "START", run="one")
    log_event(s3, 20, "COMPLETE", run="one")
    hung = hang(s3, marquez, clock)
    began, worker = clock.seconds, forwarder(s3, marquez, clock=clock)
    while clock.seconds < began + 60 * minutes:
        worker.once(1)
        clock.forward(5)
    hung.wake()
    wrong = clock.seconds
    while marquez.state("one") != "COMPLETED":
        worker.once(1)
        clock.forward(5)
    assert clock.seconds - wrong <= max(60 * minutes, 15) + 10


def test_a_doubt_ends(s3: FakeS3, marquez: FakeMarquez) -> None:
    clock = Clock(60)
    log_event(s3, 10, "START", run="one")
    hang(s3, marquez, clock)
    worker = forwarder(s3, marquez, clock=clock)
    for _ in range(MOST_CHECKS + 1):
        worker.once(1)
        clock.forward(16 * 60)
    stored = read_checkpoint(cast(Any, s3), LINEAGE_LOG, CHECKPOINT_KEY)
    assert stored is not None
    assert not stored.checkpoint.doubts
    assert len(marquez.posted) == 1, "nothing was wrong, so nothing was posted again"


def test_a_run_that_was_started_again_keeps_its_new_start(s3: FakeS3, marquez: FakeMarquez) -> None:
    """A cleared DAG run keeps its id: its old START must neither end it nor move its start."""
    clock = Clock(60)
    log_event(s3, 10, "START", run="one")
    hung = hang(s3, marquez, clock)
    log_event(s3, 20, "COMPLETE", run="one")
    log_event(s3, 30, "START", run="one")
    worker = forwarder(s3, marquez, clock=clock)
    worker.once(1)
    hung.wake()
    assert times(marquez, "one") == ("RUNNING", z(10), z(20))
    clock.forward(ONE_CHECK)
    worker.once(1)
    assert times(marquez, "one") == ("RUNNING", z(30), z(20))
    log_event(s3, clock.seconds - 1, "COMPLETE", run="one")
    worker.once(1)
    hung.wake()
    clock.forward(2 * ONE_CHECK)
    worker.once(1)
    assert times(marquez, "one")[:2] == ("COMPLETED", z(30)), "its times, too"


def test_posts_of_a_forwarder_that_was_killed_are_in_doubt(s3: FakeS3, marquez: FakeMarquez) -> None:
    """It could note nothing: so what it may have posted since it wrote the checkpoint is in doubt."""
    clock, lease = Clock(60), Clock()
    hung = Hung(marquez)
    keeper_of(s3, "killed", lease).try_take(clock.now)
    log_event(s3, 10, "START", run="one")
    hung.post(json.dumps(_event(s3)).encode())
    log_event(s3, 20, "COMPLETE", run="one")
    heir = keeper_of(s3, "heir", lease)
    assert heir.try_take(clock.now) is None
    lease.forward(61)
    worker = forwarder(s3, marquez, clock=clock, keeper=heir)
    worker.once(1)
    hung.wake()
    assert marquez.state("one") == "RUNNING"
    clock.forward(ONE_CHECK)
    forwarder(s3, marquez, clock=clock).once(1)
    assert times(marquez, "one") == ("COMPLETED", z(10), z(20))


def test_what_a_killed_forwarder_cannot_have_posted_is_not_in_doubt(s3: FakeS3) -> None:
    doubts = Doubts(unknown=Unknown(2, "events/5"))
    for number in (9, 1, 2, 3):
        doubts.delivered(str(number), _plain(f"events/{number}"), START)
    assert doubts.snapshot().keys() == {"1", "2"}


@pytest.mark.parametrize("again", [False, True])
def test_a_frozen_forwarder_says_what_it_posted_when_it_wakes(
    s3: FakeS3, marquez: FakeMarquez, again: bool
) -> None:
    """It freezes between its look at the lease and the post; meanwhile another one takes over."""
    clock, lease = Clock(60), Clock()
    frozen_marquez = FakeMarquez(url=marquez.url, knowledge=marquez.knowledge)
    log_event(s3, 10, "START", run="one")
    log_event(s3, 20, "COMPLETE", run="one")
    heir = keeper_of(s3, "heir", lease)
    worker = forwarder(s3, marquez, clock=clock, keeper=heir)
    taken: list[str] = []

    class Freezing:
        """The client of a process that freezes in its first post."""

        def post(self, text: bytes) -> Answer:
            if not taken:
                taken.append("over")
                heir.try_take(clock.now)
                lease.forward(61)
                worker.once(1)
            return Answer(frozen_marquez.knowledge.take(json.loads(text), ""), "")

        def close(self) -> None:
            """Nothing is open."""

    frozen = forwarder(s3, marquez, clock=clock, client=cast(Any, Freezing()), keeper=keeper_of(s3, "frozen"))
    checkpoint = frozen._keeper.try_take(clock.now)
    assert checkpoint is not None
    with frozen._hold(checkpoint) as rounds:
        rounds.next()
    if again:
        worker = forwarder(s3, marquez, clock=clock)
    clock.forward(ONE_CHECK)
    marquez.knowledge.take(_event(s3), "")
    assert marquez.state("one") == "RUNNING"
    worker.once(1)
    assert times(marquez, "one") == ("COMPLETED", z(10), z(20))


def test_doubts_that_another_one_leaves_reach_the_holder(s3: FakeS3) -> None:
    holder, other = keeper_of(s3, "holder"), keeper_of(s3, "other")
    checkpoint = holder.try_take(START)
    assert checkpoint is not None
    left = Doubts()
    left.unanswered("run", START)
    other.leave(left.snapshot())
    assert holder.save(checkpoint) == left.snapshot()
    stored = read_checkpoint(cast(Any, s3), LINEAGE_LOG, CHECKPOINT_KEY)
    assert stored is not None
    assert (stored.holder, stored.checkpoint.doubts) == ("holder", left.snapshot())


def test_nobody_posts_more_than_a_successor_would_doubt(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage_log.doubts.MOST_UNSAVED", 20)
    for number in range(100):
        log_event(s3, number / 1000, "START", run=str(number), job=str(number))
    since_saved: list[int] = []

    class Counting(FakeS3):
        def put_object(self, **arguments: Any) -> dict[str, Any]:
            since_saved.append(len(marquez.posted))
            return super().put_object(**arguments)

    bucket = Counting(page_size=1000)
    bucket.lineage.objects, bucket.lineage.modified = s3.lineage.objects, s3.lineage.modified
    forwarder(bucket, marquez, posters=4).once(1)
    assert len(marquez.posted) == 100
    steps = [after - before for before, after in pairwise(since_saved)]
    assert max(steps) <= 20 + 256 + 4


def test_doubts_survive_in_the_checkpoint(s3: FakeS3) -> None:
    doubts = Doubts()
    doubts.delivered("run", _plain("events/1"), START)
    doubts.unanswered("run", START)
    checkpoint = Checkpoint(
        started_at=START, listed_until=START, doubts=doubts.snapshot(), unknown=Unknown(7, "events/3")
    )
    s3.lineage.put(CHECKPOINT_KEY, checkpoint_json(checkpoint, "me", 3).encode())
    stored = read_checkpoint(cast(Any, s3), LINEAGE_LOG, CHECKPOINT_KEY)
    assert stored is not None
    assert stored.checkpoint == checkpoint


KINDS = {"START": "RUNNING", "RUNNING": "RUNNING", "COMPLETE": "COMPLETED", "FAIL": "FAILED"}


class Direct:
    """A Marquez without HTTP."""

    def __init__(self) -> None:
        self.fake = FakeMarquez()

    def post(self, text: bytes) -> Answer:
        event = json.loads(text)
        self.fake.posted.append(event)
        return Answer(self.fake.knowledge.take(event, ""), "")

    def run(self, run_id: str) -> Answer:
        status, content = self.fake.knowledge.query(f"/api/v1/jobs/runs/{run_id}", {})
        return Answer(status, json.dumps(content))

    def close(self) -> None:
        """Nothing is open."""


@settings(deadline=None, max_examples=60)
@given(
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6),
    late=st.lists(st.integers(0, 5), max_size=4),
)
def test_whatever_is_carried_out_late_the_run_ends_as_its_events_say(
    kinds: list[str], late: list[int]
) -> None:
    s3, direct, clock = FakeS3(), Direct(), Clock(60)
    for second, kind in enumerate(kinds):
        log_event(s3, second, kind, run="one")
    worker = forwarder(s3, direct.fake, clock=clock, client=cast(Any, direct))
    worker.once(1)
    expected, events = times(direct.fake, "one"), list(direct.fake.posted)
    keeper_of(s3, "other").leave(_doubt(direct.fake, clock))
    for number in late:
        direct.fake.knowledge.take(events[number % len(events)], "")
    clock.forward(ONE_CHECK)
    worker.once(1)
    assert times(direct.fake, "one") == expected


def _doubt(marquez: FakeMarquez, clock: Clock) -> Any:
    doubts = Doubts()
    for run in marquez.knowledge.runs:
        doubts.unanswered(run, clock.now)
    return doubts.snapshot()


def _event(s3: FakeS3) -> Any:
    first = next(key for key in sorted(s3.lineage.objects) if key.startswith("events/"))
    return json.loads(gzip.decompress(s3.lineage.objects[first]))


def _plain(key: str) -> Any:
    text = json.dumps({"eventType": "START", "run": {"runId": key}}).encode()
    return Event.parse(key, text)


@pytest.mark.parametrize("how", ["it is stopped", "Marquez goes away"])
def test_a_run_whose_late_event_was_posted_is_restored_by_whoever_forwards_then(
    how: str, s3: FakeS3, marquez: FakeMarquez
) -> None:
    """Marquez then says that the run ended at 5 s, and nothing that it says leads to the event of 15 s."""
    log_event(s3, 10, "START")
    log_event(s3, 15, "COMPLETE")
    clock, stop, away = Clock(60), threading.Event(), threading.Event()
    forwarder(s3, marquez, clock=clock, keeper=keeper_of(s3, "a")).once(1)
    right = (marquez.state("run"), marquez.known("run").startedAt, marquez.known("run").endedAt)
    log_event(s3, 5, "FAIL", late=50)

    def fault(event: dict[str, Any]) -> int | None:
        if away.is_set():
            return 503
        if event["eventType"] == "FAIL":
            (stop if how == "it is stopped" else away).set()
            marquez.probes = 201 if how == "it is stopped" else 503
        return None

    marquez.poison = fault
    impatient = replace(QUICK, patience=Patience(longest_pause=0.01, give_up=0.2))
    interrupted = forwarder(s3, marquez, clock=clock, keeper=keeper_of(s3, "b"), stop=stop, timing=impatient)
    with pytest.raises((StoppedError, UnreachableError)):
        interrupted.once(1)
    marquez.poison, marquez.probes = lambda event: None, 201
    for seconds in (60, 80, 120):
        clock.seconds = seconds
        forwarder(s3, marquez, clock=clock, keeper=keeper_of(s3, "c")).once(1)
    assert (marquez.state("run"), marquez.known("run").startedAt, marquez.known("run").endedAt) == right
