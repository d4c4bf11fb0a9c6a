"""Reading the timeline: how old a copy may be, what happens without SSM, and who may be trusted."""

from __future__ import annotations

import gc
import os
import pickle
import random
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bluegreen import aws
from bluegreen import store as store_module
from bluegreen.aws import AwsError
from bluegreen.document import dump, latest_valid
from bluegreen.store import SHAPE, Answer, OwnershipUnknown, Parameter, Store, TooEarly
from bluegreen.timeline import TimelineError

from tests.fakes.airflow import fleet
from tests.fakes.airflow.fleet import Fleet, VirtualTime
from tests.fakes.airflow.gate import always
from tests.fakes.timeline import dumped, gate_settings, initial

SETTINGS = gate_settings("blue", parameter="/project/stack/ownership", max_age=timedelta(seconds=300))
NOW = 1_800_000_000.0
BLUE = always(initial(), 1, datetime.fromtimestamp(NOW - 9999, UTC))


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def due(seconds: float) -> datetime:
    return moment(NOW + seconds)


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

LOST = dumped(initial())
V1 = (dumped(initial()), 1, due(-3600))
V2 = (dumped(initial().switched("green", due(-1800), 2)), 2, due(-1800))
AGAIN = (dumped(initial("green")), 1, due(-60))
"""The parameter deleted, and created again a minute ago."""


class LaggingParameter:
    """Answers with whatever it is set to."""

    def __init__(self) -> None:
        self.answer = Answer(V2, V2)

    def __call__(self, known: Answer | None) -> Answer:
        return self.answer


