"""However many and however large the events are, few bytes of them are held at a time."""

from __future__ import annotations

import gc
import gzip
import json
import random
from datetime import timedelta
from typing import Any, cast

import pytest

from lineage_log import ordered_pool
from lineage_log.event import LARGEST, MOST_VALUES, Event, UnreadableError
from lineage_log.log import Log, key_at
from lineage_log.ordered_pool import OrderedPool
from lineage_log.read_ahead import READ_AHEAD, SMALL, read_ahead
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez

SIZES = (1_000, SMALL // 2, SMALL + 1_000, LARGEST // 2)  # bytes


def fill(s3: FakeS3, count: int, *, instants: int, sizes: tuple[int, ...] = SIZES) -> list[str]:
    """Events of jobs of their own, of all sizes, packed hardly smaller; return their keys in order."""
    chance, keys = random.Random(0), []
    for number in range(count):
        at = START + timedelta(seconds=number % instants)
        event = {
            "eventTime": at.isoformat(),
            "eventType": chance.choice(("START", "COMPLETE")),
            "run": {"runId": str(number)},
            "job": {"namespace": "n", "name": str(number)},
            "noise": chance.randbytes(sizes[number % len(sizes)] // 2).hex(),
        }
        key = f"{key_at(at)}-{number:012d}.json.gz"
        s3.lineage.objects[key] = gzip.compress(json.dumps(event).encode(), 1)
        s3.lineage.modified[key] = at
        keys.append(key)
    return sorted(keys)


def held() -> list[int]:
    """The packed sizes of all events that anything still refers to."""
    return [len(each.packed) for each in gc.get_objects() if isinstance(each, Event)]


@pytest.fixture(autouse=True)
def nothing_else_is_held() -> None:
    gc.collect()
    assert held() == []
    gc.freeze()  # what other tests have left is not gone through for each event


@pytest.mark.parametrize("instants", [1, 100], ids=["all at one instant", "one after the other"])
def test_reading_ahead_holds_small_events_and_few_large_ones(s3: FakeS3, instants: int) -> None:
    keys, read, most, large = fill(s3, 100, instants=instants), [], 0, 0
    for key, event in read_ahead(Log(cast(Any, s3), LINEAGE_LOG), iter(keys)):
        assert isinstance(event, Event)
        read.append(key)
        sizes = held()
        most = max(most, sum(size for size in sizes if size <= SMALL))
        large = max(large, sum(size > SMALL for size in sizes))
    assert sorted(read) == keys
    assert most <= 2 * READ_AHEAD * SMALL  # the second time: those at one instant
    assert large <= 2  # this one, and the one before, until the caller's variable has the next


def test_a_forwarder_holds_few_bytes_and_delivers_all(
    s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered_pool, "MOST_BYTES", 4 * LARGEST)
    sizes: list[int] = []
    put = OrderedPool[Any].put

    def watched(self: OrderedPool[Any], item: Any, **more: Any) -> None:
        put(self, item, **more)
        sizes.append(self._bytes)

    monkeypatch.setattr(OrderedPool, "put", watched)
    marquez.seconds = 0.02
    keys = fill(s3, 40, instants=40)
    assert forwarder(s3, marquez, seconds=60).once(1) == len(keys)
    assert len(marquez.posted) == len(keys)
    assert max(sizes) <= ordered_pool.MOST_BYTES
    assert max(sizes) > LARGEST  # several at a time


def test_an_events_size_counts_what_it_takes_while_it_is_posted() -> None:
    packed = gzip.compress(json.dumps({"x": "y" * 1_000_000}).encode())
    event = Event.parse("key", packed)
    assert event.size == len(packed) + len(event.text)
    assert event.size > 100 * len(packed)


def test_what_would_be_far_larger_when_parsed_is_no_event() -> None:
    most = b"[" + b",".join([b"[]"] * (MOST_VALUES // 2)) + b"]"
    assert len(most) < LARGEST
    assert Event.parse("key", most[:-1000].rpartition(b",")[0] + b"]").lane == "\n"
    with pytest.raises(UnreadableError, match="values"):
        Event.parse("key", most.replace(b"[]", b"[[]]"))
