"""`--wait`: which final states are copied to mirrors, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from mwaactl.airflow.models import Run
from mwaactl.switching.drain import FEW, MANY, MIRROR_PAUSE, DrainProgress, wait_until_drained
from mwaactl.switching.mirrors import PER_DAG, TRIES, MirrorResult, UncopiedRun
from tests.fakes.airflow.schedule import NAMES, ScheduledAirflows, Work, run_answer
from tests.fakes.aws.clients import LEAD, FakeClients, deployment
from tests.fakes.clock import START, at
from tests.fakes.mwaactl.mirrors import FakeMirrorCopy
from tests.fakes.mwaactl.switches import switched

BLUE, GREEN = NAMES["blue"], NAMES["green"]


def waited(aws: FakeClients, **options: Any) -> DrainProgress:
    return wait_until_drained(deployment(aws), "green", **{"timeout": 1000, **options})


def listings(aws: FakeClients, airflows: ScheduledAirflows, seconds: float = 0) -> list[float]:
    """Grows by the time of each listing of blue's runs by their due instants, which takes `seconds`."""
    asked: list[float] = []
    answer = airflows._runs

    def listed(side: str, body: dict[str, Any]) -> dict[str, Any]:
        if "run_after_gte" in body and side == "blue":
            asked.append(aws.ssm.clock.seconds)
            aws.ssm.clock.forward(seconds)
        return answer(side, body)

    airflows._runs = listed  # type: ignore[method-assign]
    return asked


def unlike(run: Run) -> UncopiedRun:
    return UncopiedRun(dag_id=run.dag_id, run_id=run.run_id, due=START, reason="unlike", final=True)


def missing(run: Run) -> UncopiedRun:
    return UncopiedRun(dag_id=run.dag_id, run_id=run.run_id, due=START, reason="green has no run for it")


# --- which ones ---


