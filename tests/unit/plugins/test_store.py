"""Reading the timeline: how old a copy may be, what happens without SSM, and who may be trusted."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bluegreen import store as store_module
from bluegreen.aws import AwsError
from bluegreen.store import Answer, OwnershipUnknown, Parameter, Store, TooEarly
from bluegreen.timeline import TimelineError

from tests.fakes.airflow.gate import always
from tests.fakes.timeline import dumped, gate_settings, initial

SETTINGS = gate_settings("blue", parameter="/project/stack/ownership", max_age=timedelta(seconds=300))
NOW = 1_800_000_000.0
BLUE = always(initial(), 1, datetime.fromtimestamp(NOW - 9999, UTC))


def due(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


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


def test_asking_afresh_reads_again(
    process: Callable[[], Store], ssm: CountedParameter, clock: HostClock
) -> None:
    process().timeline(due(-10), wait=0)
    clock.now += 1
    process().timeline(due(-10), wait=0, afresh=True)
    assert ssm.reads == 2


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
    assert len(slept) == 4
    assert sorted(slept) == slept


def test_a_long_outage_ends_in_an_error_that_names_the_parameter(
    process: Callable[[], Store], ssm: CountedParameter, slept: list[float]
) -> None:
    ssm.failures = 1000
    with pytest.raises(OwnershipUnknown, match=r"/project/stack/ownership: AwsError: https://ssm: refused"):
        process().timeline(due(-10), wait=60)
    assert 40 < sum(slept) <= 60


def test_the_scheduler_asks_once_and_after_a_failure_not_again_for_a_while(
    process: Callable[[], Store], ssm: CountedParameter, slept: list[float]
) -> None:
    ssm.failures = 1
    store = process()
    for _ in range(3):
        with pytest.raises(OwnershipUnknown, match="refused"):
            store.timeline(due(-10), wait=0)
    assert (ssm.reads, slept) == (1, [])
    time.sleep(30)
    assert store.timeline(due(-10), wait=0) == initial()
    assert ssm.reads == 2


def test_what_another_process_has_read_is_used_while_the_scheduler_does_not_ask(
    process: Callable[[], Store], ssm: CountedParameter
) -> None:
    ssm.failures = 1
    scheduler = process()
    with pytest.raises(OwnershipUnknown):
        scheduler.timeline(due(-10), wait=0)
    process().timeline(due(-10), wait=0)
    assert scheduler.timeline(due(-10), wait=0) == initial()
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


# --- whatever hangs ---


class HangingParameter:
    """A parameter whose reads hang until they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.ended = threading.Event()
        self.reads = 0

    def __call__(self, known: Answer | None) -> Answer:
        self.reads += 1
        assert self.let_go.wait(60)
        self.ended.set()
        return BLUE(known)


@pytest.fixture
def hanging() -> Iterator[HangingParameter]:
    hanging = HangingParameter()
    yield hanging
    hanging.let_go.set()


def seconds_until_unknown(store: Store) -> float:
    started = time.monotonic()
    with pytest.raises(OwnershipUnknown, match=r"no answer within 0\.9 s|still hang"):
        store.timeline(due(-10), wait=0)
    return time.monotonic() - started


def test_a_scheduler_is_not_held_up_and_a_late_answer_serves_the_next_call(
    hanging: HangingParameter, clock: HostClock, tmp_path: Path
) -> None:
    store = Store(SETTINGS, hanging, tmp_path / "cache", clock)
    assert seconds_until_unknown(store) < 2
    hanging.let_go.set()
    for thread in store._threads:
        thread.join(10)
    assert store.timeline(due(-10), wait=0) == initial()
    assert Store(SETTINGS, hanging, tmp_path / "cache", clock).timeline(due(-10), wait=0)
    assert hanging.reads == 1


