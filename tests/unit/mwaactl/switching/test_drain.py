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
from tests.fakes.aws.clients import LEAD, FakeClients, deployment, standing
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START, at
from tests.fakes.mwaactl.mirrors import FakeMirrorCopy
from tests.fakes.mwaactl.switches import switched


def waited(aws: FakeClients, target: Colour = "green", **options: Any) -> DrainProgress:
    return wait_until_drained(deployment(aws), target, **{"timeout": 1000, **options})


def test_it_moves_held_dags_and_ends_when_the_old_side_has_nothing_left(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    airflows = ScheduledAirflows(
        aws,
        {"slow": Work(600, 90), "quick": Work(600, 20), "plain": Work(600, 200, alone=False)},
        bare=True,
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
    assert list(first.draining.items()) == [("plain", 1), ("quick", 1), ("slow", 1)], "in order, for a person"
    assert (first.due, first.executed) == ({}, 0), "what is held is not listed twice"
    assert not any(set(state.moved) & {one.dag_id for one in state.held} for state in states)
    since = {standing(aws).newest("quick").since}
    assert {state.moved["quick"] for state in states if "quick" in state.moved} == since
    assert any(set(state.moved) == {"quick"} and len(state.held) == 1 for state in states)
    assert not any(state.drained and state.draining for state in states)
    assert any(state.mirroring == (1, 1) for state in states)
    assert airflows.overlaps() == []
    assert standing(aws).owner(aws.ssm.clock.now, "slow") == "green"
    described = [record["Description"] for record in aws.ssm.stored[OWNERSHIP]][2:]
    assert described == [
        "mwaactl switch green, only quick, once idle",
        "mwaactl switch green, only slow, once idle",
        "mwaactl: blue's books are closed",
    ]


def test_a_held_dag_does_not_move_to_a_target_whose_update_has_begun(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 20)}, bare=True)
    switched(aws)
    aws.mwaa.environments[NAMES["green"]]["Status"] = "UPDATING"
    kept = waited(aws, timeout=100)
    assert [(one.dag_id, one.reason) for one in kept.held] == [
        ("slow", f"it is idle, but {NAMES['green']} is UPDATING")
    ]
    assert (kept.finished, kept.drained, kept.moved) == (False, False, {})
    assert waited(aws, force=["target-available"]).moved.keys() == {"slow"}


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


def test_what_the_old_side_executed_is_copied_and_nothing_else(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"slow": Work(60, 40), "plain": Work(60, 1, alone=False)}, bare=True)
    aws.ssm.clock.forward(70)
    switched(aws)
    done = waited(aws)
    assert done.mirrors == MirrorResult(copied=4, already=0, left=())
    executed = [(NAMES["blue"], dag_id, at(due)) for dag_id in ("plain", "slow") for due in (0, 60)]
    assert sorted(mirrors.copied) == executed


def test_what_was_executed_more_than_a_day_before_the_switch_is_left_alone(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"plain": Work(3600 * 11, 1, alone=False)}, bare=True)
    aws.ssm.clock.forward(3600 * 45)
    switched(aws)
    waited(aws)
    assert [due for _, _, due in mirrors.copied] == [at(3600 * 44), at(3600 * 33), at(3600 * 22)]


