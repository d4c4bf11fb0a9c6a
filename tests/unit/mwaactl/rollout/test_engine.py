"""What the events of the engine tell, and what its errors mean to an operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bluegreen.timeline import Colour
from pulumi.automation import CommandError, CommandResult, Stack
from pulumi.automation.errors import ConcurrentUpdateError, StackNotFoundError
from pulumi.automation.events import EngineEvent

from mwaactl.errors import CheckFailed, ControlError, LostRace, Unfinished, Unreachable, UsageError
from mwaactl.rollout.engine import VARIABLE, Change, Engine, Seen
from tests.fakes.mwaactl.engine import COMPONENTS, ENVIRONMENTS, NETWORK, STACK, VPC


def event(
    operation: str, urn: str, parent: str, *, custom: bool = True, diffs: tuple[str, ...] = (), **states: Any
) -> EngineEvent:
    about = {"urn": urn, "type": "t", "custom": custom, "parent": parent, "id": ""}
    metadata = {
        "op": operation,
        "urn": urn,
        "type": "t",
        "provider": "",
        "diffs": list(diffs),
        **{name: {**about, "inputs": inputs} for name, inputs in states.items()},
    }
    return EngineEvent.from_json(
        {"sequence": 1, "timestamp": 1, "resourcePreEvent": {"metadata": metadata, "planning": True}}
    )


def diagnostic(severity: str, message: str) -> EngineEvent:
    told = {"severity": severity, "message": message, "color": "never"}
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, "diagnosticEvent": told})


TREE = [
    event("same", STACK, "", custom=False, old={}, new={}),
    event("same", NETWORK, STACK, custom=False, old={}, new={}),
    event("update", VPC, NETWORK, old={"cidr": "a"}, new={"cidr": "b"}),
    event("same", COMPONENTS["blue"], STACK, custom=False, old={}, new={}),
    event("create", COMPONENTS["green"], STACK, custom=False, new={}),
    event("create", ENVIRONMENTS["green"], COMPONENTS["green"], new={"name": "g"}),
]


def seen(*events: EngineEvent) -> tuple[Seen, list[Change]]:
    result = Seen()
    return result, [change for each in events if (change := result.take(each)) is not None]


def test_a_resource_belongs_to_the_environment_above_it_or_to_both() -> None:
    result, changes = seen(*TREE, event("same", ENVIRONMENTS["blue"], COMPONENTS["blue"], old={}, new={}))
    assert [change.name for change in changes] == ["network", "mwaa-green"], "components change nothing"
    assert result.side(VPC) is None
    assert result.side(ENVIRONMENTS["green"]) == "green"
    assert result.of("blue") == sorted([COMPONENTS["blue"], ENVIRONMENTS["blue"]])


@pytest.mark.parametrize(
    ("states", "diffs", "keys"),
    [
        ({"old": {"a": 1, "b": 2}, "new": {"a": 1, "b": 3, "c": 4}}, (), ("b", "c")),
        (
            {"old": {"keepers": {"x": 1, "y": 1}}, "new": {"keepers": {"x": 2, "y": 1}}},
            ("keepers",),
            ("keepers.x",),
        ),
        ({"old": {"o": "[secret]", "b": 2}, "new": {"o": "[secret]", "b": 3}}, ("o", "b"), ("b", "o")),
        ({"new": {"a": 1}}, (), ()),
    ],
    ids=["inputs", "a part", "a secret", "a creation"],
)
def test_what_changes_is_told_as_precisely_as_it_is_known(
    states: dict[str, Any], diffs: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    _, [change] = seen(event("update", VPC, NETWORK, diffs=diffs, **states))
    assert change.keys == keys


def test_the_steps_of_a_replacement_are_one_change() -> None:
    result, changes = seen(
        event("delete-replaced", VPC, NETWORK, old={"cidr": "a"}),
        event("replace", VPC, NETWORK, old={"cidr": "a"}, new={"cidr": "b"}),
        event("create-replacement", VPC, NETWORK, old={"cidr": "a"}, new={"cidr": "b"}),
    )
    assert len(changes) == 1
    assert result.changes == {VPC: Change(VPC, "replace", ("cidr",))}


def engine_that(
    monkeypatch: pytest.MonkeyPatch, does: Callable[[Any, Callable[[EngineEvent], None]], None]
) -> Engine:
    def run(stack: Stack, *, on_event: Callable[[EngineEvent], None], **_: Any) -> None:
        does(stack, on_event)

    monkeypatch.setattr("pulumi.automation.PulumiCommand", lambda **_: SimpleNamespace(version=None))
    monkeypatch.setattr(Stack, "preview", run)
    monkeypatch.setattr(Stack, "up", run)
    monkeypatch.setattr(Stack, "refresh", run)
    folder = Path(__file__).parents[4]
    return Engine(folder, "fullha")


def test_the_program_is_told_what_is_left_alone_and_no_stack_is_selected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    def note(stack: Any, _: Any) -> None:
        told.append(stack.workspace.env_vars[VARIABLE])

    engine = engine_that(monkeypatch, note)
    engine.preview()
    owner: Colour = "green"
    engine.update((owner,), ["urn"], lambda _: None)
    engine.update((), (), lambda _: None)
    engine.refresh("urn")
    assert told == ["blue,green", "green", "", "blue,green"]


def test_a_refresh_is_of_one_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, told = engine_that(monkeypatch, lambda *_: None), []

    def run(_stack: Stack, **given: Any) -> None:
        told.append(given["target"])
        raise CommandError(FAILED)

    monkeypatch.setattr(Stack, "refresh", run)
    with pytest.raises(CheckFailed, match="refresh --target 'urn'` failed, and nothing was touched: no such"):
        engine.refresh("urn")
    assert told == [["urn"]]


FAILED = CommandResult("", "stderr: error: no such key\n", 255)


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (CommandError(FAILED), CheckFailed, "the preview failed, and nothing was touched: no such key"),
        (ConcurrentUpdateError(FAILED), LostRace, "pulumi cancel -s fullha"),
        (StackNotFoundError(FAILED), UsageError, "there is no stack 'fullha'"),
        (FileNotFoundError(), Unreachable, "not on PATH"),
    ],
    ids=["refused", "locked", "no stack", "no CLI"],
)
def test_errors_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[ControlError], text: str
) -> None:
    def fail(_stack: Any, _on_event: Any) -> None:
        raise error

    with pytest.raises(raised) as found:
        engine_that(monkeypatch, fail).preview()
    assert text in str(found.value)


def test_what_the_program_and_the_provider_say_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_stack: Any, on_event: Callable[[EngineEvent], None]) -> None:
        for severity, message in (("info", "hm"), ("error", "UPDATE_FAILED"), ("error", "UPDATE_FAILED\n")):
            on_event(diagnostic(severity, message))
        raise CommandError(FAILED)

    with pytest.raises(Unfinished) as found:
        engine_that(monkeypatch, fail).update((), (), lambda _: None)
    assert str(found.value) == "`pulumi up` failed: UPDATE_FAILED"
