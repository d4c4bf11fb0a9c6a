"""`--wait`: held DAGs move as they become idle, the old side drains, mirrors are made true."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from bluegreen.timeline import Colour
from rich.console import Console
from typer.testing import CliRunner, Result

from mwaactl.airflow.models import Run
from mwaactl.cli import app as cli
from mwaactl.errors import LostRace, Unreachable, UsageError
from mwaactl.screens import switch as screens
from mwaactl.switching import drain as follow_module
from mwaactl.switching.copy_settings import CopyResult
from mwaactl.switching.drain import DrainProgress, wait_until_drained
from mwaactl.switching.held_dags import HeldDag
from mwaactl.switching.mirrors import MirrorResult, UncopiedRun
from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out
from tests.fakes.aws import OWNERSHIP, START, Cloud, client_error, deployment, opens, standing
from tests.fakes.serial import NAMES, Airflows, Work, run_answer


def switch(aws: Cloud, target: Colour = "green", *dags: str) -> None:
    carry_out(plan(deployment(aws), target, dags=dags or None))


def waited(aws: Cloud, target: Colour = "green", **options: Any) -> DrainProgress:
    return wait_until_drained(deployment(aws), target, **{"timeout": 1000, **options})


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Mirrors:
    """Stands for `copy_final_states`."""

    def __init__(self, *answers: MirrorResult | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []

    def __call__(self, source: Any, target: Any, **asked: Any) -> MirrorResult:
        self.calls.append({"source": source.name, "target": target.name, **asked})
        asked["progress"](1, 2)
        answer = self.answers.pop(0) if self.answers else MirrorResult(copied=2, already=0, left=())
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Mirrors:
    made = Mirrors()
    monkeypatch.setattr(follow_module, "copy_final_states", made)
    return made


def scheduled(dag_id: str, seconds: float, kind: str = "scheduled") -> Run:
    return Run(dag_id=dag_id, run_id="r", type=kind, state="success", due=at(seconds), start=None, end=None)


def test_it_moves_held_dags_and_ends_when_the_old_side_has_nothing_left(aws: Cloud, mirrors: Mirrors) -> None:
    airflows = Airflows(
        aws, {"slow": Work(600, 90), "quick": Work(600, 20), "plain": Work(600, 200, alone=False)}
    )
    switch(aws)
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


def test_mirrors_are_made_true_for_what_the_old_side_owned(aws: Cloud, mirrors: Mirrors) -> None:
    Airflows(aws, {"slow": Work(600, 60), "plain": Work(600, 1, alone=False)})
    switch(aws)
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


def test_the_window_of_mirrors_begins_with_the_old_sides_ownership(aws: Cloud, mirrors: Mirrors) -> None:
    Airflows(aws, {"plain": Work(600, 1, alone=False)})
    switch(aws)
    aws.ssm.clock.forward(100)
    switch(aws, "blue")
    waited(aws, "blue")
    assert (mirrors.calls[0]["since"], mirrors.calls[0]["until"]) == (at(5), at(105))


def test_mirrors_that_are_not_there_yet_are_tried_once_more(aws: Cloud, mirrors: Mirrors) -> None:
    Airflows(aws, {"plain": Work(600, 1, alone=False)})
    late = UncopiedRun(dag_id="plain", run_id="r", due=START, reason="its mirror is still queued")
    gone = UncopiedRun(dag_id="gone", run_id="r", due=START, reason="green has no run for it")
    mirrors.answers = [
        MirrorResult(copied=3, already=1, left=(late, gone)),
        MirrorResult(copied=1, already=4, left=(gone,)),
    ]
    switch(aws)
    assert waited(aws).mirrors == MirrorResult(copied=4, already=1, left=(gone,))


def test_a_timeout_leaves_what_stands_and_the_same_call_goes_on(aws: Cloud, mirrors: Mirrors) -> None:
    Airflows(aws, {"slow": Work(600, 90)})
    switch(aws)
    first = waited(aws, timeout=30)
    assert (first.finished, first.drained, [one.dag_id for one in first.held]) == (False, False, ["slow"])
    assert aws.ssm.clock.now == at(30)
    assert mirrors.calls == []
    assert waited(aws).finished
    assert waited(aws, timeout=0).finished, "nothing is left to do"


def test_runs_that_the_old_side_has_still_to_start_are_waited_for(aws: Cloud, mirrors: Mirrors) -> None:
    Airflows(aws, {"plain": Work(600, 1, first=3, alone=False)})
    switch(aws)
    states: list[DrainProgress] = []
    waited(aws, on_change=states.append)
    assert states[0].due == {"plain": at(3)}
    assert aws.ssm.clock.now >= at(5), "green owns first"


def test_a_dag_whose_next_run_is_not_planned_yet_is_waited_for(aws: Cloud, mirrors: Mirrors) -> None:
    airflows = Airflows(aws, {"plain": Work(600, 1, alone=False)})
    switch(aws)
    airflows.unplanned.add(("blue", "plain"))
    first = waited(aws, timeout=30)
    assert first.due == {"plain": None}
    assert first.model_dump(mode="json")["due"] == {"plain": None}
    airflows.unplanned.add(("green", "plain"))
    assert waited(aws).finished, "none will come on either side"


def test_manual_runs_are_the_old_sides_own_and_its_mirrors_are_not(aws: Cloud, mirrors: Mirrors) -> None:
    manual = run_answer("plain", "manual__1", at(60), "manual", side="blue")
    mirror = run_answer("plain", "scheduled__later", at(60), side="blue")
    work = Work(600, 1, alone=False, others=[manual, mirror])
    Airflows(aws, {"plain": work})
    switch(aws)
    assert waited(aws, timeout=60).draining == {"plain": 1}
    work.others.remove(manual)
    assert waited(aws).finished


def test_an_old_side_that_cannot_be_asked_is_never_called_drained(aws: Cloud, mirrors: Mirrors) -> None:
    Airflows(aws, {"plain": Work(600, 20, alone=False)})
    switch(aws)
    answers = aws.mwaa.airflow[NAMES["blue"]]
    aws.mwaa.airflow[NAMES["blue"]] = dict.fromkeys(answers, client_error("InternalServerException", 500))
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


def test_a_target_that_cannot_be_asked_for_mirrors_is_asked_again(aws: Cloud, mirrors: Mirrors) -> None:
    Airflows(aws, {"plain": Work(600, 1, alone=False)})
    mirrors.answers = [Unreachable("green is away")]
    switch(aws)
    states: list[DrainProgress] = []
    assert waited(aws, on_change=states.append).finished
    assert "green is away" in {state.trouble for state in states}


@pytest.mark.parametrize("dags", [(), ("slow",)])
def test_somebody_who_switches_back_meanwhile_wins(
    aws: Cloud, mirrors: Mirrors, dags: tuple[str, ...]
) -> None:
    Airflows(aws, {"slow": Work(600, 90), "idle": Work(600, 1, first=300)})
    switch(aws)
    aws.ssm.clock.forward(10)

    def other_operator(state: DrainProgress) -> None:
        if state.seconds > 20 and standing(aws).owners[-1].owner == "green":
            switch(aws, "blue")

    with pytest.raises(LostRace, match=r"another operator has given the work back to blue"):
        waited(aws, on_change=other_operator, timeout=None)
    assert mirrors.calls == []


def test_a_dag_that_somebody_takes_back_alone_is_not_taken_from_him_again(
    aws: Cloud, mirrors: Mirrors
) -> None:
    Airflows(aws, {"long": Work(6000, 900), "idle": Work(6000, 1, first=3000)})
    switch(aws)
    aws.ssm.clock.forward(10)

    def other_operator(state: DrainProgress) -> None:
        if "idle" not in standing(aws).dags:
            switch(aws, "blue", "idle")

    with pytest.raises(LostRace, match="another operator has given idle back to blue"):
        waited(aws, on_change=other_operator)
    assert standing(aws).owner(aws.ssm.clock.now + timedelta(seconds=60), "idle") == "blue"


def test_two_who_wait_at_once_do_each_others_work(aws: Cloud, mirrors: Mirrors) -> None:
    airflows = Airflows(aws, {"slow": Work(600, 30)})
    switch(aws)
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


def test_named_dags_are_followed_alone(aws: Cloud, mirrors: Mirrors) -> None:
    Airflows(aws, {"slow": Work(600, 60), "other": Work(600, 300)})
    switch(aws, "green", "slow")
    done = waited(aws, dags=["slow"])
    assert (done.finished, set(done.moved)) == (True, {"slow"})
    assert aws.ssm.clock.now < at(100), "the other DAG's run is not waited for"
    assert standing(aws).owner(aws.ssm.clock.now, "other") == "blue"
    assert not mirrors.calls[0]["owned"](scheduled("other", 0))


def test_without_a_switch_there_is_nothing_to_wait_for(aws: Cloud) -> None:
    Airflows(aws, {"plain": Work(600, 1)})
    with pytest.raises(UsageError, match="mwaactl switch green --wait -s fullha"):
        waited(aws)
    assert len(aws.ssm.values()) == 1


def test_a_move_whose_put_was_not_answered_can_no_longer_arrive(aws: Cloud, mirrors: Mirrors) -> None:
    """Found idle a minute ago is no reason to move a DAG now."""
    airflows = Airflows(aws, {"slow": Work(32, 20, odd=45)})
    switch(aws)
    aws.ssm.puts = ["late", "late"]
    assert not waited(aws, timeout=30).finished
    aws.ssm.deliver()
    aws.ssm.deliver()
    aws.ssm.clock.forward(60)
    assert {run.side for run in airflows.executed("slow")} == {"blue"}
    assert airflows.overlaps() == []


# --- as typed ---

Type = Callable[..., Result]


@pytest.fixture
def typed(aws: Cloud, monkeypatch: pytest.MonkeyPatch) -> Type:
    opens(monkeypatch, aws)
    return lambda *arguments: CliRunner().invoke(cli.app, arguments)


def test_wait_tells_what_drains_and_that_the_old_side_is_safe(
    aws: Cloud, typed: Type, mirrors: Mirrors
) -> None:
    Airflows(aws, {"slow": Work(600, 60), "plain": Work(600, 90, alone=False)})
    result = typed("switch", "green", "--wait")
    assert result.exit_code == 0, result.output
    for expected in (
        "slow: scheduled__10:00:00 is unfinished",
        "blue is draining; unfinished runs: plain 1, slow 1; held: slow",
        "slow moved: green owns it from",
        "blue has finished everything it owned. 2 mirrored runs on green received blue's final states.",
        "blue is ready for maintenance.",
    ):
        assert expected in result.stdout
    again = typed("switch", "green", "--wait")
    assert (again.exit_code, "ready for maintenance" in again.stdout) == (0, True)


def test_a_switch_names_what_is_held_and_the_command_that_goes_on(aws: Cloud, typed: Type) -> None:
    Airflows(aws, {"slow": Work(600, 60)})
    for _ in range(2):
        result = typed("switch", "green")
        assert result.exit_code == 0
        assert "slow: scheduled__10:00:00 is unfinished" in result.stdout
        assert "mwaactl switch green --wait -s fullha" in result.stdout
    assert "Nothing changed: the DAGs that have yet to move are busy." in result.stdout
    named = typed("switch", "green", "--dag", "slow")
    assert "mwaactl switch green --wait -s fullha --dag slow" in named.stdout


def test_a_terminal_shows_a_table_of_what_is_left() -> None:
    state = DrainProgress(
        target="green",
        source="blue",
        moved={"quick": at(30)},
        held=(HeldDag(dag_id="slow", reason="r is unfinished"),),
        draining={"slow": 1, "plain": 2},
        due={"next": at(90), "unplanned": None},
        trouble="blue is away",
    )
    screen = Console(width=100, record=True, file=io.StringIO(), force_terminal=True)
    with screens.live_progress(screen, lambda: state, on=True):
        pass
    shown = screen.export_text()
    for expected in (
        "waiting for blue to drain, 0 s",
        "slow  held: r is unfinished",
        "plain  2 unfinished",
        "next  next run due 2026-11-23T10:01:30.000Z",
        "unplanned  next run not planned yet",
        "quick  owned by green from 2026-11-23T10:00:30.000Z",
        "cannot see how far blue has drained: blue is away. Retrying",
    ):
        assert expected in shown


def test_wait_prints_one_json_object(aws: Cloud, typed: Type, mirrors: Mirrors) -> None:
    Airflows(aws, {"slow": Work(600, 60)})
    result = typed("switch", "green", "--wait", "--json")
    value = json.loads(result.stdout)
    assert (result.exit_code, value["changed"], value["drain"]["finished"]) == (0, True, True)
    assert value["held"] == [{"dag_id": "slow", "reason": "scheduled__10:00:00 is unfinished"}]
    assert list(value["drain"]["moved"]) == ["slow"]
    assert value["drain"]["mirrors"] == {"copied": 2, "already": 0, "left": []}


@pytest.mark.parametrize("as_json", [True, False])
def test_a_timeout_exits_5_with_the_command_to_go_on(aws: Cloud, typed: Type, as_json: bool) -> None:
    Airflows(aws, {"slow": Work(600, 60)})
    result = typed("switch", "green", "--wait", "--timeout", "10", *(["--json"] if as_json else []))
    assert result.exit_code == 5
    told = result.stderr
    if as_json:
        value = json.loads(result.stdout)
        assert (value["exit_code"], value["drain"]["finished"]) == (5, False)
        told = value["error"]
    assert "not drained within 10 s" in told
    assert "mwaactl switch green --wait -s fullha" in told


def test_ctrl_c_exits_5_and_the_same_command_goes_on(
    aws: Cloud, typed: Type, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflows = Airflows(aws, {"slow": Work(600, 60)})
    with monkeypatch.context() as patch:

        def interrupted(seconds: float) -> None:
            if aws.ssm.clock.now > at(8):
                raise KeyboardInterrupt
            aws.ssm.clock.forward(seconds)

        patch.setattr("mwaactl.clock.sleep", interrupted)
        result = typed("switch", "green", "--wait")
    assert result.exit_code == 5
    assert "interrupted: blue is draining; unfinished runs: slow 1; held: slow" in result.stderr
    assert "To continue: mwaactl switch green --wait -s fullha" in result.stderr
    assert typed("switch", "green", "--wait").exit_code == 0
    assert airflows.overlaps() == []


def test_ctrl_c_while_writing_exits_5(aws: Cloud, typed: Type) -> None:
    def interrupted(operation: str) -> None:
        if operation == "put":
            raise KeyboardInterrupt

    aws.ssm.before = interrupted
    result = typed("switch", "green")
    assert result.exit_code == 5
    assert "mwaactl switch green -s fullha" in result.stderr


def test_sync_copies_before_the_checks_and_not_in_a_dry_run(
    aws: Cloud, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []

    def copied(deployment: Any, source: str, target: str) -> CopyResult:
        calls.append((source, target))
        return CopyResult(paused=("daily",), pools=("small",))

    monkeypatch.setattr("mwaactl.switching.copy_settings.copy_settings", copied)
    dry = typed("switch", "green", "--sync", "--dry-run")
    assert (dry.exit_code, calls) == (0, [])
    assert "copies nothing" in dry.stderr
    result = typed("switch", "green", "--sync")
    assert calls == [("blue", "green")]
    assert "copied from blue to green: paused daily; pools small" in result.stdout
    again = typed("switch", "green", "--sync")
    assert len(calls) == 1, "the owner's own state counts"
    assert "nothing was copied to green" in again.stdout
