"""Reading the timeline: how old a copy may be, what happens without SSM, and who may be trusted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from bluegreen.aws import AwsError
from bluegreen.store import Answer, OwnershipUnknown, Store, TooEarly

from tests.fakes.airflow.gate import always
from tests.fakes.airflow.host import NOW, SETTINGS, V1, V2, Host, due, valid
from tests.fakes.timeline import dumped, initial

BLUE = always(initial(), 1, due(-9999))


class HostClock:
    """A host's clock that only moves when told."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class CountedParameter:
    """The parameter: counts its reads, and fails as often as told."""

    def __init__(self, clock: HostClock) -> None:
        self.clock = clock
        self.reads = 0
        self.failures = 0
        self.takes = 0.0

    def __call__(self, known: Answer | None) -> Answer:
        self.reads += 1
        self.clock.now += self.takes
        if self.failures:
            self.failures -= 1
            raise AwsError("https://ssm: refused")
        return BLUE(known)


@pytest.fixture
def clock() -> HostClock:
    return HostClock()


@pytest.fixture
def ssm(clock: HostClock) -> CountedParameter:
    return CountedParameter(clock)


@pytest.fixture
def process(ssm: CountedParameter, clock: HostClock, tmp_path: Path) -> Callable[[], Store]:
    """A new process of the same host: its own memory, the shared cache."""
    return lambda: Store(SETTINGS, ssm, tmp_path / "cache", clock)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, clock: HostClock) -> list[float]:
    """Sleeping moves both clocks at once."""
    naps: list[float] = []
    monotonic = [0.0]

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        clock.now += seconds
        monotonic[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic[0])
    return naps


def test_one_read_serves_all_processes_of_a_host(process: Callable[[], Store], ssm: CountedParameter) -> None:
    for _ in range(5):
        assert process().timeline(due(-10), wait=0) == initial()
    assert ssm.reads == 1


def test_a_copy_serves_instants_up_to_the_start_of_its_fetch_only(
    process: Callable[[], Store], ssm: CountedParameter, clock: HostClock
) -> None:
    ssm.takes = 3
    store = process()
    store.timeline(due(0), wait=0)
    clock.now += 60
    store.timeline(due(0), wait=0)
    assert ssm.reads == 1
    store.timeline(due(1), wait=0)  # while the first fetch was under way: not surely in its answer
    assert ssm.reads == 2


def test_a_copy_beyond_the_maximum_age_is_read_again(
    process: Callable[[], Store], ssm: CountedParameter, clock: HostClock
) -> None:
    process().timeline(due(-10), wait=0)
    clock.now += 300
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 1
    clock.now += 1
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 2


def test_a_copy_from_the_future_is_read_again(
    process: Callable[[], Store], ssm: CountedParameter, clock: HostClock
) -> None:
    process().timeline(due(-10), wait=0)
    clock.now -= 5  # the clock was set back
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 2


@pytest.mark.parametrize(("within", "reads"), [(0, [1, 2, 3]), (5, [1, 1, 2])])
def test_a_caller_may_ask_for_a_copy_that_is_fresh(
    within: float, reads: list[int], process: Callable[[], Store], ssm: CountedParameter, clock: HostClock
) -> None:
    seen = []
    for age in (0, 5, 1):
        clock.now += age
        process().timeline(due(-10), wait=0, within=timedelta(seconds=within))
        seen.append(ssm.reads)
    assert seen == reads


def test_before_the_instant_by_this_clock_there_is_no_answer(
    process: Callable[[], Store], ssm: CountedParameter, slept: list[float]
) -> None:
    with pytest.raises(TooEarly, match=r"clock is 2\.000 s before the run's due instant"):
        process().timeline(due(2), wait=1)
    assert ssm.reads == 0
    process().timeline(due(2), wait=10)
    assert slept == [2.0]


def test_an_outage_is_waited_out(
    process: Callable[[], Store], ssm: CountedParameter, slept: list[float]
) -> None:
    ssm.failures = 4
    assert process().timeline(due(-10), wait=60) == initial()
    assert ssm.reads == 5
    assert 12 <= sum(slept) <= 18 + 5 * 0.25  # 1 + 2 + 4 + 8 s, each a fifth more or less


def test_a_long_outage_ends_in_an_error_that_names_the_parameter(
    process: Callable[[], Store], ssm: CountedParameter, slept: list[float]
) -> None:
    ssm.failures = 1000
    with pytest.raises(OwnershipUnknown, match=r"/project/stack/ownership: AwsError: https://ssm: refused"):
        process().timeline(due(-10), wait=60)
    assert 40 < sum(slept) <= 60
    assert ssm.reads <= 10


def test_after_a_failure_nobody_on_the_host_reads_for_a_while(
    process: Callable[[], Store], ssm: CountedParameter, slept: list[float]
) -> None:
    ssm.failures = 1
    for _ in range(3):
        with pytest.raises(OwnershipUnknown, match="refused"):
            process().timeline(due(-10), wait=0)
    assert (ssm.reads, slept) == (1, [])
    time.sleep(1.2)
    assert process().timeline(due(-10), wait=0) == initial()
    assert ssm.reads == 2


