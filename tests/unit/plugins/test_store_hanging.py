"""Whatever hangs: no caller is held up, and no process is filled with threads."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from bluegreen import store as store_module
from bluegreen.store import Answer, OwnershipUnknown, Store

from tests.fakes.airflow.host import V1, Host, due
from tests.fakes.timeline import initial


class HangingHost(Host):
    """Its reads hang until they are let go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.let_go = threading.Event()

    def read(self, known: Answer | None) -> Answer:
        answer = super().read(known)
        assert self.let_go.wait(60)
        return answer


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[HangingHost]:
    hanging = HangingHost(tmp_path / "cache")
    yield hanging
    hanging.let_go.set()


def seconds_until_unknown(store: Store) -> float:
    started = time.monotonic()
    with pytest.raises(OwnershipUnknown, match=r"no answer within 0\.9 s|still hang"):
        store.timeline(due(-10), wait=0)
    return time.monotonic() - started


def test_a_scheduler_is_not_held_up_and_a_late_answer_serves_the_next_call(hanging: HangingHost) -> None:
    store = hanging.process()
    assert seconds_until_unknown(store) < 2
    hanging.let_go.set()
    for thread in store._threads:
        thread.join(10)
    assert store.timeline(due(-10), wait=0) == initial()
    assert hanging.process().timeline(due(-10), wait=0)
    assert len(hanging.reads) == 1


def test_a_task_gives_a_slow_read_more_time_than_a_scheduler(
    hanging: HangingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LAST_TRY_SECONDS", 0.01)
    threading.Timer(0.1, hanging.let_go.set).start()
    assert hanging.process(pause=0).timeline(due(-10), wait=60) == initial()
    assert len(hanging.reads) == 1


def test_hanging_reads_do_not_pile_up(hanging: HangingHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LAST_TRY_SECONDS", 0.01)
    store = hanging.process(pause=0)
    for _ in range(9):
        with pytest.raises(OwnershipUnknown):
            store.timeline(due(-10), wait=0)
    assert len(hanging.reads) == store_module.HANGING_READS
    with pytest.raises(OwnershipUnknown, match="3 earlier reads still hang"):
        store.timeline(due(-10), wait=0)
    assert all(thread.daemon for thread in store._threads), "the process could not end"
    hanging.let_go.set()
    for thread in store._threads:
        thread.join(10)
    assert store.timeline(due(-10), wait=0) == initial()


def test_a_forked_process_is_not_bothered_by_what_hangs_in_its_parent(
    hanging: HangingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LAST_TRY_SECONDS", 0.01)
    store = hanging.process(pause=0)
    for _ in range(store_module.HANGING_READS):
        with pytest.raises(OwnershipUnknown):
            store.timeline(due(-10), wait=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about forking beside threads
        child = os.fork()
    if not child:
        store._read = lambda _known: V1
        monkeypatch.setattr(store_module, "LAST_TRY_SECONDS", 5)
        os._exit(0 if store.timeline(due(-10), wait=0) == initial() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
