"""A forwarder that is killed while it posts a late event: whoever forwards then puts the run right."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple, cast

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_log.checkpoint import read_checkpoint
from lineage_log.http_server import Answer
from lineage_log.patient_client import StoppedError
from local.marquez.double import Marquez
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import Clock, at
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import CHECKPOINT_KEY, forwarder, keeper_of

LATE = 50.0  # seconds after its time, within the window


class Outcome(NamedTuple):
    """What Marquez knows of the run."""

    state: str
    started: str | None
    ended: str | None


@dataclass
class Life:
    """What a process may still do outside itself: `left` writes to S3 and posts, then it is gone."""

    left: int
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spend(self) -> bool:
        """Whether it lives to do one more."""
        with self.lock:
            self.left -= 1
            if self.left < 0:
                self.stop.set()
            return self.left >= 0


@dataclass
class Bucket(FakeS3):
    """The S3 of a process that may be killed; the same objects as `other`."""

    life: Life

    def __init__(self, other: FakeS3, life: Life) -> None:
        super().__init__()
        self.buckets, self.lock, self.written, self.life = other.buckets, other.lock, other.written, life

    def put_object(self, **arguments: Any) -> dict[str, Any]:
        if not self.life.spend():
            raise EndpointConnectionError(endpoint_url="s3")
        return super().put_object(**arguments)


@dataclass
class Client:
    """The client of a process that may be killed, to a Marquez without HTTP."""

    marquez: Marquez
    life: Life = field(default_factory=lambda: Life(10**6))

    def post(self, text: bytes) -> Answer:
        return Answer(self.marquez.take(json.loads(text), ""), "") if self.life.spend() else Answer(0, "")

    def probe(self) -> Answer:
        return Answer(201, "")

    def run(self, run_id: str) -> Answer:
        status, content = self.marquez.query(f"/api/v1/jobs/runs/{run_id}", {})
        return Answer(status, json.dumps(content))

    def close(self) -> None:
        """Nothing is open."""


class World:
    """A log with the events of one run, a Marquez, and forwarders one after the other."""

    def __init__(self) -> None:
        self.s3, self.marquez = FakeS3(), Marquez()
        self.clock, self.lease = Clock(60), Clock()

    def forward(self, holder: str, life: Life | None = None) -> None:
        """Forward what is in the log, in a process of its own; after a process that was killed, too."""
        life = life or Life(10**6)
        keeper = keeper_of(cast(Any, Bucket(self.s3, life)), holder, self.lease)
        stored = read_checkpoint(cast(Any, self.s3), LINEAGE_LOG, CHECKPOINT_KEY)
        if stored is not None and stored.holder is not None:
            assert keeper.try_take(self.clock.now) is None
            self.lease.forward(61)
        worker = forwarder(
            cast(Any, Bucket(self.s3, life)),
            cast(Any, None),
            clock=self.clock,
            keeper=keeper,
            client=cast(Any, Client(self.marquez, life)),
            stop=life.stop,
        )
        with suppress(StoppedError, EndpointConnectionError):
            worker.once(1)

    def settle(self) -> None:
        for seconds in (60, 80, 120):
            self.clock.seconds = seconds
            self.forward(f"heir at {seconds}")

    @property
    def outcome(self) -> Outcome:
        (run,) = self.marquez.runs.values()
        return Outcome(run.state, run.startedAt, run.endedAt)


def killed_after(effects: int, kinds: list[str], late: set[int]) -> tuple[Outcome, bool]:
    """What becomes of a run whose `late` events come when the others have been forwarded.

    The process that forwards them is killed after so many writes and posts. Also whether it was.
    """
    world = World()
    for late_now in (False, True):
        for number, kind in enumerate(kinds):
            if (number in late) == late_now:
                log_event(world.s3, 5 * number, kind, late=LATE if late_now else 0)
        life = Life(effects) if late_now else None
        world.forward("killed" if late_now else "first", life)
    world.settle()
    assert life is not None
    return world.outcome, life.left < 0


def right(kinds: list[str]) -> Outcome:
    """What the run's events say."""
    states = {"COMPLETE": "COMPLETED", "FAIL": "FAILED"}
    times: dict[bool, str] = {}
    for number, kind in enumerate(kinds):
        times[kind in states] = at(5 * number).isoformat().replace("+00:00", "Z")
    return Outcome(states.get(kinds[-1], "RUNNING"), times.get(False), times.get(True))


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("kinds", [["FAIL", *others] for others in product(("START", "COMPLETE"), repeat=2)])
def test_wherever_a_forwarder_of_a_late_event_is_killed_the_run_is_put_right(
    kinds: list[str], late: int
) -> None:
    """After a late FAIL before START and COMPLETE, nothing that Marquez says leads to the COMPLETE."""
    effects, killed = 0, True
    while killed:
        outcome, killed = killed_after(effects, kinds, {late})
        assert outcome == right(kinds), f"killed after {effects} writes and posts"
        effects += 1
    assert effects > len(["take", "save", "late", "newer", "release"])


@settings(deadline=None, max_examples=40)
@given(
    kinds=st.lists(st.sampled_from(["START", "RUNNING", "COMPLETE", "FAIL"]), min_size=3, max_size=5),
    late=st.sets(st.integers(0, 3), min_size=1, max_size=3),
    effects=st.integers(1, 8),
)
def test_whatever_is_late_and_whenever_the_forwarder_is_killed_the_run_is_put_right(
    kinds: list[str], late: set[int], effects: int
) -> None:
    outcome, _ = killed_after(effects, kinds, late - {len(kinds) - 1})
    assert outcome == right(kinds)


@pytest.mark.parametrize("undoes", [True, False])
def test_only_a_late_event_that_undoes_others_costs_a_save_and_leaves_no_doubt(undoes: bool) -> None:
    world = World()
    for number, kind in enumerate(["FAIL", "START", "COMPLETE"]):
        if number:
            log_event(world.s3, 5 * number, kind)
    log_event(world.s3, 20, "START", run="another")
    world.forward("first")
    log_event(world.s3, 0 if undoes else 15, "FAIL", name="late", late=LATE)
    before = len(world.s3.written)
    world.forward("second")
    assert len(world.s3.written) - before == len(["take", "release"]) + undoes
    stored = read_checkpoint(cast(Any, world.s3), LINEAGE_LOG, CHECKPOINT_KEY)
    assert stored is not None
    assert not stored.checkpoint.doubts
