"""`--wait`: held DAGs move as they become idle, the old side drains, mirrors are made true."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bluegreen.timeline import Colour

from mwaactl.airflow.models import Run
from mwaactl.errors import LostRace, Unreachable, UsageError
from mwaactl.switching.drain import DrainProgress, wait_until_drained
from mwaactl.switching.mirrors import MirrorResult, UncopiedRun
from tests.fakes.airflow.schedule import NAMES, ScheduledAirflows, Work, run_answer
from tests.fakes.aws.clients import FakeClients, deployment, standing
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START, at
from tests.fakes.mwaactl.mirrors import FakeMirrorCopy
from tests.fakes.mwaactl.switches import switched


def waited(aws: FakeClients, target: Colour = "green", **options: Any) -> DrainProgress:
    return wait_until_drained(deployment(aws), target, **{"timeout": 1000, **options})


def scheduled(dag_id: str, seconds: float, kind: str = "scheduled") -> Run:
    return Run(dag_id=dag_id, run_id="r", type=kind, state="success", due=at(seconds), start=None, end=None)


def test_it_moves_held_dags_and_ends_when_the_old_side_has_nothing_left(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    airflows = ScheduledAirflows(
        aws, {"slow": Work(600, 90), "quick": Work(600, 20), "plain": Work(600, 200, alone=False)}
    )
    switched(aws)
    states: list[DrainProgress] = []
    done = waited(aws, on_change=states.append)
    assert done.finished
    assert done.drained
    assert set(done.moved) == {"slow", "quick"}
    assert (done.held, done.draining, done.due, done.trouble) == ((), {}, {}, None)
    assert aws.ssm.clock.now >= at(200), "the plain DAG's run had to end too"
    first = states[0]
    assert {one.dag_id for one in first.held} == {"slow", "quick"}
    assert first.draining == {"plain": 1, "quick": 1, "slow": 1}
    assert any(set(state.moved) == {"quick"} and len(state.held) == 1 for state in states)
    assert not any(state.drained and state.draining for state in states)
    assert any(state.mirroring == (1, 2) for state in states)
    assert airflows.overlaps() == []
    assert standing(aws).owner(aws.ssm.clock.now, "slow") == "green"
    described = [record["Description"] for record in aws.ssm.stored[OWNERSHIP]][2:]
    assert described == [
        "mwaactl switch green, only quick, once idle",
        "mwaactl switch green, only slow, once idle",
    ]


def test_a_run_that_the_old_side_has_still_to_start_is_waited_for(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    """Its scheduler is late: for a while the run is due, the old side's, and not there yet."""

    def dags(_query: Any) -> dict[str, Any]:
        due = at(3) if aws.ssm.clock.now < at(30) else at(603)
        dag = {"dag_id": "late", "is_paused": False, "next_dagrun_run_after": due.isoformat()}
        return {"dags": [dag], "total_entries": 1}

    for side in NAMES.values():
        aws.mwaa.airflow[side]["/dags"] = dags
    switched(aws)
    states: list[DrainProgress] = []
    progress = waited(aws, on_change=states.append)
    assert progress.drained
    assert progress.seconds >= 25
    assert {"late": at(3)} in [dict(state.due) for state in states]


def test_mirrors_are_made_true_for_what_the_old_side_owned(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 60), "plain": Work(600, 1, alone=False)})
    switched(aws)
    assert waited(aws).mirrors == MirrorResult(copied=2, already=0, left=())
    (call,) = mirrors.calls
    moved = standing(aws).dags["slow"][-1].since
    assert (call["source"], call["target"]) == (NAMES["blue"], NAMES["green"])
    assert (call["source_colour"], call["until"]) == ("blue", moved)
    assert call["since"] == moved - timedelta(days=1), "blue owned since the beginning; a day is enough"
    assert call["owned"](scheduled("plain", 4))
    assert not call["owned"](scheduled("plain", 6))
    assert call["owned"](scheduled("slow", 6))
    assert not call["owned"](scheduled("slow", 120))


def test_the_window_of_mirrors_begins_with_the_old_sides_ownership(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"plain": Work(600, 1, alone=False)})
    switched(aws)
    aws.ssm.clock.forward(100)
    switched(aws, "blue")
    waited(aws, "blue")
    assert (mirrors.calls[0]["since"], mirrors.calls[0]["until"]) == (at(5), at(105))


def test_mirrors_that_are_not_there_yet_are_tried_once_more(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"plain": Work(600, 1, alone=False)})
    late = UncopiedRun(dag_id="plain", run_id="r", due=START, reason="its mirror is still queued")
    gone = UncopiedRun(dag_id="gone", run_id="r", due=START, reason="green has no run for it")
    mirrors.answers = [
        MirrorResult(copied=3, already=1, left=(late, gone)),
        MirrorResult(copied=1, already=4, left=(gone,)),
    ]
    switched(aws)
    assert waited(aws).mirrors == MirrorResult(copied=4, already=1, left=(gone,))


def test_a_timeout_leaves_what_stands_and_the_same_call_goes_on(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 90)})
    switched(aws)
    first = waited(aws, timeout=30)
    assert (first.finished, first.drained, [one.dag_id for one in first.held]) == (False, False, ["slow"])
    assert aws.ssm.clock.now == at(30)
    assert mirrors.calls == []
    assert waited(aws).finished
    assert waited(aws, timeout=0).finished, "nothing is left to do"


