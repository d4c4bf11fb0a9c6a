"""The record of a push: repeated by boto3, or taken over while its holder slept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mwaactl.dags import journal
from mwaactl.dags.journal import Change, Lease, holding, new_push, unfinished_push
from mwaactl.errors import LostRace
from tests.fakes.aws.clients import FakeClients

LOG = "lineage-log"


@pytest.fixture
def s3(aws: FakeClients, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("mwaactl.clock.now", lambda: datetime(2026, 11, 28, 10, 0, 0, 123456, tzinfo=UTC))
    monkeypatch.setattr(journal, "BEAT", 3600.0)  # no beat of its own
    aws.s3.buckets.setdefault(LOG, type(next(iter(aws.s3.buckets.values())))())
    return aws.s3


def twice(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each put arrives, its answer is lost, and boto3 makes it again."""
    put = s3.put_object

    def repeated(**request: Any) -> Any:
        put(**request)
        return put(**request)

    monkeypatch.setattr(s3, "put_object", repeated)


def test_a_put_that_boto3_repeats_is_no_other_push(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    twice(s3, monkeypatch)
    with holding(s3, LOG, new_push("dags")) as (lease, _):
        lease.record(lease.push.model_copy(update={"changes": ()}))
        lease.check()
        lease.release()
    assert unfinished_push(s3, LOG) is None


def test_who_slept_does_not_remove_the_record_of_whoever_took_over(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding(s3, LOG, new_push("first")) as (first, _):
        monkeypatch.setattr("mwaactl.clock.sleep", lambda _: None)
        with holding(s3, LOG, new_push("second")) as (second, _):
            assert isinstance(first, Lease)
            first.leave()  # its upload has failed
            there = unfinished_push(s3, LOG)
            assert there is not None
            assert there.id == second.push.id
            second.release()


def test_who_slept_for_too_long_changes_nothing_more(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with holding(s3, LOG, new_push("first")) as (first, _):
        now = journal._now()
        monkeypatch.setattr(journal, "_now", lambda: tuple(each + journal.DEAD for each in now))
        with pytest.raises(LostRace, match="not written"):
            first.record(first.push)


@pytest.mark.parametrize("late", [1, 2])
def test_a_writing_counts_from_its_beginning(s3: Any, monkeypatch: pytest.MonkeyPatch, late: int) -> None:
    now, put, count = [0.0], s3.put_object, [0]
    monkeypatch.setattr(journal, "_now", lambda: (now[0], now[0]))

    def slow(**request: Any) -> Any:
        answer = put(**request)
        count[0] += 1
        now[0] += journal.DEAD if count[0] == late else 0
        return answer

    monkeypatch.setattr(s3, "put_object", slow)
    with holding(s3, LOG, new_push("dags")) as (lease, _):
        if late == 2:
            lease.check()
            lease.record(lease.push)
        with pytest.raises(LostRace, match="not written"):
            lease.check()


def test_a_beat_that_waits_for_a_record_keeps_its_changes(s3: Any) -> None:
    changes = (Change(bucket="blue", prefix="dags/", put={}),)
    with holding(s3, LOG, new_push("dags")) as (lease, _):
        lock = lease._lock

        class Waiting:
            """The lock, which another call holds at first: it writes the changes meanwhile."""

            def __enter__(self) -> None:
                lease._lock = lock
                lease.record(lease.push.model_copy(update={"changes": changes}))
                lock.acquire()

            def __exit__(self, *_: object) -> None:
                lock.release()

        lease._lock = Waiting()  # type: ignore[assignment]
        lease.beat()
        there = unfinished_push(s3, LOG)
        assert there is not None
        assert (there.changes, there.beat, lease.push.changes) == (changes, 2, changes)
    left = unfinished_push(s3, LOG)
    assert left is not None
    assert (left.changes, left.alive) == (changes, False)
