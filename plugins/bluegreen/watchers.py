"""Asset watchers (SQS, Kafka, ...): only the environment that owns the work takes messages off the queue.

The DAG processor stores the class and arguments of each watcher's trigger, and triggerers run it all the
time. `gate` puts a trigger of ours in its place, which runs the watcher's own while this environment owns the
work, so a switch needs no restart. What was taken here is worked on here (`gate.py`). A watcher follows the
decisions about all DAGs, never those about one: several DAGs may wait for the same asset.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from airflow.triggers.base import BaseEventTrigger

from bluegreen import settings, store

log = logging.getLogger("bluegreen")

LOOK_SECONDS = 5.0  # between two looks at who owns the work, shared by all watchers of a triggerer
PAUSE_SECONDS = 0.2  # between two looks at what a trigger has reported
OUTAGE_SECONDS = 60.0  # for so long, an environment that owned the work goes on watching without an answer
GRACE_SECONDS = 30.0  # how long a trigger that is not sleeping may finish what it does
MARK = " (blue/green)"  # appended to a watcher's name, which Airflow's REST API lists with the asset


def gate(watcher: Any) -> None:
    """Replace a watcher's trigger by one that runs it only while this environment owns the work."""
    if isinstance(watcher.trigger, OwnersTrigger):
        return
    classpath, arguments = watcher.trigger.serialize()
    watcher.trigger = OwnersTrigger(bluegreen_watches_by=classpath, **arguments)
    watcher.name += MARK


class OwnersTrigger(BaseEventTrigger):  # type: ignore[misc]
    """A watcher's trigger, given by its class's path and its arguments."""

    def __init__(self, *, bluegreen_watches_by: str, **arguments: Any) -> None:
        super().__init__()
        self.classpath = bluegreen_watches_by
        self.arguments = arguments

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """This class, and the other trigger's arguments as they are: Airflow encodes each of them."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"bluegreen_watches_by": self.classpath, **self.arguments}

    async def run(self) -> AsyncIterator[Any]:
        """Yield what the watcher's own trigger yields, while this environment owns the work."""
        while True:
            while not await _ownership.is_ours():
                await asyncio.sleep(LOOK_SECONDS)
            trigger = self._trigger()
            source = trigger.run()
            events: asyncio.Queue[Any] = asyncio.Queue()
            watching = asyncio.create_task(_pump(source, events))
            log.info("blue/green gate: watching by %s", self.classpath)
            try:
                async for event in _while_ours(watching, source, events):
                    yield event
            finally:
                watching.cancel()
                with suppress(Exception):
                    await trigger.cleanup()
            if not watching.cancelled():
                watching.result()  # raises what the trigger raised
                return  # the trigger has ended by itself; the triggerer starts it again
            log.info("blue/green gate: no longer watching by %s: the other environment does", self.classpath)

    def _trigger(self) -> Any:
        module, _, name = self.classpath.rpartition(".")
        trigger = getattr(import_module(module), name)(**self.arguments)
        for given in ("trigger_id", "triggerer_job_id", "asset_state_store"):  # by the triggerer
            if hasattr(self, given):
                setattr(trigger, given, getattr(self, given))
        return trigger


async def _pump(source: AsyncIterator[Any], events: asyncio.Queue[Any]) -> None:
    with suppress(ImportError):  # as the triggerer does: it lets triggers read connections
        await import_module("greenback").ensure_portal()
    async for event in source:
        events.put_nowait(event)


async def _while_ours(
    watching: asyncio.Task[None], source: AsyncIterator[Any], events: asyncio.Queue[Any]
) -> AsyncIterator[Any]:
    """Yield events until the task ends; cancel it when the work is not ours any more."""
    lost: float | None = None
    while True:
        done, _ = await asyncio.wait({watching}, timeout=PAUSE_SECONDS)
        while not events.empty():
            yield events.get_nowait()
        if done:
            return
        if await _ownership.is_ours():
            lost = None
            continue
        lost = lost or time.monotonic()
        # a trigger that sleeps holds no message; another one may have taken one that it has not reported yet
        if _sleeps(source) or time.monotonic() - lost > GRACE_SECONDS:
            watching.cancel()


def _sleeps(source: Any) -> bool:
    """Whether a generator waits in asyncio.sleep."""
    awaited = getattr(source, "ag_await", None)
    while awaited is not None:
        if getattr(awaited, "cr_code", None) is asyncio.sleep.__code__:
            return True
        awaited = getattr(awaited, "cr_await", None)
    return False


class _Ownership:
    """What the last look at the timeline said; without an answer for too long, the work is not ours."""

    def __init__(self) -> None:
        self._ours = False
        self._looked = self._answered = float("-inf")
        self._lock = asyncio.Lock()

    async def is_ours(self) -> bool:
        async with self._lock:
            now = time.monotonic()
            if now - self._looked >= LOOK_SECONDS:
                self._looked = now
                try:
                    self._ours = await asyncio.to_thread(_owns_now)
                    self._answered = now
                except (settings.SettingsError, store.OwnershipUnknown) as error:
                    log.warning("blue/green gate: nobody knows who may watch: %s", error)
                    self._ours = self._ours and now - self._answered < OUTAGE_SECONDS
            return self._ours


_ownership = _Ownership()


def _owns_now() -> bool:
    """Whether this environment owns what is due now. Raises SettingsError or OwnershipUnknown."""
    chosen, now = settings.load(), datetime.now(UTC)
    timeline = store.store(chosen).timeline(now, wait=0)
    return timeline.in_force(now).owned_by == (chosen.environment, chosen.life)