def test_runs_that_the_old_side_has_still_to_start_are_waited_for(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"plain": Work(600, 1, first=3, alone=False)})
    switched(aws)
    states: list[DrainProgress] = []
    waited(aws, on_change=states.append)
    assert states[0].due == {"plain": at(3)}
    assert aws.ssm.clock.now >= at(5), "green owns first"


def test_a_dag_whose_next_run_is_not_planned_yet_is_waited_for(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    airflows = ScheduledAirflows(aws, {"plain": Work(600, 1, alone=False)})
    switched(aws)
    airflows.unplanned.add(("blue", "plain"))
    first = waited(aws, timeout=30)
    assert first.due == {"plain": None}
    assert first.model_dump(mode="json")["due"] == {"plain": None}
    airflows.unplanned.add(("green", "plain"))
    assert waited(aws).finished, "none will come on either side"


def test_manual_runs_are_the_old_sides_own_and_its_mirrors_are_not(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    manual = run_answer("plain", "manual__1", at(60), "manual", side="blue")
    mirror = run_answer("plain", "scheduled__later", at(60), side="blue")
    work = Work(600, 1, alone=False, others=[manual, mirror])
    ScheduledAirflows(aws, {"plain": work})
    switched(aws)
    assert waited(aws, timeout=60).draining == {"plain": 1}
    work.others.remove(manual)
    assert waited(aws).finished


def test_an_old_side_that_cannot_be_asked_is_never_called_drained(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"plain": Work(600, 20, alone=False)})
    switched(aws)
    answers = aws.mwaa.airflow[NAMES["blue"]]
    aws.mwaa.silence(NAMES["blue"])
    states: list[DrainProgress] = []
    done = waited(aws, timeout=100, on_change=states.append)
    assert not done.finished
    assert not done.drained
    assert done.trouble is not None
    assert NAMES["blue"] in done.trouble
    assert len(states) == 1, "the same trouble is told once"
    aws.mwaa.airflow[NAMES["blue"]] = answers
    done = waited(aws)
    assert (done.finished, done.trouble) == (True, None)


def test_a_target_that_cannot_be_asked_for_mirrors_is_asked_again(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"plain": Work(600, 1, alone=False)})
    mirrors.answers = [Unreachable("green is away")]
    switched(aws)
    states: list[DrainProgress] = []
    assert waited(aws, on_change=states.append).finished
    assert "green is away" in {state.trouble for state in states}


@pytest.mark.parametrize("dags", [(), ("slow",)])
def test_somebody_who_switches_back_meanwhile_wins(
    aws: FakeClients, mirrors: FakeMirrorCopy, dags: tuple[str, ...]
) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 90), "idle": Work(600, 1, first=300)})
    switched(aws)
    aws.ssm.clock.forward(10)

    def other_operator(state: DrainProgress) -> None:
        if state.seconds > 20 and standing(aws).owners[-1].owner == "green":
            switched(aws, "blue")

    with pytest.raises(LostRace, match=r"another operator has given the work back to blue"):
        waited(aws, on_change=other_operator, timeout=None)
    assert mirrors.calls == []


def test_a_dag_that_somebody_takes_back_alone_is_not_taken_from_him_again(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"long": Work(6000, 900), "idle": Work(6000, 1, first=3000)})
    switched(aws)
    aws.ssm.clock.forward(10)

    def other_operator(state: DrainProgress) -> None:
        if "idle" not in standing(aws).dags:
            switched(aws, "blue", "idle")

    with pytest.raises(LostRace, match="another operator has given idle back to blue"):
        waited(aws, on_change=other_operator)
    assert standing(aws).owner(aws.ssm.clock.now + timedelta(seconds=60), "idle") == "blue"


def test_two_who_wait_at_once_do_each_others_work(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    airflows = ScheduledAirflows(aws, {"slow": Work(600, 30)})
    switched(aws)
    inner: list[DrainProgress] = []

    def other_operator(state: DrainProgress) -> None:
        if not inner:
            inner.append(state)
            inner.append(waited(aws))

    outer = waited(aws, on_change=other_operator)
    assert outer.finished
    assert inner[1].finished
    assert set(outer.moved) == {"slow"}
    assert len(aws.ssm.values()) == 3
    assert airflows.overlaps() == []


def test_named_dags_are_followed_alone(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 60), "other": Work(600, 300)})
    switched(aws, "green", "slow")
    done = waited(aws, dags=["slow"])
    assert (done.finished, set(done.moved)) == (True, {"slow"})
    assert aws.ssm.clock.now < at(100), "the other DAG's run is not waited for"
    assert standing(aws).owner(aws.ssm.clock.now, "other") == "blue"
    assert not mirrors.calls[0]["owned"](scheduled("other", 0))


def test_without_a_switch_there_is_nothing_to_wait_for(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"plain": Work(600, 1)})
    with pytest.raises(UsageError, match="mwaactl switch green --wait -s fullha"):
        waited(aws)
    assert len(aws.ssm.values()) == 1


def test_a_move_whose_put_was_not_answered_can_no_longer_arrive(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    """Found idle a minute ago is no reason to move a DAG now."""
    airflows = ScheduledAirflows(aws, {"slow": Work(32, 20, odd=45)})
    switched(aws)
    aws.ssm.puts = ["late", "late"]
    assert not waited(aws, timeout=30).finished
    aws.ssm.deliver()
    aws.ssm.deliver()
    aws.ssm.clock.forward(60)
    assert {run.side for run in airflows.executed("slow")} == {"blue"}
    assert airflows.overlaps() == []
