"""What is asked of SSM: how often, and what an answer means."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bluegreen.store import Answer, Parameter, Store
from bluegreen.timeline import TimelineError

from tests.fakes.airflow import fleet
from tests.fakes.airflow.fleet import Fleet, VirtualTime
from tests.fakes.airflow.host import NOW, SETTINGS, Host, due
from tests.fakes.timeline import dumped, initial


class Quota:
    """The parameter of many hosts: counts what they ask of SSM."""

    def __init__(self, host: Host, *versions: tuple[str, int]) -> None:
        self.host = host
        self.calls: Counter[str] = Counter()
        self.versions = [(value, version, due(version - 999)) for value, version in versions]

    def parameter(self) -> Parameter:
        parameter = Parameter(SETTINGS.parameter, timeout=1)
        parameter._ask = self.ask  # type: ignore[method-assign]
        return parameter

    def ask(self, action: str, **_: Any) -> dict[str, Any]:
        self.calls[action] += 1
        self.host.seconds += 0.02
        versions = [
            {"Value": value, "Version": version, "LastModifiedDate": modified.timestamp()}
            for value, version, modified in self.versions
        ]
        return {"Parameter": versions[-1]} if action == "GetParameter" else {"Parameters": versions}


FIRST = initial()
WINNER = FIRST.switched("green", due(-500), 2)
LOSER = FIRST.switched("green", due(-400), 2)


def test_an_invalid_newest_version_costs_each_host_one_look_at_the_history(
    host: Host, tmp_path: Path
) -> None:
    ssm = Quota(host, (dumped(FIRST), 1), (dumped(WINNER), 2), (dumped(LOSER), 3))
    for task in range(50):
        host.seconds += 1
        folder = tmp_path / f"host-{task % 5}"
        process = Store(SETTINGS, ssm.parameter().read, folder, host.clock)  # as each task has its own
        assert process.timeline(due(host.seconds - 0.01), wait=0).owner(due(0)) == "green"
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


def test_tasks_of_one_instant_cost_one_read_for_each_host(host: Host, tmp_path: Path) -> None:
    ssm = Quota(host, (dumped(FIRST), 1))
    for task in range(500):
        Store(SETTINGS, ssm.parameter().read, tmp_path / f"host-{task % 5}", host.clock).timeline(
            due(-1), wait=0
        )
    assert ssm.calls == {"GetParameter": 5}


# --- the parameter itself ---


def test_a_valid_value_takes_one_request(host: Host) -> None:
    ssm = Quota(host, (dumped(FIRST), 1))
    answer = ssm.parameter().read(None)
    assert answer == Answer((dumped(FIRST), 1, due(-998)), (dumped(FIRST), 1, due(-998)))
    assert ssm.calls == {"GetParameter": 1}


def test_when_a_value_lost_its_race_an_older_one_stands(host: Host) -> None:
    ssm = Quota(host, (dumped(FIRST), 1), (dumped(WINNER), 2), (dumped(LOSER), 3))
    answer = ssm.parameter().read(None)
    assert (answer.valid[1], answer.newest[1]) == (2, 3)


def test_the_history_is_read_again_when_the_newest_version_is_another_one(host: Host) -> None:
    ssm = Quota(host, (dumped(FIRST), 1), (dumped(LOSER), 5))
    known = ssm.parameter().read(None)
    ssm.parameter().read(known)
    assert ssm.calls["GetParameterHistory"] == 1
    ssm.versions.append((dumped(LOSER), 6, due(-1)))
    ssm.parameter().read(known)
    assert ssm.calls["GetParameterHistory"] == 2


def test_the_newest_version_is_the_one_with_the_highest_number_whatever_the_clocks_say(
    host: Host,
) -> None:
    ssm = Quota(host, (dumped(FIRST), 1), (dumped(WINNER), 2), (dumped(LOSER), 3))
    ssm.versions[2] = (*ssm.versions[2][:2], ssm.versions[1][2])
    answer = ssm.parameter().read(None)
    assert (answer.valid[1], answer.newest[1]) == (2, 3)


def test_a_history_that_lags_is_not_remembered(host: Host) -> None:
    ssm = Quota(host, (dumped(FIRST), 1), (dumped(WINNER), 2), (dumped(LOSER), 3))
    late = Quota(host, (dumped(FIRST), 1))
    reader = ssm.parameter()
    reader._ask = lambda action, **_: (ssm if action == "GetParameter" else late).ask(action)  # type: ignore[method-assign]
    known = reader.read(None)
    assert known.valid[1] == 1
    assert ssm.parameter().read(known).valid[1] == 2


def test_a_long_history_is_read_page_by_page_and_an_endless_one_is_not(host: Host) -> None:
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


def test_without_any_valid_version_the_reader_says_why(host: Host) -> None:
    ssm = Quota(host, ("?", 1))
    with pytest.raises(TimelineError, match=r"version 1: .* not JSON"):
        ssm.parameter().read(None)
