"""A trigger that notes by which routes the gate is in the triggerer, then fires."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from zoo_witness import witness


class NotingTrigger(BaseTrigger):  # type: ignore[misc]
    """`mark` says whose it is: a task that began on a worker, or one that asked to start here."""

    def __init__(self, mark: Mapping[str, str]) -> None:
        super().__init__()
        self.mark = dict(mark)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "zoo_trigger.NotingTrigger", {"mark": self.mark}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(15)  # or Airflow may resume the task before it has noticed that it was deferred
        witness("started here" if "started" in self.mark else "trigger")
        yield TriggerEvent("now")
