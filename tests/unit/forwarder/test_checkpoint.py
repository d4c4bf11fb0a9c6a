"""Who forwards, and from where: the checkpoint that two forwarders share."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.checkpoint_keeper import LostCheckpointError
from lineage_log.checkpoint import Checkpoint, Progress
from tests.fakes.lineage import CHECKPOINT_KEY, START, Clock, FakeMarquez, MemoryS3, forwarder, keeper_of

FRESH = Checkpoint(started_at=START, listed_until=START)


@pytest.fixture
def s3() -> MemoryS3:
    return MemoryS3()


def test_two_forwarders_cannot_both_begin(s3: MemoryS3) -> None:
    first, second = keeper_of(s3, "a"), keeper_of(s3, "b")
    assert first.try_take(START) == FRESH
    assert second.try_take(START) is None


def test_one_of_two_forwarders_that_begin_at_the_same_time_wins() -> None:
    class Slow(MemoryS3):
        """Both have read before either writes."""

        def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
            try:
                return super().get_object(Bucket=Bucket, Key=Key)
            finally:
                if not self.objects:
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


def test_a_dead_forwarder_is_replaced_after_the_lease_and_not_before(s3: MemoryS3) -> None:
    clock = Clock()
    dead, heir = keeper_of(s3, "dead", clock), keeper_of(s3, "heir", clock)
    assert dead.try_take(START) is not None
    far = replace(FRESH, floor="events/1", done=frozenset({"events/2", "events/3"}))
    dead.save(far)
    assert heir.try_take(START) is None
    clock.seconds += 59
    assert heir.try_take(START) is None
    clock.seconds += 2
    assert heir.try_take(START) == far


def test_a_living_forwarder_keeps_the_checkpoint_however_long_it_works(s3: MemoryS3) -> None:
    clock = Clock()
    living, waiting = keeper_of(s3, "living", clock), keeper_of(s3, "waiting", clock)
    checkpoint = living.try_take(START)
    assert checkpoint is not None
    for _ in range(20):
        clock.seconds += 25
        living.save(checkpoint)
        assert waiting.try_take(START) is None


def test_the_checkpoint_is_ours_only_well_within_the_lease(s3: MemoryS3) -> None:
    clock = Clock()
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


def test_a_forwarder_that_was_paused_posts_nothing_after_another_took_over(s3: MemoryS3) -> None:
    clock = Clock()
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


def test_a_released_checkpoint_is_free_at_once(s3: MemoryS3) -> None:
    first, second = keeper_of(s3, "a"), keeper_of(s3, "b")
    checkpoint = first.try_take(START)
    assert checkpoint is not None
    first.release(checkpoint)
    assert second.try_take(START) == checkpoint


def test_a_forwarder_whose_successful_write_was_not_answered_continues(s3: MemoryS3) -> None:
    """S3 took the write, the answer was lost, and the repeated write was refused."""
    mine, other = keeper_of(s3, "a"), keeper_of(s3, "b")
    checkpoint = mine.try_take(START)
    assert checkpoint is not None
    s3.objects[CHECKPOINT_KEY] = json.dumps(json.loads(s3.objects[CHECKPOINT_KEY]) | {"beat": 2}).encode()
    moved = replace(checkpoint, floor="events/x")
    mine.save(moved)
    mine.release(moved)
    assert other.try_take(START) == moved


def test_a_forwarder_that_lost_the_checkpoint_cannot_write_it(s3: MemoryS3) -> None:
    clock = Clock()
    slow, heir = keeper_of(s3, "slow", clock), keeper_of(s3, "heir", clock)
    checkpoint = slow.try_take(START)
    assert checkpoint is not None
    heir.try_take(START)
    clock.seconds += 61
    assert heir.try_take(START) is not None
    for write in (slow.save, slow.release):
        with pytest.raises(LostCheckpointError, match="another forwarder"):
            write(checkpoint)


# How the checkpoint advances


def key(number: int) -> str:
    return f"events/{number:03}"


@given(
    before=st.integers(0, 30),
    limit=st.integers(0, 60),
    finished=st.integers(0, 40),
    order=st.permutations(range(40)),
)
def test_in_whatever_order_events_finish_the_checkpoint_covers_exactly_those(
    before: int, limit: int, finished: int, order: list[int]
) -> None:
    progress = Progress(replace(FRESH, floor=key(before)))
    progress.begin_pass(key(limit))
    numbers = range(before + 1, before + 41)
    for number in numbers:
        progress.begin(key(number))
    for index in order[:finished]:
        progress.finish(key(numbers[index]))
    checkpoint = progress.checkpoint()
    done = {key(numbers[index]) for index in order[:finished]}
    assert {key(number) for number in numbers if checkpoint.covers(key(number))} == done
    assert checkpoint.floor <= max(key(limit), key(before))
    assert progress.oldest_open == min({key(n) for n in numbers} - done, default=None)


def test_a_complete_pass_raises_the_floor_to_its_limit_and_forgets_what_is_below() -> None:
    progress = Progress(FRESH)
    progress.begin_pass(key(5))
    for number in (3, 4, 6):
        progress.begin(key(number))
        progress.finish(key(number))
    progress.end_pass(complete=True)
    assert progress.checkpoint() == replace(FRESH, floor=key(5), done=frozenset({key(6)}))


def test_an_incomplete_pass_raises_the_floor_only_to_what_is_done() -> None:
    progress = Progress(FRESH)
    progress.begin_pass(key(5))
    progress.begin(key(3))
    progress.finish(key(3))
    progress.end_pass(complete=False)
    assert progress.checkpoint() == replace(FRESH, floor=key(3))