def test_hanging_reads_do_not_pile_up(
    hanging: HangingParameter, clock: HostClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LAST_TRY_SECONDS", 0.01)
    store = Store(SETTINGS, hanging, tmp_path / "cache", clock, pause=0)
    for _ in range(9):
        with pytest.raises(OwnershipUnknown):
            store.timeline(due(-10), wait=0)
    assert hanging.reads == store_module.HANGING_READS
    hanging.let_go.set()
    for thread in store._threads:
        thread.join(10)
    assert store.timeline(due(-10), wait=0) == initial()


def test_a_forked_process_is_not_bothered_by_what_hangs_in_its_parent(
    hanging: HangingParameter, clock: HostClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LAST_TRY_SECONDS", 0.01)
    store = Store(SETTINGS, hanging, tmp_path / "cache", clock, pause=0)
    for _ in range(store_module.HANGING_READS):
        with pytest.raises(OwnershipUnknown):
            store.timeline(due(-10), wait=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about forking beside threads
        child = os.fork()
    if not child:
        store._read = BLUE
        monkeypatch.setattr(store_module, "LAST_TRY_SECONDS", 5)
        os._exit(0 if store.timeline(due(-10), wait=0) == initial() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- how often ---


class Quota:
    """The parameter of many hosts: counts what they ask of SSM."""

    def __init__(self, clock: HostClock, *versions: tuple[str, int]) -> None:
        self.clock = clock
        self.calls: Counter[str] = Counter()
        self.versions = [(value, version, due(version - 999)) for value, version in versions]

    def parameter(self) -> Parameter:
        parameter = Parameter(SETTINGS.parameter, timeout=1)
        parameter._ask = self.ask  # type: ignore[method-assign]
        return parameter

    def ask(self, action: str, **_: Any) -> dict[str, Any]:
        self.calls[action] += 1
        self.clock.now += 0.02
        versions = [
            {"Value": value, "Version": version, "LastModifiedDate": modified.timestamp()}
            for value, version, modified in self.versions
        ]
        return {"Parameter": versions[-1]} if action == "GetParameter" else {"Parameters": versions}


FIRST = initial()
WINNER = FIRST.switched("green", due(-500), 2)
LOSER = FIRST.switched("green", due(-400), 2)


@pytest.mark.parametrize("newest_is_valid", [True, False])
def test_500_tasks_a_minute_stay_far_below_ssms_limits(
    newest_is_valid: bool, clock: HostClock, tmp_path: Path
) -> None:
    versions = [(dumped(FIRST), 1), (dumped(WINNER), 2), (dumped(LOSER), 3)][: 2 if newest_is_valid else 3]
    ssm = Quota(clock, *versions)
    start = clock.now
    for task in range(500):
        clock.now = max(clock.now, start + task * 60 / 500)
        host = tmp_path / f"host-{task % 5}"
        process = Store(SETTINGS, ssm.parameter().read, host, clock)  # as each task has its own
        instant = datetime.fromtimestamp(clock.now - 0.01, UTC)  # no two tasks are due together
        assert process.timeline(instant, wait=0, afresh=task % 10 == 0).owner(due(0)) == "green"
    assert clock.now - start < 61
    assert ssm.calls["GetParameter"] <= 500  # 8 a second; 40 are allowed
    assert ssm.calls["GetParameterHistory"] == (0 if newest_is_valid else 5)  # one for each host


def test_tasks_of_one_instant_cost_one_read_for_each_host(clock: HostClock, tmp_path: Path) -> None:
    ssm = Quota(clock, (dumped(FIRST), 1))
    for task in range(500):
        Store(SETTINGS, ssm.parameter().read, tmp_path / f"host-{task % 5}", clock).timeline(due(-1), wait=0)
    assert ssm.calls == {"GetParameter": 5}


# --- the parameter itself ---


def test_a_valid_value_takes_one_request(clock: HostClock) -> None:
    ssm = Quota(clock, (dumped(FIRST), 1))
    answer = ssm.parameter().read(None)
    assert answer == Answer((dumped(FIRST), 1, due(-998)), (dumped(FIRST), 1, due(-998)))
    assert ssm.calls == {"GetParameter": 1}


def test_when_a_value_lost_its_race_an_older_one_stands(clock: HostClock) -> None:
    ssm = Quota(clock, (dumped(FIRST), 1), (dumped(WINNER), 2), (dumped(LOSER), 3))
    answer = ssm.parameter().read(None)
    assert (answer.valid[1], answer.newest[1]) == (2, 3)


def test_the_history_is_read_again_when_the_newest_version_is_another_one(clock: HostClock) -> None:
    ssm = Quota(clock, (dumped(FIRST), 1), (dumped(LOSER), 5))
    known = ssm.parameter().read(None)
    ssm.parameter().read(known)
    assert ssm.calls["GetParameterHistory"] == 1
    ssm.versions.append((dumped(LOSER), 6, due(-1)))
    ssm.parameter().read(known)
    assert ssm.calls["GetParameterHistory"] == 2


def test_a_history_that_lags_is_not_remembered(clock: HostClock) -> None:
    ssm = Quota(clock, (dumped(FIRST), 1), (dumped(WINNER), 2), (dumped(LOSER), 3))
    late = Quota(clock, (dumped(FIRST), 1))
    reader = ssm.parameter()
    reader._ask = lambda action, **_: (ssm if action == "GetParameter" else late).ask(action)  # type: ignore[method-assign]
    known = reader.read(None)
    assert known.valid[1] == 1
    assert ssm.parameter().read(known).valid[1] == 2


def test_a_long_history_is_read_page_by_page_and_an_endless_one_is_not(clock: HostClock) -> None:
    asked: list[Any] = []

    def ask(action: str, **more: Any) -> dict[str, Any]:
        asked.append(more.get("NextToken"))
        record = {"Value": dumped(LOSER), "Version": 9, "LastModifiedDate": NOW}
        if action == "GetParameter":
            return {"Parameter": record}
        return {"Parameters": [record], "NextToken": f"page {len(asked)}"}

    reader = Parameter(SETTINGS.parameter, timeout=1)
    reader._ask = ask  # type: ignore[method-assign]
    with pytest.raises(TimelineError, match="version 9 is based on version 1, not 8"):
        reader.read(None)
    assert asked == [None, None, *(f"page {number}" for number in range(2, 11))]


def test_without_any_valid_version_the_reader_says_why(clock: HostClock) -> None:
    ssm = Quota(clock, ("?", 1))
    with pytest.raises(TimelineError, match=r"version 1: .* not JSON"):
        ssm.parameter().read(None)
