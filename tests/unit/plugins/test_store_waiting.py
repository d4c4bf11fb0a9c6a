"""Reading the timeline together: who on a host reads, who waits for whom, and which of two copies stays."""

from __future__ import annotations

import threading
import time

import pytest
from bluegreen import store as store_module
from bluegreen.store import OwnershipUnknown, TooEarly

from tests.fakes.airflow.host import NOW, V1, V2, Host, due
from tests.fakes.timeline import gate_settings, initial

HOSTS = 30  # each reads once in 6 s


@pytest.fixture(autouse=True)
def virtual_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", host.sleep)
    monkeypatch.setattr(time, "monotonic", lambda: host.seconds)


def test_a_process_can_say_which_version_it_judged_by_and_whether_it_read_it(host: Host) -> None:
    reader, other = host.process(), host.process()
    assert (reader.version, reader.fetches) == (None, 0)
    for process in (reader, reader, other):
        process.timeline(due(0), wait=0)
    assert (reader.version, reader.fetches) == (1, 1)
    assert (other.version, other.fetches) == (1, 0)


def test_half_a_second_before_the_instant_there_is_no_answer_yet(host: Host) -> None:
    with pytest.raises(TooEarly, match=r"0\.500 s before the run's due instant"):
        host.process().timeline(due(0.5), wait=0.25)
    assert host.reads == []
    host.process().timeline(due(0.5), wait=0.5)
    assert (host.naps, host.reads) == ([0.5], [0.5])


def test_a_sleep_that_ends_too_early_is_continued(host: Host) -> None:
    host.early = 0.3
    host.process().timeline(due(1), wait=10)
    assert min(host.reads) >= 1


def test_a_scheduler_asks_once_and_never_again_while_it_is_waited_for(host: Host) -> None:
    host.fails = True
    with pytest.raises(OwnershipUnknown, match="refused"):
        host.process(pause=0.1).timeline(due(0), wait=0)
    assert len(host.reads) == 1


def test_a_failure_is_no_matter_of_time_for_those_who_ask_after_it_either(host: Host) -> None:
    """What is too early is tried again without a word, a failure is reported."""
    host.fails = True
    for _ in range(2):
        with pytest.raises(OwnershipUnknown, match="refused") as raised:
            host.process().timeline(due(0), wait=0)
        assert raised.type is OwnershipUnknown
    assert len(host.reads) == 1


@pytest.mark.parametrize(("wait", "waited"), [(0, 0.5), (2, 2)])
def test_what_another_process_reads_is_looked_for_often_at_first(
    wait: float, waited: float, host: Host
) -> None:
    assert host.process()._turns.take() is None  # it reads, and does not end
    with pytest.raises(OwnershipUnknown, match="another process of this host reads") as raised:
        host.process().timeline(due(0), wait=wait)
    assert raised.type is OwnershipUnknown
    assert host.naps[:3] == pytest.approx([0.05, 0.075, 0.1125])
    assert max(host.naps) <= 0.25
    assert waited - 0.25 <= sum(host.naps) <= waited


def test_a_task_waits_for_its_hosts_slot_and_a_scheduler_does_not(host: Host) -> None:
    host.process(HOSTS).timeline(due(0), wait=0)
    assert (host.naps, host.reads) == ([], [0])
    host.seconds = 60
    with pytest.raises(TooEarly, match="not this host's turn to read yet"):
        host.process(HOSTS).timeline(due(60), wait=0.6)
    host.process(HOSTS).timeline(due(60), wait=30)
    assert 61.2 <= host.reads[1] <= 66.3


