"""A rollout moves some DAGs first and watches them; whatever ends it says where they are."""

from __future__ import annotations

from itertools import groupby
from typing import cast

import pytest

from mwaactl.canary.progressive import Canary
from mwaactl.errors import CheckFailed, LostRace, Unfinished
from mwaactl.ownership.reading import newest_owner
from mwaactl.rollout.engine import Engine
from mwaactl.rollout.how import How
from mwaactl.rollout.rollout import Event, roll_out
from tests.fakes.airflow.working import Does, working_clients
from tests.fakes.aws.clients import deployment, standing
from tests.fakes.aws.errors import Killed
from tests.fakes.mwaactl.engine import DASHBOARD, ENVIRONMENTS, EVERYTHING, FakeEngine, changes
from tests.fakes.mwaactl.switches import switched
from tests.unit.mwaactl.rollout.test_rollout import SOAK, owner, roll, rolled_out, stages, working


def test_some_dags_go_first_and_the_rest_follows_if_they_do_well(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, engine, canary = working(monkeypatch)
    events = rolled_out(engine, canary=canary)
    shown = [stage for stage, _ in groupby(stages(events))]
    assert shown == ["plan", "apply", "ready", "canary", "switch", "drain", "apply", "done"]
    assert owner(aws) == "green"
    assert (engine.wanted, engine.refused) == ({}, [])


def test_if_they_do_badly_they_go_back_and_the_owner_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, engine, canary = working(monkeypatch, fails=True)
    with pytest.raises(CheckFailed, match=r"w_1: .* runs failed.*Given back to blue") as raised:
        rolled_out(engine, canary=canary)
    assert "green is up to date, and blue owns the work as before" in str(raised.value)
    assert owner(aws) == newest_owner(standing(aws), "w_1") == "blue"
    assert list(engine.wanted) == [ENVIRONMENTS["blue"]]
    assert not standing(aws).drains("green")


def test_killed_while_it_watches_the_same_command_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, engine, canary = working(monkeypatch)
    whole = rolled_out(engine, canary=canary)
    first = next(number for number, event in enumerate(whole) if event.stage == "canary")
    aws, engine, canary = working(monkeypatch)
    with pytest.raises(Killed):
        roll(engine, [], first, canary=canary)
    assert (owner(aws), newest_owner(standing(aws), "w_1")) == ("blue", "green")
    rolled_out(engine, canary=canary)
    assert (engine.wanted, engine.refused) == ({}, [])
    assert owner(aws) == "green"


def test_killed_while_it_watches_it_goes_on_beside_a_shared_step_that_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a stack of the nightly audit, which has the outputs of both sides."""

    class ComesBack(FakeEngine):
        def _apply(self, each: str) -> None:
            if each != DASHBOARD or ENVIRONMENTS["blue"] not in self.wanted:
                super()._apply(each)

    # What the first DAGs have left on blue is still at work.
    aws = working_clients(monkeypatch, 2, lambda side, _dag, _due: Does(takes=3000 if side == "blue" else 20))
    engine, canary = ComesBack(aws, changes(*EVERYTHING)), Canary(dags=("w_1",), soak=SOAK)
    with pytest.raises(Killed):
        roll(engine, [], stop="canary", canary=canary)
    assert standing(aws).drains("blue")
    rolled_out(engine, canary=canary)
    assert (engine.wanted, engine.refused, owner(aws)) == ({}, [], "green")


@pytest.mark.parametrize("dags", [(), ("w_0",)], ids=["none", "others"])
def test_what_another_rollout_watches_is_not_moved_on(
    monkeypatch: pytest.MonkeyPatch, dags: tuple[str, ...]
) -> None:
    aws, engine, canary = working(monkeypatch)
    second = Canary(dags=dags, soak=SOAK) if dags else None
    refused: list[str] = []

    def meanwhile(event: Event) -> None:
        if event.stage == "canary" and not refused:
            with pytest.raises(LostRace) as raised:
                rolled_out(engine, canary=second)
            refused.append(str(raised.value))

    first = How(canary=canary)
    roll_out(lambda: deployment(aws), cast(Engine, engine), first, on_event=meanwhile)
    assert "green owns w_1 already" in refused[0]
    assert "repeat it with its own options (--canary)" in refused[0]
    assert "mwaactl switch blue --wait -s fullha" in refused[0]
    assert (owner(aws), engine.wanted) == ("green", {}), "the first has ended as it should"


def test_what_another_rollout_moves_before_the_switch_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, engine, _ = working(monkeypatch)

    def meanwhile(event: Event) -> None:
        if event.text.startswith("until green is ready"):
            switched(aws, "green", "w_1", force={"same-plugins"})

    with pytest.raises(
        LostRace, match=r"green owns w_1 already.*What this rollout has done until then stands"
    ):
        roll_out(lambda: deployment(aws), cast(Engine, engine), How(), on_event=meanwhile)
    assert owner(aws) == "blue"


def test_percents_go_on_with_what_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, engine, canary = working(monkeypatch)
    with pytest.raises(Killed):
        roll(engine, [], stop="canary", canary=canary)
    rolled_out(engine, canary=Canary(percents=(50,), soak=SOAK))
    assert (owner(aws), engine.wanted) == ("green", {})


def test_of_the_same_rollout_twice_the_later_decision_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, engine, canary = working(monkeypatch)
    ended: list[Event] = []

    def meanwhile(event: Event) -> None:
        if event.stage == "canary" and not ended:
            ended.append(event)
            rolled_out(engine, canary=canary)

    with pytest.raises(
        LostRace, match=r"another operator.*What this rollout has done until then stands"
    ) as raised:
        roll_out(lambda: deployment(aws), cast(Engine, engine), How(canary=canary), on_event=meanwhile)
    assert raised.value.beside["canary"][0]["dags"] == ["w_1"]
    assert (owner(aws), engine.wanted) == ("green", {})


def test_what_ends_it_after_they_did_well_says_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody watches them any more, though the rest has not followed."""
    aws, engine, canary = working(monkeypatch)
    watched: list[Event] = []

    def meanwhile(event: Event) -> None:
        if event.stage == "canary":
            watched.append(event)
        elif watched and event.text.startswith("until green is ready"):
            raise KeyboardInterrupt

    with pytest.raises(Unfinished) as raised:
        roll_out(lambda: deployment(aws), cast(Engine, engine), How(canary=canary), on_event=meanwhile)
    text = str(raised.value)
    assert "interrupted. Now on green, and not watched: w_1" in text
    assert "give them back: mwaactl switch blue --wait -s fullha --dag w_1 --force same-plugins" in text
    assert "To go on: mwaactl rollout" in text
    assert [step["on"] for step in raised.value.beside["canary"]] == ["green"]
    assert (owner(aws), newest_owner(standing(aws), "w_1")) == ("blue", "green")
