"""Who forwards, and from where: the place that two forwarders share."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_log.checkpoint import LostPlaceError, Place, Progress
from tests.fakes.lineage import PLACE, START, Clock, FakeMarquez, MemoryS3, forwarder, keeper

FRESH = Place(begun=START, swept=START)


@pytest.fixture
def s3() -> MemoryS3:
    return MemoryS3()


def test_two_forwarders_cannot_both_begin(s3: MemoryS3) -> None:
    first, second = keeper(s3, "a"), keeper(s3, "b")
    assert first.try_take(START) == FRESH
    assert second.try_take(START) is None


def test_of_two_that_begin_at_once_one_wins() -> None:
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
    taken: list[Place | None] = []
    threads = [
        threading.Thread(target=lambda name=name: taken.append(keeper(bucket, name).try_take(START)))
        for name in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(place is not None for place in taken) == [False, True]


def test_a_dead_forwarders_place_is_taken_after_the_lease_and_not_before(s3: MemoryS3) -> None:
    clock = Clock()
    dead, heir = keeper(s3, "dead", clock), keeper(s3, "heir", clock)
    assert dead.try_take(START) is not None
    far = replace(FRESH, floor="events/1", seen=frozenset({"events/2", "events/3"}))
    dead.save(far)
    assert heir.try_take(START) is None
    clock.seconds += 59
    assert heir.try_take(START) is None
    clock.seconds += 2
    assert heir.try_take(START) == far


def test_a_living_forwarder_keeps_its_place_however_long_it_works(s3: MemoryS3) -> None:
    clock = Clock()
    living, waiting = keeper(s3, "living", clock), keeper(s3, "waiting", clock)
    place = living.try_take(START)
    assert place is not None
    for _ in range(20):
        clock.seconds += 25
        living.save(place)
        assert waiting.try_take(START) is None


def test_the_place_is_ours_only_well_within_the_lease(s3: MemoryS3) -> None:
    clock = Clock()
    mine = keeper(s3, "a", clock)
    assert not mine.ours
    place = mine.try_take(START)
    assert place is not None
    clock.seconds += 39
    assert mine.ours
    clock.seconds += 2
    assert not mine.ours
    mine.save(place)
    assert mine.ours
    mine.give_up(place)
    assert not mine.ours


def test_a_forwarder_that_was_paused_posts_nothing_after_another_took_over(s3: MemoryS3) -> None:
    clock = Clock()
    paused, heir = keeper(s3, "paused", clock, lease=3), keeper(s3, "heir", clock, lease=3)
    nobody = FakeMarquez(url="http://127.0.0.1:9")
    waking = forwarder(s3, nobody, place=paused)
    place = paused.try_take(START)
    assert place is not None
    assert heir.try_take(START) is None
    clock.seconds += 4  # the paused one's threads stood still meanwhile
    assert heir.try_take(START) is not None
    with pytest.raises(LostPlaceError), waking._holding(place):
        waking._check_place()


def test_a_place_given_up_is_free_at_once(s3: MemoryS3) -> None:
    first, second = keeper(s3, "a"), keeper(s3, "b")
    place = first.try_take(START)
    assert place is not None
    first.give_up(place)
    assert second.try_take(START) == place


def test_one_that_did_not_hear_of_its_own_success_goes_on(s3: MemoryS3) -> None:
    """S3 took the write, the answer was lost, and the repeated write was refused."""
    mine, other = keeper(s3, "a"), keeper(s3, "b")
    place = mine.try_take(START)
    assert place is not None
    s3.objects[PLACE] = json.dumps(json.loads(s3.objects[PLACE]) | {"beat": 2}).encode()
    moved = replace(place, floor="events/x")
    mine.save(moved)
    mine.give_up(moved)
    assert other.try_take(START) == moved


def test_one_that_lost_its_place_cannot_write_it(s3: MemoryS3) -> None:
    clock = Clock()
    slow, heir = keeper(s3, "slow", clock), keeper(s3, "heir", clock)
    place = slow.try_take(START)
    assert place is not None
    heir.try_take(START)
    clock.seconds += 61
    assert heir.try_take(START) is not None
    for write in (slow.save, slow.give_up):
        with pytest.raises(LostPlaceError, match="another forwarder"):
            write(place)


# How the place moves


def key(number: int) -> str:
    return f"events/{number:03}"


@given(
    before=st.integers(0, 30),
    limit=st.integers(0, 60),
    kept=st.integers(0, 40),
    order=st.permutations(range(40)),
)
def test_whatever_order_events_are_done_in_a_kept_place_holds_exactly_those(
    before: int, limit: int, kept: int, order: list[int]
) -> None:
    progress = Progress(replace(FRESH, floor=key(before)))
    progress.begin_pass(key(limit))
    numbers = range(before + 1, before + 41)
    for number in numbers:
        progress.begin(key(number))
    for index in order[:kept]:
        progress.done(key(numbers[index]))
    place = progress.place()
    done = {key(numbers[index]) for index in order[:kept]}
    assert {key(number) for number in numbers if place.holds(key(number))} == done
    assert place.floor <= max(key(limit), key(before))
    assert progress.oldest == min({key(n) for n in numbers} - done, default=None)


def test_a_whole_pass_moves_the_floor_to_its_limit_and_forgets_what_lies_below() -> None:
    progress = Progress(FRESH)
    progress.begin_pass(key(5))
    for number in (3, 4, 6):
        progress.begin(key(number))
        progress.done(key(number))
    progress.end_pass(whole=True)
    assert progress.place() == replace(FRESH, floor=key(5), seen=frozenset({key(6)}))


def test_half_a_pass_leaves_the_floor_at_what_was_done() -> None:
    progress = Progress(FRESH)
    progress.begin_pass(key(5))
    progress.begin(key(3))
    progress.done(key(3))
    progress.end_pass(whole=False)
    assert progress.place() == replace(FRESH, floor=key(3))