@pytest.fixture
def lagging() -> LaggingParameter:
    return LaggingParameter()


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize(
    ("seen", "then", "refused"),
    [
        (Answer(V2, V2), Answer(V1, V1), "version 1 of .* is older than version 2 of .* already seen"),
        (Answer(V2, V2), Answer(V1, (LOST, 3, due(-60))), "version 1 of"),
        (Answer(AGAIN, AGAIN), Answer(V2, V2), "version 2 of .* is older than version 1 of"),
        (Answer(V1, V1), Answer(V2, V2), ""),
        (Answer(V2, V2), Answer(AGAIN, AGAIN), ""),
        (Answer(V2, V2), Answer(V2, (LOST, 3, due(-60))), ""),
        (Answer(V1, V1), Answer(*[(V2[0], 2, due(-3601))] * 2), ""),
        (Answer(V2, V2), Answer(*[(V1[0], 1, due(-1799))] * 2), "version 1 of"),
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
    lagging: LaggingParameter,
    clock: HostClock,
    tmp_path: Path,
) -> None:
    lagging.answer = seen
    first = Store(SETTINGS, lagging, tmp_path / "cache", clock)
    before = first.timeline(due(0), wait=0)
    clock.now += 20
    lagging.answer = then
    second = first if same_process else Store(SETTINGS, lagging, tmp_path / "cache", clock)
    if refused:
        with pytest.raises(OwnershipUnknown, match=refused):
            second.timeline(due(10), wait=0)
        assert second.timeline(due(0), wait=0) == before
    else:
        assert second.timeline(due(10), wait=0).base_version == then.valid[1] - 1


def test_an_answer_that_comes_late_does_not_replace_a_newer_one(
    lagging: LaggingParameter, clock: HostClock, tmp_path: Path
) -> None:
    """One process began to read before another one, and ends after it."""
    other = Store(SETTINGS, lagging, tmp_path / "cache", clock)

    def slow(_known: Answer | None) -> Answer:
        clock.now += 7  # longer than its turn lasts
        other.timeline(due(3), wait=0)
        return Answer(V1, V1)

    clock.now += 10
    process = Store(SETTINGS, slow, tmp_path / "cache", clock)
    newcomer = Store(SETTINGS, lagging, tmp_path / "cache", clock)
    for reader in (process, newcomer):
        assert reader.timeline(due(3), wait=0).base_version == 1


# --- what stands in an object ---

CROWDED = initial().switched("green", due(-1800), 2, known=[f"a_serial_dag_{n:04}" for n in range(900)])
DOCUMENT = dump(CROWDED, due(0))


@pytest.fixture
def pointing(lagging: LaggingParameter, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The parameter points to an object; the counter has what is asked of S3, and "fail" to let that fail."""
    asked: Counter[str] = Counter()

    def request(service: str, method: str, path: str, **more: Any) -> bytes:
        asked[path] += 1
        if asked["fail"]:
            raise AwsError("https://log.s3: 503 SlowDown")
        assert (service, method, more["bucket"]) == ("s3", "GET", "log")
        return (DOCUMENT.content or "").encode()

    monkeypatch.setattr(aws, "request", request)
    lagging.answer = Answer(*[(DOCUMENT.value, 2, due(-1800))] * 2)
    return asked


def test_the_content_is_read_once_for_all_processes_of_a_host(
    pointing: Counter[str], lagging: LaggingParameter, clock: HostClock, tmp_path: Path
) -> None:
    for _ in range(3):
        clock.now += 100
        for _ in range(2):
            process = Store(SETTINGS, lagging, tmp_path / "cache", clock)
            assert process.timeline(moment(clock.now), wait=0).known == CROWDED.known
    assert pointing == {f"/ownership/{DOCUMENT.name}.json": 1}


def test_without_the_content_there_is_no_verdict(
    pointing: Counter[str], lagging: LaggingParameter, clock: HostClock, tmp_path: Path
) -> None:
    pointing["fail"] = 1
    with pytest.raises(OwnershipUnknown, match=f"s3://log/ownership/{DOCUMENT.name}.json: .*503 SlowDown"):
        Store(SETTINGS, lagging, tmp_path / "cache", clock).timeline(due(0), wait=0)


def test_a_look_at_the_hosts_copy_never_asks_s3(
    pointing: Counter[str], lagging: LaggingParameter, clock: HostClock, tmp_path: Path
) -> None:
    """A scheduler looks often, and outside of the thread that limits what may hang."""
    Store(SETTINGS, lagging, tmp_path / "cache", clock).timeline(due(0), wait=0)
    pointing["fail"] = 1
    for kept in ("*.timeline", "ownership-*"):
        for file in (tmp_path / "cache").glob(kept):
            file.unlink()
    process = Store(SETTINGS, lagging, tmp_path / "cache", clock)
    before = pointing.total()
    assert process._good_copy(NOW) is None
    assert pointing.total() == before


@pytest.mark.parametrize(
    "damage", [b"", b"\x80\x05.", pickle.dumps((SHAPE[1:], None, None)), pickle.dumps(7)]
)
def test_a_timeline_that_the_host_keeps_must_be_of_this_version_and_this_code(
    damage: bytes, pointing: Counter[str], lagging: LaggingParameter, clock: HostClock, tmp_path: Path
) -> None:
    Store(SETTINGS, lagging, tmp_path / "cache", clock).timeline(due(0), wait=0)
    [file] = (tmp_path / "cache").glob("*.timeline")
    good = file.read_bytes()
    file.write_bytes(damage)
    assert Store(SETTINGS, lagging, tmp_path / "cache", clock).timeline(due(0), wait=0).known == CROWDED.known
    assert file.read_bytes() == good
    clock.now += 1
    lagging.answer = Answer(AGAIN, AGAIN)
    assert Store(SETTINGS, lagging, tmp_path / "cache", clock).timeline(due(1), wait=0).known == {}


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_while_a_timeline_is_read(
    enabled: bool,
    pointing: Counter[str],
    lagging: LaggingParameter,
    clock: HostClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a forked process that would copy the parent's memory."""
    collecting: list[bool] = []

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*arguments: Any) -> Any:
            collecting.append(gc.isenabled())
            return work(*arguments)

        return watching

    monkeypatch.setattr(store_module, "latest_valid", watched(latest_valid))
    monkeypatch.setattr(store_module, "_load_timeline", watched(store_module._load_timeline))
    if not enabled:
        gc.disable()
    try:
        for _ in range(2):
            Store(SETTINGS, lagging, tmp_path / "cache", clock).timeline(due(0), wait=0)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert collecting == [False] * 3  # nothing kept, parsed; kept


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
    with pytest.raises(OwnershipUnknown, match="3 earlier reads still hang"):
        store.timeline(due(-10), wait=0)
    assert all(thread.daemon for thread in store._threads), "the process could not end"
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


def test_an_invalid_newest_version_costs_each_host_one_look_at_the_history(
    clock: HostClock, tmp_path: Path
) -> None:
    ssm = Quota(clock, (dumped(FIRST), 1), (dumped(WINNER), 2), (dumped(LOSER), 3))
    for task in range(50):
        clock.now += 1
        host = tmp_path / f"host-{task % 5}"
        process = Store(SETTINGS, ssm.parameter().read, host, clock)  # as each task has its own
        assert process.timeline(moment(clock.now - 0.01), wait=0).owner(due(0)) == "green"
    assert ssm.calls == {"GetParameter": 50, "GetParameterHistory": 5}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Two environments of the greatest size, and an SSM that has just so many requests a second for them."""
    random.seed(11)
    yield lambda retries=0, **quota: Fleet(tmp_path, fleet.Quota(VirtualTime(), **quota), retries=retries)
    random.seed()


@pytest.mark.parametrize(("every", "average"), [(60, 4), (1, 15)])
def test_the_largest_environments_ask_less_than_half_of_what_ssm_allows(
    every: int, average: float, hosts: Callable[..., Fleet]
) -> None:
    """2,000 tasks a minute, 1,000 of them at once, on 60 hosts: due on the minute, or at any second."""
    busy = hosts()
    busy.minutes(1, every=every)
    assert len(busy.ssm.asked) / 60 < average
    assert busy.ssm.busiest(5) < 20
    assert busy.outcomes["task: verdict"] == 2000
    assert max(busy.waits) < 7


def test_throttling_delays_tasks_and_makes_nobody_ask_more(hosts: Callable[..., Fleet]) -> None:
    """Another program leaves 5 requests a second."""
    throttled = hosts(rate=5, burst=5)
    throttled.minutes(1, tasks=1000)
    assert throttled.ssm.refused > 10
    assert throttled.ssm.busiest(5) < 20
    assert throttled.outcomes["task: verdict"] == 1000


def test_retries_in_an_outage_do_not_add_up(hosts: Callable[..., Fleet]) -> None:
    down = hosts(outage=(fleet.START, fleet.START + 75), retries=3)
    down.minutes(1, tasks=200)
    assert down.ssm.busiest(5) < 20
    assert down.outcomes["task: no verdict"] > 50
    assert down.outcomes["task: verdict"] == 200, "each has a verdict in the end"


def test_one_task_alone_asks_at_most_ten_times_in_a_minute(tmp_path: Path) -> None:
    """As did each of the tasks of a host before."""
    down = Fleet(tmp_path, fleet.Quota(VirtualTime(), rate=0, burst=0), workers=1, schedulers=0)
    down.minutes(1, tasks=40)
    assert down.outcomes == {"task: no verdict": 40}
    assert len(down.ssm.asked) <= 2 * 16  # two hosts, two minutes: not 40 tasks


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


def test_the_newest_version_is_the_one_with_the_highest_number_whatever_the_clocks_say(
    clock: HostClock,
) -> None:
    ssm = Quota(clock, (dumped(FIRST), 1), (dumped(WINNER), 2), (dumped(LOSER), 3))
    ssm.versions[2] = (*ssm.versions[2][:2], ssm.versions[1][2])
    answer = ssm.parameter().read(None)
    assert (answer.valid[1], answer.newest[1]) == (2, 3)


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
        assert more.get("MaxResults") == (50 if action == "GetParameterHistory" else None)  # SSM's limit
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