def test_a_task_that_waits_for_its_slot_uses_what_a_scheduler_reads_before(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = host.process(HOSTS)

    def sleep(seconds: float) -> None:
        host.sleep(seconds)
        scheduler.timeline(due(0), wait=0)

    monkeypatch.setattr(time, "sleep", sleep)
    host.process(HOSTS).timeline(due(0), wait=30)
    assert (host.naps, host.reads) == ([0.05], [0.05])


def test_between_two_reads_a_scheduler_waits_a_third_of_the_time(host: Host) -> None:
    host.process(HOSTS).timeline(due(0), wait=0)
    host.seconds = 0.1
    with pytest.raises(TooEarly, match=r"this host reads once in 6\.0 s"):
        host.process(HOSTS).timeline(due(0.1), wait=0)
    host.seconds = 2.5
    host.process(HOSTS).timeline(due(0.1), wait=0)
    assert host.reads == [0, 2.5]


def test_what_was_read_just_before_ones_turn_is_not_read_again(host: Host) -> None:
    process, other = host.process(), host.process()
    take = process._turns.take

    def after_the_other(*, urgent: bool) -> object:
        other.timeline(due(0), wait=0)
        return take(urgent=urgent)

    process._turns.take = after_the_other  # type: ignore[method-assign,assignment]
    assert process.timeline(due(0), wait=0) == initial()
    assert host.reads == [0]
    host.seconds = 1
    host.process().timeline(due(1), wait=0)  # the turn was given back
    assert host.naps == []


def test_of_two_equal_answers_the_one_that_was_asked_for_later_serves_longer(host: Host) -> None:
    """One process began to read at 0, and ended after another one, which began at 7."""
    other = host.process()

    def meanwhile() -> None:
        host.seconds = 7  # longer than its turn lasts
        other.timeline(due(7), wait=0)

    host.meanwhile = meanwhile
    process = host.process()
    process.timeline(due(0), wait=0)
    for reader in (process, other, host.process()):
        reader.timeline(due(7), wait=0)
    assert host.reads == [0, 7]


def test_an_answer_with_a_newer_version_stays_though_it_was_asked_for_earlier(host: Host) -> None:
    def meanwhile() -> None:
        host.seconds, host.answer = 7, V1  # read elsewhere, where the newer version has not arrived yet
        host.process().timeline(due(7), wait=0)

    host.meanwhile, host.answer = meanwhile, V2
    host.process().timeline(due(0), wait=0)
    newcomer = host.process()
    newcomer.timeline(due(0), wait=0)
    assert newcomer.version == 2


def test_after_the_clock_was_set_back_a_new_copy_serves_all(host: Host) -> None:
    process = host.process()
    process.timeline(due(0), wait=0)
    host.seconds = -5
    for reader in (process, process, host.process()):
        reader.timeline(due(-10), wait=0)
    assert host.reads == [0, -5]


def test_an_older_version_in_the_hosts_file_is_not_taken(host: Host) -> None:
    """Two processes wrote it at once, since one of them could not wait for the lock."""
    host.process().timeline(due(0), wait=0)
    [file] = host.folder.glob("*.json")
    older = file.read_text().replace(str(NOW), str(NOW + 2))
    host.seconds, host.answer = 1, V2
    process = host.process()
    process.timeline(due(1), wait=0)
    file.write_text(older)
    host.seconds = 2
    process.timeline(due(2), wait=0)
    assert process.version == 2
    assert host.reads == [0, 1, 2]


def test_without_a_folder_a_process_still_has_its_own_copy(host: Host) -> None:
    host.folder.write_text("no folder")
    process = host.process()
    for instant in (0, 0, 1, 1):
        host.seconds = instant
        process.timeline(due(instant), wait=0)
    assert host.reads == [0, 1]


def test_where_a_copy_cannot_be_kept_each_process_reads_at_once(host: Host) -> None:
    process = host.process()
    process.timeline(due(0), wait=0)
    [file] = host.folder.glob("*.json")
    file.unlink()
    file.mkdir()
    for instant in (1, 2):
        host.seconds = instant
        host.process().timeline(due(instant), wait=0)
    assert host.reads == [0, 1, 2]


def test_in_an_outage_a_process_keeps_its_copy_rather_than_an_older_one_of_the_host(host: Host) -> None:
    """Another process wrote its copy later, since it could not wait for the lock."""
    host.process().timeline(due(0), wait=0)
    [file] = host.folder.glob("*.json")
    older = file.read_text()
    process = host.process()
    host.seconds = 5
    process.timeline(due(5), wait=0)
    file.write_text(older)
    host.seconds, host.fails = 10, True
    with pytest.raises(OwnershipUnknown, match="refused"):
        process.timeline(due(10), wait=0)
    assert process.timeline(due(5), wait=0) == initial()


def test_a_timeline_that_cannot_be_kept_is_parsed_by_each_process(host: Host) -> None:
    host.process().timeline(due(0), wait=0)
    for file in host.folder.iterdir():
        file.unlink()
        if file.suffix == ".timeline":
            file.mkdir()
    assert host.process().timeline(due(0), wait=0) == initial()


def test_a_host_that_has_no_room_for_a_thread_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OwnershipUnknown, match="can't start new thread"):
        host.process().timeline(due(0), wait=0)


def test_each_processs_store_shares_the_quota_with_the_environments_hosts() -> None:
    assert store_module.store(gate_settings("blue", hosts=HOSTS))._turns.interval == 6


@pytest.mark.parametrize("seconds", [-1, 301])
def test_what_was_read_while_the_clock_was_set_back_or_the_process_frozen_is_not_used(
    seconds: float, host: Host
) -> None:
    """By the right time the read began before the run was due; or its answer is beyond the maximum age."""

    def meanwhile() -> None:
        host.seconds += seconds

    host.meanwhile = meanwhile
    with pytest.raises(OwnershipUnknown, match="frozen while it read, or its clock was set back"):
        host.process().timeline(due(0), wait=0)
    host.seconds += 2
    assert host.process().timeline(due(host.seconds), wait=0) == initial()
