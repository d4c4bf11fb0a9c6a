"""Watchers of assets: who takes messages off a queue, before, during and after switches."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from bluegreen import policies
from bluegreen.store import OwnershipUnknown

from tests.fakes.modules import stand_in


class BaseEventTrigger:
    """As in airflow.triggers.base (3.3)."""

    def __init__(self) -> None:
        self.asset_state_store: Any = None
        self.trigger_id: int | None = None

    async def cleanup(self) -> None:
        pass


class Queue(BaseEventTrigger):
    """Takes messages of the class's queue and sleeps between looks; `slow`: it never gets to report one."""

    messages: list[str] = []  # noqa: RUF012
    log: list[str] = []  # noqa: RUF012

    def __init__(self, *, slow: bool = False, once: bool = False) -> None:
        super().__init__()
        self.slow, self.once = slow, once

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.Queue", {"slow": self.slow, "once": self.once}

    async def run(self) -> AsyncIterator[str]:
        self.log.append(f"started {self.trigger_id} {self.asset_state_store}")
        while True:
            while self.messages:
                message = self.messages.pop()
                if message == "broken":
                    raise ValueError(message)
                if self.slow:
                    await asyncio.get_running_loop().create_future()
                yield message
                if self.once:
                    return
            await asyncio.sleep(0.01)

    async def cleanup(self) -> None:
        self.log.append("cleaned up")


class World:
    """The module under test, who owns the work, and what the triggerer was told."""

    def __init__(self, watchers: Any) -> None:
        self.watchers = watchers
        self.ours: bool | Exception = False
        self.events: list[str] = []

    def owns_now(self) -> bool:
        if isinstance(self.ours, Exception):
            raise self.ours
        return self.ours

    async def triggerer(self, trigger: Any) -> None:
        trigger.trigger_id, trigger.asset_state_store = 7, "state"
        async for event in trigger.run():
            self.events.append(event)

    def gated(self, **arguments: Any) -> Any:
        """What the triggerer makes of the stored class and arguments."""
        watcher = SimpleNamespace(name="queue", trigger=Queue(**arguments))
        self.watchers.gate(watcher)
        path, stored = watcher.trigger.serialize()
        assert path == "bluegreen.watchers.OwnersTrigger"
        return self.watchers.OwnersTrigger(**stored)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    modules: dict[str, dict[str, Any]] = {
        "airflow": {},
        "airflow.triggers": {},
        "airflow.triggers.base": {"BaseEventTrigger": BaseEventTrigger},
    }
    stand_in(monkeypatch, modules)
    monkeypatch.delitem(sys.modules, "bluegreen.watchers", raising=False)
    world = World(importlib.import_module("bluegreen.watchers"))
    for name, seconds in {"LOOK": 0.02, "PAUSE": 0.01, "OUTAGE": 0.3, "GRACE": 0.3}.items():
        monkeypatch.setattr(world.watchers, f"{name}_SECONDS", seconds)
    monkeypatch.setattr(world.watchers, "_owns_now", world.owns_now)
    monkeypatch.setattr(Queue, "messages", [])
    monkeypatch.setattr(Queue, "log", [])
    yield world
    sys.modules.pop("bluegreen.watchers", None)


async def until(condition: Any, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def test_messages_go_to_the_owner_through_switches_without_a_restart(world: World) -> None:
    async def story() -> None:
        running = asyncio.create_task(world.triggerer(world.gated()))
        Queue.messages.append("first")
        await asyncio.sleep(0.2)
        assert Queue.messages == ["first"], "the standby leaves it"
        assert Queue.log == [], "and does not even connect"
        world.ours = True
        await until(lambda: world.events == ["first"])
        assert Queue.log == ["started 7 state"]
        world.ours = False
        await until(lambda: Queue.log[1:] == ["cleaned up"])
        Queue.messages.append("second")
        await asyncio.sleep(0.2)
        assert Queue.messages == ["second"]
        world.ours = True
        await until(lambda: world.events == ["first", "second"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert Queue.log[-1] == "cleaned up"

    asyncio.run(story())


def test_a_trigger_that_has_taken_a_message_has_time_to_report_it(world: World) -> None:
    async def story() -> None:
        world.ours = True
        Queue.messages.append("slow")
        running = asyncio.create_task(world.triggerer(world.gated(slow=True)))
        await until(lambda: not Queue.messages)
        world.ours = False
        await asyncio.sleep(0.2)
        assert "cleaned up" not in Queue.log
        await until(lambda: "cleaned up" in Queue.log)  # but not for ever
        assert not running.done(), "it watches again after the next switch"
        running.cancel()

    asyncio.run(story())


def test_a_trigger_that_ends_or_fails_does_so_for_the_triggerer_too(world: World) -> None:
    world.ours = True
    Queue.messages.append("only")
    asyncio.run(world.triggerer(world.gated(once=True)))
    assert world.events == ["only"]
    Queue.messages.append("broken")
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(world.triggerer(world.gated()))


def test_without_an_answer_the_standby_takes_nothing_and_the_owner_goes_on_for_a_while(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        world.ours = OwnershipUnknown("SSM is down")
        running = asyncio.create_task(world.triggerer(world.gated()))
        Queue.messages.append("first")
        await asyncio.sleep(0.1)
        assert Queue.messages == ["first"]
        world.ours = True
        await until(lambda: not Queue.messages)
        world.ours = OwnershipUnknown("SSM is down")
        await asyncio.sleep(0.1)
        Queue.messages.append("second")
        await until(lambda: world.events == ["first", "second"])
        await until(lambda: "cleaned up" in Queue.log)
        Queue.messages.append("third")
        await asyncio.sleep(0.1)
        assert Queue.messages == ["third"]
        running.cancel()

    asyncio.run(story())
    assert "nobody knows who may watch: SSM is down" in caplog.text


def test_the_policy_gates_the_watchers_of_all_assets_of_a_dag_once(world: World) -> None:
    def asset() -> SimpleNamespace:
        return SimpleNamespace(watchers=[SimpleNamespace(name="queue", trigger=Queue())])

    scheduled, inlet, outlet = asset(), asset(), asset()
    either = SimpleNamespace(objects=[SimpleNamespace(name="an alias"), scheduled])
    condition = SimpleNamespace(objects=[scheduled, either])
    dag = SimpleNamespace(
        get_template_env=None,
        timetable=SimpleNamespace(asset_condition=condition),
        tasks=[SimpleNamespace(inlets=[inlet, object()], outlets=[outlet]), SimpleNamespace(inlets=None)],
    )
    policies.dag_policy(dag)
    policies.dag_policy(dag)
    for watcher in (each.watchers[0] for each in (scheduled, inlet, outlet)):
        assert watcher.name == "queue (blue/green)"  # which the REST API shows
        assert watcher.trigger.serialize() == (
            "bluegreen.watchers.OwnersTrigger",
            {"bluegreen_watches_by": f"{__name__}.Queue", "slow": False, "once": False},
        )
