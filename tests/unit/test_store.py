"""Reading the timeline: how old a copy may be, what happens without SSM, and who may be trusted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bluegreen.settings import Settings
from bluegreen.store import OwnershipUnknown, Parameter, Store
from bluegreen.timeline import Reading, Timeline, TimelineError
from botocore.exceptions import EndpointConnectionError
from botocore.session import Session
from botocore.stub import Stubber

SETTINGS = Settings("blue", "/project/stack/ownership", max_age=timedelta(seconds=300))
NOW = 1_800_000_000.0
BLUE = Reading(Timeline.initial(), 1, datetime.fromtimestamp(NOW - 9999, UTC))


def due(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


class Clock:
    """A host's clock that only moves when told."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Ssm:
    """The parameter: counts its reads, and fails as often as told."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reads = 0
        self.failures = 0
        self.takes = 0.0

    def __call__(self) -> Reading:
        self.reads += 1
        self.clock.now += self.takes
        if self.failures:
            self.failures -= 1
            raise EndpointConnectionError(endpoint_url="https://ssm")
        return BLUE


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ssm(clock: Clock) -> Ssm:
    return Ssm(clock)


@pytest.fixture
def process(ssm: Ssm, clock: Clock, tmp_path: Path) -> Callable[[], Store]:
    """A new process of the same host: its own memory, the shared cache."""
    return lambda: Store(SETTINGS, ssm, tmp_path / "cache", clock)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[float]:
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


def test_one_read_serves_all_processes_of_a_host(process: Callable[[], Store], ssm: Ssm) -> None:
    for _ in range(5):
        assert process().timeline(due(-10), wait=0) == Timeline.initial()
    assert ssm.reads == 1


def test_a_copy_serves_instants_up_to_the_start_of_its_fetch_only(
    process: Callable[[], Store], ssm: Ssm, clock: Clock
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
    process: Callable[[], Store], ssm: Ssm, clock: Clock
) -> None:
    process().timeline(due(-10), wait=0)
    clock.now += 300
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 1
    clock.now += 1
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 2


def test_a_copy_from_the_future_is_read_again(process: Callable[[], Store], ssm: Ssm, clock: Clock) -> None:
    process().timeline(due(-10), wait=0)
    clock.now -= 5  # the clock was set back
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 2


def test_asking_afresh_reads_again(process: Callable[[], Store], ssm: Ssm, clock: Clock) -> None:
    process().timeline(due(-10), wait=0)
    clock.now += 1
    process().timeline(due(-10), wait=0, afresh=True)
    assert ssm.reads == 2


def test_before_the_instant_by_this_clock_there_is_no_answer(
    process: Callable[[], Store], ssm: Ssm, slept: list[float]
) -> None:
    with pytest.raises(OwnershipUnknown, match=r"clock is 2\.000 s before the instant the run is due"):
        process().timeline(due(2), wait=1)
    assert ssm.reads == 0
    process().timeline(due(2), wait=10)
    assert slept == [2.0]


def test_an_outage_is_waited_out(process: Callable[[], Store], ssm: Ssm, slept: list[float]) -> None:
    ssm.failures = 4
    assert process().timeline(due(-10), wait=60) == Timeline.initial()
    assert len(slept) == 4
    assert sorted(slept) == slept


def test_a_long_outage_ends_in_an_error_that_names_the_parameter(
    process: Callable[[], Store], ssm: Ssm, slept: list[float]
) -> None:
    ssm.failures = 1000
    with pytest.raises(
        OwnershipUnknown, match=r"/project/stack/ownership: EndpointConnectionError.*https://ssm"
    ):
        process().timeline(due(-10), wait=60)
    assert 40 < sum(slept) <= 60


def test_the_scheduler_asks_once_and_does_not_wait(
    process: Callable[[], Store], ssm: Ssm, slept: list[float]
) -> None:
    ssm.failures = 1
    with pytest.raises(OwnershipUnknown):
        process().timeline(due(-10), wait=0)
    assert (ssm.reads, slept) == (1, [])


@pytest.mark.parametrize("content", ["", "{}", '{"started": "x"}', "[1]", '{"started": 9e9, "value": "no"}'])
def test_a_damaged_cache_is_read_again(
    process: Callable[[], Store], ssm: Ssm, tmp_path: Path, content: str
) -> None:
    process().timeline(due(-10), wait=0)
    [file] = (tmp_path / "cache").glob("*.json")
    file.write_text(content)
    assert process().timeline(due(-10), wait=0) == Timeline.initial()
    assert ssm.reads == 2


def test_the_cache_is_readable_by_its_user_only(process: Callable[[], Store], tmp_path: Path) -> None:
    process().timeline(due(-10), wait=0)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_a_cache_that_others_could_have_written_is_not_used(
    process: Callable[[], Store], ssm: Ssm, tmp_path: Path
) -> None:
    process().timeline(due(-10), wait=0)
    (tmp_path / "cache").chmod(0o777)
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 2


def test_a_cache_of_another_user_is_not_used(
    process: Callable[[], Store], ssm: Ssm, monkeypatch: pytest.MonkeyPatch
) -> None:
    process().timeline(due(-10), wait=0)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    process().timeline(due(-10), wait=0)
    assert ssm.reads == 2


def test_an_unwritable_cache_only_costs_more_reads(ssm: Ssm, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        Store(SETTINGS, ssm, tmp_path / "file" / "cache", clock).timeline(due(-10), wait=0)
    assert ssm.reads == 2


def test_a_late_write_is_applied_as_effective(clock: Clock, tmp_path: Path) -> None:
    switched = Timeline.initial().switched("green", due(-60), 2)
    reading = Reading(switched, 2, modified=due(-30))
    timeline = Store(SETTINGS, lambda: reading, tmp_path / "cache", clock).timeline(due(-1), wait=0)
    assert [timeline.owner(due(seconds)) for seconds in (-26, -25)] == ["blue", "green"]


# --- the parameter itself ---


@pytest.fixture
def parameter() -> tuple[Parameter, Stubber]:
    client: Any = Session().create_client(
        "ssm", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    parameter = Parameter(SETTINGS.parameter, timeout=1)
    parameter._client = client
    return parameter, Stubber(client)


def record(timeline: Timeline, version: int) -> dict[str, Any]:
    return {"Value": timeline.dump(), "Version": version, "LastModifiedDate": due(version)}


def test_a_valid_value_takes_one_request(parameter: tuple[Parameter, Stubber]) -> None:
    reader, stub = parameter
    answer = {"Parameter": record(Timeline.initial(), 1)}
    stub.add_response("get_parameter", answer, {"Name": SETTINGS.parameter})
    with stub:
        assert reader.read() == Reading(Timeline.initial(), 1, due(1))
    stub.assert_no_pending_responses()


def test_when_a_value_lost_its_race_an_older_one_stands(
    parameter: tuple[Parameter, Stubber],
) -> None:
    reader, stub = parameter
    first = Timeline.initial()
    winner = first.switched("green", due(60), 2)
    loser = first.switched("blue", due(60), 2)
    stub.add_response("get_parameter", {"Parameter": record(loser, 3)})
    stub.add_response("get_parameter_history", {"Parameters": [record(first, 1)], "NextToken": "more"})
    stub.add_response("get_parameter_history", {"Parameters": [record(winner, 2), record(loser, 3)]})
    with stub:
        assert reader.read() == Reading(winner, 2, due(2))
    stub.assert_no_pending_responses()


def test_without_any_valid_version_the_reader_says_why(parameter: tuple[Parameter, Stubber]) -> None:
    reader, stub = parameter
    broken = {"Value": "?", "Version": 1, "LastModifiedDate": due(0)}
    stub.add_response("get_parameter", {"Parameter": broken})
    stub.add_response("get_parameter_history", {"Parameters": [broken]})
    with stub, pytest.raises(TimelineError, match=r"version 1: .* not JSON"):
        reader.read()