def test_what_the_target_executes_meanwhile_is_not_copied_back(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    """Nothing on the old side looks at it any more."""
    works = {"quick": Work(30, 1, alone=False), "long": Work(6000, 300, alone=False)}
    ScheduledAirflows(aws, works, bare=True)
    switched(aws)
    assert waited(aws).finished
    assert sorted(mirrors.copied) == [(BLUE, "long", START), (BLUE, "quick", START)]


def test_a_held_dags_runs_are_copied_before_it_moves(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    """A run that was due after the switch and ended while nobody waited: sensors on the target see it."""
    ScheduledAirflows(aws, {"etl": Work(60, 20, odd=400)}, bare=True)
    switched(aws)
    aws.ssm.clock.forward(500)  # the runs of 0 and 60 have ended, the others queue up
    progress = waited(aws, timeout=0)
    assert [dag.dag_id for dag in progress.held] == ["etl"]
    assert mirrors.copied == [(BLUE, "etl", at(0)), (BLUE, "etl", at(60)), (BLUE, "etl", at(120))]


@pytest.mark.parametrize("moved_by", ["another command", "this command"])
@pytest.mark.parametrize("dags", [(), ("etl",)])
def test_what_ended_while_nobody_waited_is_copied_though_a_held_dag_moves_days_later(
    aws: FakeClients, mirrors: FakeMirrorCopy, moved_by: str, dags: tuple[str, ...]
) -> None:
    hour = 3600
    works = {"etl": Work(10 * hour, 9.5 * hour), "plain": Work(30 * hour, 3 * hour, alone=False)}
    ScheduledAirflows(aws, works, bare=True)
    aws.ssm.clock.forward(1 * hour)
    switched(aws)  # both are busy; nobody waits
    aws.ssm.clock.forward(48.7 * hour)
    if moved_by == "another command":
        switched(aws, "green", *dags)
    done = waited(aws, dags=dags)
    assert set(done.moved) == ({"etl"} if moved_by == "this command" else set())
    plain = [] if dags else [(BLUE, "plain", START)]
    assert sorted(mirrors.copied) == [(BLUE, "etl", at(n * hour)) for n in (0, 10, 20, 30, 40)] + plain


@pytest.mark.parametrize("dags", [(), ("etl",)])
def test_a_dag_that_comes_back_alone_brings_its_states_also_if_all_never_switched(
    aws: FakeClients, mirrors: FakeMirrorCopy, dags: tuple[str, ...]
) -> None:
    works = {name: Work(600, 60, alone=False) for name in ("etl", "plain")}
    ScheduledAirflows(aws, works, bare=True)
    switched(aws, "green", "etl")
    assert waited(aws, dags=("etl",)).finished
    aws.ssm.clock.forward(3600)
    switched(aws, "blue", "etl")
    aws.ssm.clock.forward(60)
    assert wait_until_drained(deployment(aws), "blue", dags=dags, timeout=1000).finished
    back = [due for side, dag_id, due in sorted(mirrors.copied) if (side, dag_id) == (GREEN, "etl")]
    assert back == [at(600 * n) for n in range(1, 7)]


def test_weeks_are_listed_of_the_dag_alone_that_was_held_for_weeks(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    hour, period = 3600, 10 * 3600 + 7  # at another time each day, after which the double names a run
    works = {"etl": Work(period, 9.5 * hour), "plain": Work(30 * hour, 1, alone=False)}
    airflows = ScheduledAirflows(aws, works, bare=True)
    answer, hours = airflows._runs, set[tuple[str, int]]()

    def listed(side: str, body: dict[str, Any]) -> dict[str, Any]:
        if "run_after_gte" in body:
            gte, lte = (datetime.fromisoformat(body[f"run_after_{end}"]) for end in ("gte", "lte"))
            hours.add((",".join(body.get("dag_ids", ())), round((lte - gte).total_seconds() / hour)))
        return answer(side, body)

    airflows._runs = listed  # type: ignore[method-assign]
    aws.ssm.clock.forward(1 * hour)
    switched(aws)
    aws.ssm.clock.forward(1098.8 * hour)
    assert waited(aws).finished
    assert {span for span in hours if span[1] > 1} == {("", 24), ("etl", 1099)}
    newest = [at(period * number) for number in range(110 - PER_DAG, 110)]
    assert sorted(due for _, dag_id, due in mirrors.copied if dag_id == "etl") == newest


def test_a_canary_of_days_ago_lets_nobody_list_all_days_since(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    works = {name: Work(3600 * 11, 1, alone=False) for name in ("plain", "canary")}
    ScheduledAirflows(aws, works, bare=True)
    aws.ssm.clock.forward(3600 * 20)
    switched(aws, "green", "canary")
    aws.ssm.clock.forward(3600 * 25)
    switched(aws)
    assert waited(aws).finished
    assert sorted(due for _, _, due in mirrors.copied) == [at(3600 * hour) for hour in (22, 33, 44)]


@pytest.mark.parametrize("dags", [(), ("canary",)])
def test_nothing_is_listed_before_a_planned_switch_begins(
    aws: FakeClients, mirrors: FakeMirrorCopy, dags: tuple[str, ...]
) -> None:
    """The turn before it may have begun months ago."""
    airflows = ScheduledAirflows(aws, {"canary": Work(864000, 1, first=3600, alone=False)})
    for target in ("green", "blue"):
        switched(aws, target, *dags)
        aws.ssm.clock.forward(86400 * 40)
    switched(aws, "green", *dags, lead=600)
    asked = listings(aws, airflows)
    waited(aws, dags=dags, timeout=60)
    assert asked == []
    aws.ssm.clock.forward(600)
    assert waited(aws, dags=dags).finished
    assert len(asked) == 1


def test_without_a_switch_nothing_is_listed(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    """All time since 1970 would be asked for."""
    manual = run_answer("plain", "manual__1", at(0), "manual", side="green")
    airflows = ScheduledAirflows(aws, {"plain": Work(600, 1, alone=False, others=[manual])})
    asked = listings(aws, airflows)
    done = wait_until_drained(deployment(aws), "blue", timeout=5)
    assert (done.finished, done.draining, asked) == (False, {"plain": 1}, [])


def test_a_named_dags_runs_are_copied_while_another_one_is_held(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"quick": Work(6000, 1, alone=False), "slow": Work(6000, 300)}, bare=True)
    switched(aws, "green", "quick", "slow")
    aws.ssm.clock.forward(60)
    assert [dag.dag_id for dag in waited(aws, dags=["quick", "slow"], timeout=0).held] == ["slow"]
    assert mirrors.copied == [(BLUE, "quick", START)]


# --- how many at once ---


@pytest.mark.parametrize(("alone", "portion"), [(True, FEW), (False, MANY)])
def test_a_dag_that_waits_for_its_move_is_looked_at_after_a_few_mirrors_only(
    aws: FakeClients, mirrors: FakeMirrorCopy, alone: bool, portion: int
) -> None:
    """It may be idle for a few seconds. With nothing to move, more are copied between two looks."""
    count = portion + 2
    ended = {f"dag_{number}": Work(6000, 1, alone=False) for number in range(count)}
    ScheduledAirflows(aws, {**ended, "long": Work(6000, 300, alone=alone)}, bare=True)
    switched(aws)
    states: list[DrainProgress] = []
    waited(aws, on_change=states.append, timeout=20)
    copied = [state.mirrors.copied for state in states if state.mirrors and state.mirrors.copied]
    assert list(dict.fromkeys(copied)) == [portion, count]


def test_listing_both_sides_takes_a_tenth_of_the_time_at_most(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    airflows = ScheduledAirflows(aws, {"long": Work(9000, 3000, alone=False)}, bare=True)
    switched(aws)
    aws.ssm.clock.forward(LEAD)
    asked = listings(aws, airflows, seconds=60)
    waited(aws, timeout=1400)
    assert asked == [LEAD, LEAD + 660, LEAD + 1320]


def test_a_mirror_that_ends_on_the_old_side_is_not_asked_for(
    aws: FakeClients, mirrors: FakeMirrorCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one for each run that the target executes."""
    mirror = run_answer("plain", "scheduled__later", at(600), side="blue")
    work = Work(600, 1, alone=False, others=[mirror])
    airflows = ScheduledAirflows(aws, {"plain": work, "long": Work(6000, 900, alone=False)})
    switched(aws)
    aws.ssm.clock.forward(LEAD)

    def sleep(seconds: float) -> None:
        aws.ssm.clock.forward(seconds)
        work.others = [mirror] if aws.ssm.clock.now < at(20) else []

    monkeypatch.setattr("mwaactl.clock.sleep", sleep)
    asked = listings(aws, airflows)
    waited(aws, timeout=50)
    assert asked == [LEAD], "once, for what had ended before"


# --- the last ones ---


@pytest.mark.parametrize("tried", range(1, TRIES + 1))
def test_a_mirror_that_is_not_there_yet_is_tried_again_after_a_pause(
    aws: FakeClients, mirrors: FakeMirrorCopy, tried: int
) -> None:
    ScheduledAirflows(aws, {"plain": Work(600, 30, alone=False)}, bare=True)
    switched(aws)
    times: list[datetime] = []

    def refuse(run: Run) -> UncopiedRun | None:
        times.append(aws.ssm.clock.now)
        return missing(run) if len(times) < tried else None

    mirrors.refuse = refuse
    done = waited(aws)
    assert done.mirrors == MirrorResult(copied=1, already=0, left=())
    assert times == [at(30 + MIRROR_PAUSE * number) for number in range(tried)]
    assert aws.ssm.clock.now == times[-1], "no longer than that"


def test_a_mirror_that_cannot_be_put_right_is_listed_at_once(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"plain": Work(600, 30, alone=False)}, bare=True)
    switched(aws)
    mirrors.refuse = unlike
    done = waited(aws)
    assert done.mirrors is not None
    assert [run.reason for run in done.mirrors.left] == ["unlike"]
    assert (done.finished, aws.ssm.clock.now) == (True, at(30))
