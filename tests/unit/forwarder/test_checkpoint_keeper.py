"""Who forwards, and from where: the checkpoint that two forwarders share."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from forwarder.checkpoint_keeper import LostCheckpointError
from lineage_log.checkpoint import Checkpoint
from lineage_log.doubts import MOST_UNKNOWN, Unknown
from lineage_log.log import key_at
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import START, Clock
from tests.fakes.lineage.forwarders import CHECKPOINT_KEY, forwarder, keeper_of
from tests.fakes.lineage.marquez import FakeMarquez

FRESH = Checkpoint(started_at=START, listed_until=START)


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


def test_two_forwarders_cannot_both_begin(s3: FakeS3) -> None:
    first, second = keeper_of(s3, "a"), keeper_of(s3, "b")
    assert first.try_take(START) == FRESH
    assert second.try_take(START) is None


def test_one_of_two_forwarders_that_begin_at_the_same_time_wins() -> None:
    class Slow(FakeS3):
        """Both have read before either writes."""

        def get_object(self, **request: Any) -> dict[str, Any]:
            try:
                return super().get_object(**request)
            finally:
                if not self.lineage.objects:
                    both_have_read.wait(5)

    both_have_read = threading.Barrier(2)
    bucket = Slow()
    taken: list[Checkpoint | None] = []
    threads = [
        threading.Thread(target=lambda name=name: taken.append(keeper_of(bucket, name).try_take(START)))
        for name in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(checkpoint is not None for checkpoint in taken) == [False, True]


def test_a_dead_forwarder_is_replaced_after_the_lease_and_not_before(s3: FakeS3) -> None:
    clock = Clock(seconds=1000)
    dead, heir = keeper_of(s3, "dead", clock), keeper_of(s3, "heir", clock)
    assert dead.try_take(START) is not None
    far = replace(FRESH, floor="events/1", done=frozenset({"events/2", "events/3"}))
    dead.save(far)
    assert heir.try_take(START) is None
    clock.seconds += 59
    assert heir.try_take(START) is None
    clock.seconds += 2
    taken = heir.try_take(START)
    assert taken is not None
    assert taken.unknown == Unknown(MOST_UNKNOWN, key_at(START)), "what it posted last is not known"
    assert replace(taken, unknown=None) == far


def test_a_living_forwarder_keeps_the_checkpoint_however_long_it_works(s3: FakeS3) -> None:
    clock = Clock(seconds=1000)
    living, waiting = keeper_of(s3, "living", clock), keeper_of(s3, "waiting", clock)
    checkpoint = living.try_take(START)
    assert checkpoint is not None
    for _ in range(20):
        clock.seconds += 25
        living.save(checkpoint)
        assert waiting.try_take(START) is None


def test_the_checkpoint_is_ours_only_well_within_the_lease(s3: FakeS3) -> None:
    clock = Clock(seconds=1000)
    mine = keeper_of(s3, "a", clock)
    assert not mine.is_ours
    checkpoint = mine.try_take(START)
    assert checkpoint is not None
    clock.seconds += 39
    assert mine.is_ours
    clock.seconds += 2
    assert not mine.is_ours
    mine.save(checkpoint)
    assert mine.is_ours
    mine.release(checkpoint)
    assert not mine.is_ours


def test_a_forwarder_that_was_paused_posts_nothing_after_another_took_over(s3: FakeS3) -> None:
    clock = Clock(seconds=1000)
    paused, heir = keeper_of(s3, "paused", clock, lease=3), keeper_of(s3, "heir", clock, lease=3)
    nobody = FakeMarquez(url="http://127.0.0.1:9")
    waking = forwarder(s3, nobody, keeper=paused)
    checkpoint = paused.try_take(START)
    assert checkpoint is not None
    assert heir.try_take(START) is None
    clock.seconds += 4  # the paused one's threads stood still meanwhile
    assert heir.try_take(START) is not None
    with pytest.raises(LostCheckpointError), waking._hold(checkpoint):
        waking._check_lease()


def test_a_released_checkpoint_is_free_at_once(s3: FakeS3) -> None:
    first, second = keeper_of(s3, "a"), keeper_of(s3, "b")
    checkpoint = first.try_take(START)
    assert checkpoint is not None
    first.release(checkpoint)
    assert second.try_take(START) == checkpoint


def test_a_forwarder_whose_successful_write_was_not_answered_continues(s3: FakeS3) -> None:
    """S3 took the write, the answer was lost, and the repeated write was refused."""
    mine, other = keeper_of(s3, "a"), keeper_of(s3, "b")
    checkpoint = mine.try_take(START)
    assert checkpoint is not None
    written = json.loads(s3.lineage.objects[CHECKPOINT_KEY])
    s3.lineage.objects[CHECKPOINT_KEY] = json.dumps(written | {"beat": 2}).encode()
    moved = replace(checkpoint, floor="events/x")
    mine.save(moved)
    mine.release(moved)
    assert other.try_take(START) == moved


def test_a_forwarder_that_lost_the_checkpoint_cannot_write_it(s3: FakeS3) -> None:
    clock = Clock(seconds=1000)
    slow, heir = keeper_of(s3, "slow", clock), keeper_of(s3, "heir", clock)
    checkpoint = slow.try_take(START)
    assert checkpoint is not None
    heir.try_take(START)
    clock.seconds += 61
    assert heir.try_take(START) is not None
    for write in (slow.save, slow.release):
        with pytest.raises(LostCheckpointError, match="another forwarder"):
            write(checkpoint)


def test_on_a_machine_that_has_just_booted_nothing_is_ours_before_it_is_taken(s3: FakeS3) -> None:
    keeper = keeper_of(s3, clock=lambda: 1.0)
    assert not keeper.is_ours
    assert keeper.try_take(START) is not None
    assert keeper.is_ours
