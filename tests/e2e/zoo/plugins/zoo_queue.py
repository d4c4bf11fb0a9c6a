"""A message queue, which is a folder, and the trigger by which an asset of Airflow 3 watches it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import TriggerEvent

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2
    from airflow.triggers.base import BaseTrigger as BaseEventTrigger


class Queue(BaseEventTrigger):  # type: ignore[misc]
    """Takes a message off the queue, reports it and goes on."""

    def __init__(self, *, seconds: float = 0.5) -> None:
        super().__init__()
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "zoo_queue.Queue", {"seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        folder = Path(os.environ["AIRFLOW__ZOO__LEDGER"]).with_name("queue")
        while True:
            for message in [*folder.glob("*")]:
                message.unlink()
                yield TriggerEvent(message.name)
            await asyncio.sleep(self.seconds)