def test_a_mirror_receives_its_state_as_soon_as_its_own_original_has_ended(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    """Another DAG's long run must not keep a sensor on the target waiting."""
    works = {"quick": Work(6000, 20, alone=False), "long": Work(6000, 900, alone=False)}
    ScheduledAirflows(aws, works, bare=True)
    switched(aws)
    first = waited(aws, timeout=25)
    assert first.draining == {"long": 1}
    assert mirrors.copied == [(NAMES["blue"], "quick", START)]
    assert first.mirrors == MirrorResult(copied=1, already=0, left=())
    assert waited(aws).finished


def test_mirrors_of_every_turn_are_copied_in_both_directions(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    """Switched to green and back before blue had drained: blue's run is mirrored on green, too."""
    ScheduledAirflows(aws, {"plain": Work(30, 50, alone=False)}, bare=True)
    switched(aws)
    aws.ssm.clock.forward(40)
    switched(aws, "blue")
    assert waited(aws, "blue").finished
    blue, green = NAMES["blue"], NAMES["green"]
    assert sorted(mirrors.copied) == [(blue, "plain", START), (green, "plain", at(30))]


def test_a_run_that_was_cleared_and_ended_again_is_copied_again(
    aws: FakeClients, mirrors: FakeMirrorCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(6000, 10, alone=False)
    ScheduledAirflows(aws, {"again": work, "long": Work(6000, 300, alone=False)}, bare=True)
    switched(aws)

    def sleep(seconds: float) -> None:
        aws.ssm.clock.forward(seconds)
        work.seconds = 10 if aws.ssm.clock.now < at(50) else 100  # cleared at 50, ended at 100

    monkeypatch.setattr("mwaactl.clock.sleep", sleep)
    waited(aws)
    assert [dag_id for _, dag_id, _ in mirrors.copied] == ["again", "again", "long"]


def test_mirrors_that_are_not_there_yet_are_tried_again_and_those_that_never_come_are_listed(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {name: Work(600, 1, alone=False) for name in ("plain", "late", "gone")}, bare=True)

    def refuse(run: Run) -> UncopiedRun | None:
        if run.dag_id == "gone" or (run.dag_id == "late" and aws.ssm.clock.now < at(8)):
            return UncopiedRun(dag_id=run.dag_id, run_id="r", due=START, reason="green has no run for it")
        return None

    mirrors.refuse = refuse
    switched(aws)
    done = waited(aws)
    assert done.finished
    assert done.mirrors is not None
    assert (done.mirrors.copied, [run.dag_id for run in done.mirrors.left]) == (2, ["gone"])
    assert aws.ssm.clock.now < at(30)


def test_a_timeout_leaves_what_stands_and_the_same_call_goes_on(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 90)})
    switched(aws)
    first = waited(aws, timeout=30.5)
    assert (first.finished, first.drained, [one.dag_id for one in first.held]) == (False, False, ["slow"])
    assert aws.ssm.clock.now == at(30.5), "no longer than that"
    assert mirrors.copied == []
    assert waited(aws).finished
    assert waited(aws, timeout=5).finished, "nothing is left to do"


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
    ScheduledAirflows(aws, {"plain": Work(600, 1, alone=False)}, bare=True)
    away = iter([True, False])

    def refuse(run: Run) -> None:
        if next(away):
            raise Unreachable("green is away")

    mirrors.refuse = refuse
    switched(aws)
    states: list[DrainProgress] = []
    assert waited(aws, on_change=states.append).finished
    assert "green is away" in {state.trouble for state in states}
    assert states[-1].trouble is None, "it is over"


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
    assert mirrors.copied == []


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
    moved = [record["Description"] for record in aws.ssm.stored[OWNERSHIP]][2:]
    assert moved == ["mwaactl switch green, only slow, once idle", "mwaactl: blue's books are closed"]
    assert airflows.overlaps() == []


def test_named_dags_are_followed_alone(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    works = {"slow": Work(600, 60), "other": Work(600, 300), "brief": Work(600, 30)}
    ScheduledAirflows(aws, works, bare=True)
    switched(aws, "green", "slow")
    done = waited(aws, dags=["slow"])
    assert (done.finished, set(done.moved), done.dags) == (True, {"slow"}, ("slow",))
    assert aws.ssm.clock.now < at(100), "the other DAG's run is not waited for"
    assert standing(aws).owner(aws.ssm.clock.now, "other") == "blue"
    assert {dag_id for _, dag_id, _ in mirrors.copied} == {"slow"}


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
    described = [record.get("Description", "") for record in aws.ssm.stored[OWNERSHIP]]
    assert sum("back on top" in text for text in described) == 2, "by the write itself, then once by the wait"


# --- when DAGs move ---


def test_a_dag_to_hold_is_followed_alone_and_moves_once_it_is_idle(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    airflows = ScheduledAirflows(aws, {"etl": Work(6000, 60, alone=False)}, bare=True)
    done = waited(aws, dags=["etl"], hold=["etl"])
    assert done.moved["etl"] > at(60)
    assert airflows.executed("etl")[0].end == at(60)


def test_a_held_dag_waits_for_a_switch_that_is_planned_for_later(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"a": Work(6000, 60)}, bare=True)
    switched(aws, lead=600)
    assert waited(aws).moved == {"a": at(600)}


def test_a_dag_that_is_named_goes_ahead_of_a_switch_that_is_planned_for_later(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"a": Work(6000, 60)}, bare=True)
    switched(aws, lead=600)
    done = waited(aws, dags=["a"], timeout=300)
    assert done.finished
    assert done.moved["a"] < at(90)


def test_what_a_paused_dag_has_to_catch_up_on_moves_after_the_last_run_that_is_due(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    works = {"behind": Work(60, 1, paused=True), "late": Work(600, 1, alone=False)}
    airflows = ScheduledAirflows(aws, works, bare=True)
    switched(aws)
    airflows.unplanned.add(("blue", "late"))
    assert [dag.dag_id for dag in waited(aws, timeout=60).held] == ["behind"]
    airflows.unplanned.clear()
    assert set(waited(aws).moved) == {"behind"}


def test_dags_are_named_in_order(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    names = ["f", "b", "d", "a", "e", "c", "h", "g"]
    works = {name: Work(600, 20) for name in names} | {
        name.upper(): Work(600, 1, first=3, alone=False) for name in names
    }
    ScheduledAirflows(aws, works, bare=True)
    switched(aws)
    states: list[DrainProgress] = []
    done = waited(aws, on_change=states.append)
    assert list(done.moved) == sorted(names)
    assert list(states[0].due) == sorted(map(str.upper, names))


def test_while_what_is_to_move_is_busy_nothing_is_asked_but_the_dags_and_their_runs(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    """What has failed of it matters once it is idle."""
    ScheduledAirflows(aws, {"slow": Work(6000, 900), "plain": Work(6000, 1, alone=False)})
    switched(aws)
    aws.ssm.clock.forward(LEAD + 10)
    waited(aws, timeout=0)
    first = len(aws.mwaa.asked)
    waited(aws, timeout=0)
    again = len(aws.mwaa.asked) - first
    aws.mwaa.asked.clear()
    assert waited(aws, timeout=5.04).seconds == 5.0, "for a person"
    assert len(aws.mwaa.asked) == again + 6 * 2


# --- what is copied ---


def test_what_had_ended_before_the_first_look_is_copied(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    ScheduledAirflows(aws, {"plain": Work(6000, 1, alone=False)}, bare=True)
    switched(aws)
    aws.ssm.clock.forward(60)
    assert waited(aws).finished
    assert mirrors.copied == [(NAMES["blue"], "plain", START)]


def test_both_sides_are_listed_once_a_minute_while_something_is_at_work(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    """What ends in between is seen without that. The listing covers two days of every DAG."""
    airflows = ScheduledAirflows(aws, {"long": Work(6000, 900, alone=False)}, bare=True)
    switched(aws)
    asked: list[float] = []
    listing = airflows._runs

    def listed(side: str, body: dict[str, Any]) -> dict[str, Any]:
        if "run_after_gte" in body and side == "blue":
            asked.append(aws.ssm.clock.seconds)
        return listing(side, body)

    airflows._runs = listed  # type: ignore[method-assign]
    waited(aws, timeout=150)
    assert asked == [LEAD, LEAD + 60, LEAD + 120], "from the moment of the switch on"


def test_it_gives_up_instead_of_moving_a_dag_against_a_newer_decision_about_all(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    """As a rehearsal waits: whoever has switched meanwhile meant that DAG, too."""
    ScheduledAirflows(aws, {"plain": Work(600, 1, alone=False)})
    switched(aws, "green", "plain")
    assert waited(aws, dags=("plain",), decided=1).finished
    switched(aws, "blue", "plain")
    aws.ssm.clock.forward(30)
    switched(aws)
    written = len(aws.ssm.values())
    with pytest.raises(LostRace, match="another operator has moved all work"):
        waited(aws, "blue", dags=("plain",), decided=1)
    assert len(aws.ssm.values()) == written
    assert standing(aws).newest("plain").owner == "green"
