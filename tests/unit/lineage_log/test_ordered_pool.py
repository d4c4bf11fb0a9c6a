"""The pool of threads: bounded, and ended by an error."""

from __future__ import annotations

import threading

import pytest

from lineage_log.ordered_pool import OrderedPool


def test_the_pool_takes_no_more_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage_log.ordered_pool.MOST_BYTES", 100)
    go = threading.Event()

    def work(_item: int) -> None:
        go.wait(5)

    pool: OrderedPool[int] = OrderedPool(work, workers=2)
    for number in range(10):
        pool.put(str(number), number, size=10, at=0)
    waiting = threading.Thread(target=lambda: pool.put("x", 11, size=10, at=0))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    go.set()
    waiting.join(5)
    assert not waiting.is_alive()
    pool.drain()
    pool.close()


def test_an_error_ends_the_pools_work_and_is_raised_to_whoever_waits() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 1:
            raise RuntimeError("gone")
        done.append(item)

    pool: OrderedPool[int] = OrderedPool(work, workers=1)
    pool.put("lane", 1, size=1, at=0)
    with pytest.raises(RuntimeError, match="gone"):
        pool.drain()
    with pytest.raises(RuntimeError, match="gone"):
        pool.put("lane", 2, size=1, at=0)
    pool.close()
    assert done == []
