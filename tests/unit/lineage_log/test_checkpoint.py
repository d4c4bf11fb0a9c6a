"""How a checkpoint advances."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lineage_log.checkpoint import Checkpoint, Progress
from tests.fakes.clock import START

FRESH = Checkpoint(started_at=START, listed_until=START)


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


@given(st.data())
def test_passes_that_overlap_cover_what_is_done_and_begin_each_key_once(data: st.DataObject) -> None:
    """A pass meets the keys that were there when it began, in order, as far as it comes."""
    progress, begun, done = Progress(FRESH), list[int](), set[int]()
    there, limit = set[int](), 0
    for _ in range(data.draw(st.integers(1, 5))):
        there |= data.draw(st.sets(st.integers(limit + 1, 40), max_size=12))  # later, below: a late one
        limit = data.draw(st.integers(limit, 39))
        progress.begin_pass(key(limit))
        floor = progress.checkpoint().floor
        listed = sorted(number for number in there if key(number) > floor)
        met = data.draw(st.integers(0, len(listed)))
        for number in listed[:met]:
            if progress.is_new(key(number)):
                assert number not in begun
                progress.begin(key(number))
                begun.append(number)
            for ended in data.draw(st.sets(st.sampled_from(begun), max_size=2)) - done if begun else ():
                progress.finish(key(ended))
                done.add(ended)
            assert {each for each in there if progress.checkpoint().covers(key(each))} == done
        idle = set(begun) == done
        progress.end_pass(complete=idle and met == len(listed))
        assert {each for each in there if progress.checkpoint().covers(key(each))} == done
        assert progress.oldest_open == min((key(each) for each in set(begun) - done), default=None)
        assert progress.reached >= max((key(each) for each in begun), default="")


def test_an_incomplete_pass_raises_the_floor_only_to_what_is_done() -> None:
    progress = Progress(FRESH)
    progress.begin_pass(key(5))
    progress.begin(key(3))
    progress.finish(key(3))
    progress.end_pass(complete=False)
    assert progress.checkpoint() == replace(FRESH, floor=key(3))
