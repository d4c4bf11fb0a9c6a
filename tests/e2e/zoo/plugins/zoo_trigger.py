"""A trigger that notes that it ran, then fires."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class NotingTrigger(BaseTrigger):  # type: ignore[misc]
    """`mark` says whose it is; its line in the ledger has it, and "triggered"."""

    def __init__(self, mark: Mapping[str, str]) -> None:
        super().__init__()
        self.mark = dict(mark)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "zoo_trigger.NotingTrigger", {"mark": self.mark}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(15)  # or Airflow may resume the task before it has noticed that it was deferred
        handle = os.open(os.environ["AIRFLOW__ZOO__LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, (json.dumps({**self.mark, "map": None, "what": "triggered"}) + "\n").encode())
        os.close(handle)
        yield TriggerEvent("now")