def test_the_pause_grows_with_each_failure_and_ends_with_the_first_answer(
    process: Callable[[], Store], ssm: CountedParameter, clock: HostClock, slept: list[float]
) -> None:
    ssm.failures = 7
    read_at: list[float] = []
    while ssm.reads < 8:
        reads = ssm.reads
        with suppress(OwnershipUnknown):
            process().timeline(due(-10), wait=0, within=timedelta(0))
        if ssm.reads > reads:
            read_at.append(clock.now)
        time.sleep(0.1)
    pauses = [later - earlier for earlier, later in pairwise(read_at)]
    for pause, planned in zip(pauses, (1, 2, 4, 8, 10, 10, 10), strict=True):
        assert 0.8 * planned <= pause <= 1.2 * planned + 0.2
    ssm.failures = 1
    process().timeline(due(-10), wait=1.3, within=timedelta(0))  # the first pause again
    assert ssm.reads == 10


def test_what_the_host_knows_is_used_while_nobody_reads(
    process: Callable[[], Store], ssm: CountedParameter, clock: HostClock
) -> None:
    process().timeline(due(-10), wait=0)
    clock.now += 1
    ssm.failures = 1
    with pytest.raises(OwnershipUnknown):
        process().timeline(due(1), wait=0)
    assert process().timeline(due(0), wait=0) == initial()
    assert ssm.reads == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"started": "x"}',
        "[1]",
        '{"started": 1.8e9, "valid": ["no", 1, "2026-11-23T10:00:00Z"], "newest": []}',
        '{"started": 1.8e9, "valid": 7, "newest": null}',
    ],
)
def test_a_damaged_cache_is_read_again(
    process: Callable[[], Store], ssm: CountedParameter, tmp_path: Path, content: str
) -> None:
    process().timeline(due(-10), wait=0)
    [file] = (tmp_path / "cache").glob("*.json")
    file.write_text(content)
    assert process().timeline(due(-10), wait=0) == initial()
    assert ssm.reads == 2


def test_the_cache_is_readable_by_its_user_only(process: Callable[[], Store], tmp_path: Path) -> None:
    process().timeline(due(-10), wait=0)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_a_cache_that_others_could_have_written_is_not_used(
    process: Callable[[], Store], ssm: CountedParameter, tmp_path: Path
) -> None:
    process().timeline(due(-10), wait=0)
    (tmp_path / "cache").chmod(0o777)
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 2


def test_a_cache_of_another_user_is_not_used(
    process: Callable[[], Store], ssm: CountedParameter, monkeypatch: pytest.MonkeyPatch
) -> None:
    process().timeline(due(-10), wait=0)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 2


def test_an_unwritable_cache_only_costs_more_reads(
    ssm: CountedParameter, clock: HostClock, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        Store(SETTINGS, ssm, tmp_path / "file" / "cache", clock).timeline(due(-10), wait=0)
    assert ssm.reads == 2


def test_a_late_write_is_applied_as_effective(clock: HostClock, tmp_path: Path) -> None:
    switched = initial().switched("green", due(-60), 2)
    read = always(switched, 2, modified=due(-30))
    timeline = Store(SETTINGS, read, tmp_path / "cache", clock).timeline(due(-1), wait=0)
    assert [timeline.owner(due(seconds)) for seconds in (-26, -25)] == ["blue", "green"]


# --- never back to an older version ---

LOST = (dumped(initial()), 3, due(-60))
AGAIN = valid(dumped(initial("green")), 1, due(-60))
"""The parameter deleted, and created again a minute ago."""


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize(
    ("seen", "then", "refused"),
    [
        (V2, V1, "version 1 of .* is older than version 2 of .* already seen"),
        (V2, Answer(V1.valid, LOST), "version 1 of"),
        (AGAIN, V2, "version 2 of .* is older than version 1 of"),
        (V1, V2, ""),
        (V2, AGAIN, ""),
        (V2, Answer(V2.valid, LOST), ""),
        (V1, valid(V2.valid[0], 2, due(-3601)), ""),
        (V2, valid(V1.valid[0], 1, due(-1799)), "version 1 of"),
    ],
    ids=[
        "an older version",
        "a history that lags",
        "the parameter before it was created again",
        "a newer version",
        "created again",
        "a lost race",
        "newer by a clock that is late",
        "older by a clock that is ahead",
    ],
)
def test_a_host_never_goes_back_to_an_older_version(
    seen: Answer,
    then: Answer,
    refused: str,
    same_process: bool,
    host: Host,
) -> None:
    host.answer = seen
    first = host.process()
    before = first.timeline(due(0), wait=0)
    host.seconds += 20
    host.answer = then
    second = first if same_process else host.process()
    if refused:
        with pytest.raises(OwnershipUnknown, match=refused):
            second.timeline(due(10), wait=0)
        assert second.timeline(due(0), wait=0) == before
    else:
        assert second.timeline(due(10), wait=0).base_version == then.valid[1] - 1


def test_an_answer_that_comes_late_does_not_replace_a_newer_one(host: Host) -> None:
    """One process began to read before another one, and ends after it."""
    other = host.process()

    def meanwhile() -> None:
        host.seconds += 7  # longer than its turn lasts
        host.answer = V2
        other.timeline(due(3), wait=0)

    host.seconds, host.meanwhile = 10, meanwhile
    for reader in (host.process(), host.process()):
        assert reader.timeline(due(3), wait=0).base_version == 1
