"""The pool of threads: bounded, and ended by an error."""

from __future__ import annotations

import random
import threading
import time
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_log.ordered_pool import OrderedPool


def test_the_pool_takes_no_more_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage_log.ordered_pool.MOST_BYTES", 100)
    go = threading.Event()

    def work(_item: int) -> None:
        go.wait(5)

    pool: OrderedPool[int] = OrderedPool(work, workers=2)
    for number in range(10):
        pool.put(number, size=10, writes=[str(number)])
    waiting = threading.Thread(target=lambda: pool.put(11, size=10, writes=["x"]))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    go.set()
    waiting.join(5)
    assert not waiting.is_alive()
    pool.drain()
    pool.close()


def test_draining_waits_for_some_or_for_some_time() -> None:
    go = {number: threading.Event() for number in range(3)}
    pool: OrderedPool[int] = OrderedPool(lambda number: cast(None, go[number].wait(5)), workers=3)
    for number in go:
        pool.put(number, size=1, writes=[str(number)])
    assert not pool.drain(seconds=0.02)
    go[1].set()
    assert pool.drain(only=lambda number: number == 1, seconds=5)
    assert not pool.drain(only=lambda number: number != 1, seconds=0.02)
    go[0].set()
    go[2].set()
    assert pool.drain()
    pool.close()


def test_an_error_ends_the_pools_work_and_is_raised_to_whoever_waits() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 1:
            raise RuntimeError("gone")
        done.append(item)

    pool: OrderedPool[int] = OrderedPool(work, workers=1)
    pool.put(1, size=1, writes=["lane"])
    with pytest.raises(RuntimeError, match="gone"):
        pool.drain()
    with pytest.raises(RuntimeError, match="gone"):
        pool.put(2, size=1, writes=["lane"])
    pool.close()
    assert done == []


NAMES = st.frozensets(st.sampled_from("abc"), max_size=2)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(NAMES, NAMES), max_size=12), st.integers())
def test_items_that_share_something_keep_their_order_unless_they_only_read_it(
    uses: list[tuple[frozenset[str], frozenset[str]]], seed: int
) -> None:
    chance, spans = random.Random(seed), dict[int, tuple[float, float]]()

    def work(number: int) -> None:
        begin = time.monotonic()
        time.sleep(chance.uniform(0, 0.002))
        spans[number] = begin, time.monotonic()

    pool: OrderedPool[int] = OrderedPool(work, workers=4)
    for number, (writes, reads) in enumerate(uses):
        pool.put(number, size=1, writes=writes, reads=reads)
    pool.drain()
    assert not pool._uses
    pool.close()
    for later, (writes, reads) in enumerate(uses):
        for earlier, (wrote, read) in enumerate(uses[:later]):
            if writes & (wrote | read) or reads & wrote:
                assert spans[earlier][1] <= spans[later][0]
