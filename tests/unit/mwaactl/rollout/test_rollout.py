"""A rollout updates the side without work, switches, and updates the other; killed anywhere, it goes on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from bluegreen.timeline import Colour

from mwaactl.canary.progressive import Canary
from mwaactl.errors import CheckFailed, ControlError, LostRace, Unfinished, Unusable, UsageError
from mwaactl.ownership.parameter import Ownership
from mwaactl.ownership.reading import newest_owner
from mwaactl.rollout.engine import Engine
from mwaactl.rollout.how import How
from mwaactl.rollout.rollout import Event, roll_out
from mwaactl.switching.drain import wait_until_drained
from tests.fakes.airflow.model import Run, Task
from tests.fakes.airflow.probed import probed_clients, side
from tests.fakes.airflow.working import Does, working_clients
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment, standing
from tests.fakes.aws.errors import Killed
from tests.fakes.clock import START
from tests.fakes.mwaactl.engine import (
    BOTH,
    DASHBOARD,
    ENVIRONMENTS,
    EVERYTHING,
    FakeEngine,
    changes,
)
from tests.fakes.mwaactl.switches import switched

SOAK = timedelta(minutes=10)


def working(
    monkeypatch: pytest.MonkeyPatch, *, fails: bool = False
) -> tuple[FakeClients, FakeEngine, Canary]:
    """Two DAGs at work on both sides, of which one fails on green."""

    def does(colour: str, dag: str, due: datetime) -> Does:
        return Does("failed" if fails and (colour, dag) == ("green", "w_1") else "success")

    aws = working_clients(monkeypatch, 2, does)
    canary = Canary(dags=("w_1",), soak=SOAK)
    return aws, FakeEngine(aws, changes(*EVERYTHING)), canary


def rolled_out(engine: FakeEngine, **how: Any) -> list[Event]:
    events: list[Event] = []
    roll(engine, events, **how)
    return events


def roll(
    engine: FakeEngine,
    events: list[Event],
    killed_at: int | None = None,
    stop: str | None = None,
    **how: Any,
) -> None:
    """`killed_at`, `stop`: the number or the stage of the event at which it is killed."""

    def note(event: Event) -> None:
        events.append(event)
        if len(events) - 1 == killed_at or event.stage == stop:
            raise Killed

    aws = engine.aws
    roll_out(lambda: deployment(aws), cast(Engine, engine), How(**how), on_event=note)


def owner(aws: FakeClients) -> Colour | None:
    return newest_owner(standing(aws))


def stages(events: list[Event]) -> list[str]:
    return [event.stage for event in events if event.stage not in ("wait", "step")]


# --- as it should be ---


def test_the_standby_first_then_a_switch_then_the_rest(aws: FakeClients, engine: FakeEngine) -> None:
    events = rolled_out(engine)
    assert engine.runs == [
        (("blue",), ["mwaa-green", "monitoring"]),
        ((), ["mwaa-blue"]),
    ]
    assert stages(events) == ["plan", "apply", "ready", "switch", "drain", "apply", "done"]
    assert owner(aws) == "green"
    assert not standing(aws).open_books("blue")
    assert aws.ssm.stored["/mwaa-openlineage/fullha/ownership"][1]["Description"].endswith(": rollout")


def test_what_changes_nothing_of_the_owner_needs_no_switch(aws: FakeClients, engine: FakeEngine) -> None:
    engine.wanted = changes(ENVIRONMENTS["green"], DASHBOARD)
    assert stages(rolled_out(engine)) == ["plan", "apply", "done"]
    assert engine.runs == [((), ["mwaa-green", "monitoring"])]
    assert owner(aws) == "blue"


def test_where_nothing_changes_only_the_outputs_are_brought_up_to_date(engine: FakeEngine) -> None:
    engine.wanted = {}
    assert stages(rolled_out(engine)) == ["plan", "apply", "done"]
    assert engine.runs == [((), [])]


def test_with_return_the_work_comes_home(aws: FakeClients, engine: FakeEngine) -> None:
    events = rolled_out(engine, back=True)
    assert stages(events).count("switch") == 2
    assert engine.wanted == {}
    assert owner(aws) == "blue"


def test_the_gate_of_the_standby_is_proven_after_its_update(aws: FakeClients, engine: FakeEngine) -> None:
    events = rolled_out(engine)
    updated = aws.mwaa.environments[GREEN]["LastUpdate"]["CreatedAt"] + timedelta(minutes=engine.minutes)
    ready = next(event for event in events if event.stage == "ready")
    assert ready.at > updated
    assert any("not proven since" in event.text for event in events)


# --- killed, failed, interrupted ---


@pytest.mark.parametrize("back", [False, True], ids=["out", "and back"])
def test_killed_after_any_step_the_same_command_goes_on(monkeypatch: pytest.MonkeyPatch, back: bool) -> None:
    """The engine double refuses every update of a side with work or open books."""
    whole = rolled_out(FakeEngine(probed_clients(monkeypatch), changes(*EVERYTHING)), back=back)
    count = len(whole)
    for step in [number for number, event in enumerate(whole) if event.stage != "wait"]:
        aws = probed_clients(monkeypatch)
        engine = FakeEngine(aws, changes(*EVERYTHING))
        with pytest.raises(Killed):
            roll(engine, [], step, back=back)
        events = rolled_out(engine, back=back)
        assert events[-1].stage == "done"
        assert (engine.wanted, engine.refused) == ({}, []), step
        if not back:
            # Killed after the last part, there is nothing left, and the work stays where it is.
            assert owner(aws) == "green", step
        elif step < count - 1:
            assert owner(aws) == "blue", step
        assert not standing(aws).drains("blue"), step
        assert not standing(aws).drains("green"), step


def test_a_step_that_fails_leaves_the_owner_and_says_how_to_go_on(
    aws: FakeClients, engine: FakeEngine
) -> None:
    engine.fails = ENVIRONMENTS["green"]
    with pytest.raises(Unfinished) as raised:
        rolled_out(engine)
    assert "UPDATE_FAILED. blue owns the work, and nothing that owns work was touched" in str(raised.value)
    assert str(raised.value).endswith("To go on: mwaactl rollout -s fullha")
    assert "LastUpdate" not in aws.mwaa.environments[BLUE]
    assert owner(aws) == "blue"
    rolled_out(engine)
    assert engine.wanted == {}


def test_a_standby_that_does_not_become_ready_gets_no_work(aws: FakeClients, engine: FakeEngine) -> None:
    side(aws, "green").silent = True  # its scheduler creates no run: nothing shows that its gate works
    with pytest.raises(Unfinished, match=r"not ready after 1800 s: .*gate.*green") as raised:
        rolled_out(engine, limit=timedelta(minutes=30))
    assert owner(aws) == "blue"
    assert "mwaactl rollout -s fullha" in str(raised.value)
    side(aws, "green").silent = False
    rolled_out(engine)
    assert owner(aws) == "green"


def test_while_amazon_is_at_work_on_the_standby_nothing_is_applied(
    aws: FakeClients, engine: FakeEngine
) -> None:
    """The engine of a rollout that was killed may have begun an update that goes on in AWS."""
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    with pytest.raises(Unfinished, match=f"{GREEN} is still UPDATING"):
        rolled_out(engine, limit=timedelta(minutes=1))
    assert engine.runs == []


@pytest.mark.parametrize("drain", [timedelta(), timedelta(minutes=20)])
def test_a_drain_that_takes_too_long_is_resumed_by_the_same_command(
    aws: FakeClients, engine: FakeEngine, drain: timedelta
) -> None:
    running = Run(
        "daily", "manual__1", START, "running", "manual", {("only", -1): Task("running")}, start=START
    )
    side(aws, "blue").runs.append(running)
    with pytest.raises(Unfinished, match=r"blue has not drained\. green owns the work") as raised:
        rolled_out(engine, drain=drain)
    assert ENVIRONMENTS["blue"] in engine.wanted
    assert str(raised.value).endswith("To go on: mwaactl rollout -s fullha")
    running.state, running.end = "success", aws.ssm.clock.now
    rolled_out(engine)
    assert engine.wanted == {}
    assert owner(aws) == "green"


def test_steps_that_come_back_in_each_preview_end_it(aws: FakeClients) -> None:
    class Stubborn(FakeEngine):
        def _apply(self, each: str) -> None:
            pass

    with pytest.raises(Unfinished, match="these steps come back in each preview"):
        rolled_out(Stubborn(aws, changes(*EVERYTHING)))


def test_an_interruption_of_the_first_preview_says_that_nothing_was_touched(
    aws: FakeClients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "preview", interrupted)
    with pytest.raises(Unfinished) as raised:
        rolled_out(engine)
    said = "interrupted before anything was touched. To begin again: mwaactl rollout -s fullha"
    assert str(raised.value) == said


@pytest.mark.parametrize("error", [UsageError, Unusable, LostRace])
def test_whatever_ends_it_after_the_update_says_what_stands(
    aws: FakeClients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, error: type[ControlError]
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise error("this is wrong")

    monkeypatch.setattr("mwaactl.rollout.rollout.await_ready", fails)
    with pytest.raises(ControlError, match=r"^this is wrong\. .*stands|^this is wrong\. blue owns") as raised:
        rolled_out(engine)
    assert type(raised.value) is (LostRace if error is LostRace else Unfinished)
    assert engine.runs


# --- the way back ---


def test_a_rollout_that_ends_without_the_way_back_ends_the_promise(
    aws: FakeClients, engine: FakeEngine
) -> None:
    with pytest.raises(Killed):
        roll(engine, [], stop="switch", back=True)
    rolled_out(engine)
    assert (owner(aws), engine.wanted) == ("green", {}), "the operator has decided to stay there"
    for wanted in (BOTH, (DASHBOARD,), ()):
        aws.ssm.clock.forward(86400)
        engine.wanted = changes(*wanted)
        rolled_out(engine, back=True)
        assert owner(aws) == "green", wanted
    history = deployment(aws).ownership.history().versions
    assert any(each.why == "mwaactl: a rollout has ended, and the work stays on green" for each in history)


def test_a_change_of_the_owner_is_a_rollout_of_its_own(aws: FakeClients, engine: FakeEngine) -> None:
    """The interrupted one was ended by hand: by `pulumi up`, which leaves no record."""
    with pytest.raises(Killed):
        roll(engine, [], stop="switch", back=True)
    aws.ssm.clock.forward(3600)
    wait_until_drained(deployment(aws), "green")
    aws.ssm.clock.forward(86400)
    engine.wanted = changes(*BOTH)
    events = rolled_out(engine, back=True)
    assert owner(aws) == "green"
    assert stages(events).count("switch") == 2


def test_the_record_that_the_work_stays_is_written_again_if_another_writer_was_first(
    aws: FakeClients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed):
        roll(engine, [], stop="switch", back=True)
    write, attempts = Ownership.write, [0]

    def crowded(self: Ownership, before: Any, timeline: Any, description: str, *more: Any) -> Any:
        if "stays on" in description:
            attempts[0] += 1
            if attempts[0] == 1:
                raise LostRace("another writer was first")
        return write(self, before, timeline, description, *more)

    monkeypatch.setattr(Ownership, "write", crowded)
    rolled_out(engine)
    assert attempts == [2]


# --- others ---


def test_another_switch_during_the_update_is_told_and_nothing_is_undone(
    aws: FakeClients, engine: FakeEngine
) -> None:
    def elsewhere(event: Event) -> None:
        if event.stage == "apply":
            switched(aws, "green")

    with pytest.raises(LostRace, match="another operator, or another rollout, has switched meanwhile"):
        roll_out(lambda: deployment(aws), cast(Engine, engine), How(), on_event=elsewhere)
    assert (engine.refused, engine.runs) == (["green"], []), "by the guard"


def test_open_books_of_the_standby_are_closed_first(aws: FakeClients, engine: FakeEngine) -> None:
    switched(aws, "green")
    rolled_out(engine)
    assert owner(aws) == "blue", "green owned the work: blue was the standby"
    assert engine.wanted == {}


def test_what_is_left_of_one_dag_takes_no_other_along(aws: FakeClients, engine: FakeEngine) -> None:
    """Somebody may be watching what the standby owns."""
    switched(aws, "green", "daily")
    aws.ssm.clock.forward(30)
    switched(aws, "green", "hourly")
    switched(aws, "blue", "daily")
    aws.ssm.clock.forward(60)
    assert [book.dag_id for book in standing(aws).drains("green")] == ["daily"]
    engine.wanted = {}
    rolled_out(engine)
    assert not standing(aws).drains("green")
    assert newest_owner(standing(aws), "hourly") == "green"


def test_a_standby_that_owns_single_dags_is_not_updated(aws: FakeClients, engine: FakeEngine) -> None:
    switched(aws, "green", "hourly")
    aws.ssm.clock.forward(30)
    with pytest.raises(UsageError, match="green owns hourly") as raised:
        rolled_out(engine)
    assert "mwaactl switch blue --wait -s fullha --force same-plugins" in str(raised.value)
    switched(aws, "blue")
    aws.ssm.clock.forward(60)
    wait_until_drained(deployment(aws), "blue")
    rolled_out(engine)
    assert engine.wanted == {}


def test_a_standby_with_a_dag_of_its_own_and_closed_books_is_not_updated(
    aws: FakeClients, engine: FakeEngine
) -> None:
    switched(aws, "green", "hourly")
    aws.ssm.clock.forward(30)
    assert wait_until_drained(deployment(aws), "green", dags=("hourly",)).finished
    with pytest.raises(UsageError, match=r"green owns hourly.*mwaactl switch blue --wait -s fullha"):
        rolled_out(engine)
    assert (engine.refused, engine.runs) == ([], [])
    assert newest_owner(standing(aws), "hourly") == "green"


def test_a_switch_during_the_preview_is_told(
    aws: FakeClients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview = engine.preview

    def elsewhere() -> Any:
        if owner(aws) == "blue":
            switched(aws, "green")
        return preview()

    monkeypatch.setattr(engine, "preview", elsewhere)
    with pytest.raises(LostRace, match="has switched meanwhile"):
        rolled_out(engine)
    assert engine.runs == []


def test_the_command_to_go_on_has_all_that_the_outcome_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    _aws, engine, canary = working(monkeypatch, fails=True)
    engine.config_file = "/etc/my settings.yaml"
    with pytest.raises(CheckFailed) as raised:
        rolled_out(engine, canary=canary, back=True, force={"pools"})
    options = "--config-file '/etc/my settings.yaml' --return --force pools --canary w_1 --soak 600s"
    assert f"mwaactl rollout {options} -s fullha" in str(raised.value)


def test_a_side_that_does_not_answer_is_told_while_it_drains(aws: FakeClients, engine: FakeEngine) -> None:
    events: list[Event] = []

    def note(event: Event) -> None:
        events.append(event)
        if event.stage == "switch":
            side(aws, "blue").silence()

    with pytest.raises(Unfinished, match="blue has not drained"):
        roll_out(
            lambda: deployment(aws),
            cast(Engine, engine),
            How(drain=timedelta(minutes=10)),
            on_event=note,
        )
    assert any("REST API" in event.text for event in events if event.stage == "wait")
