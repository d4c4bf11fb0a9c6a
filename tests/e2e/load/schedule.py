"""What is due when, computed from the schedules of `dags/load.py` and not from what Airflow made of them.

LOAD=light  about half as many tasks, for a machine that is busy with other things
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Load:
    """One scheduled DAG: its period in seconds (instants are multiples) and its tasks (id, map index).

    `resumed`: a task that several processes work on, one after the other (deferred, or rescheduled).
    """

    dag: str
    period: int
    tasks: tuple[tuple[str, int], ...] = (("work", -1),)
    serial: bool = False
    resumed: str | None = None

    def due(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """The instants in [since, until)."""
        seconds = -(-since.timestamp() // self.period) * self.period
        while (instant := datetime.fromtimestamp(seconds, UTC)) < until:
            yield instant
            seconds += self.period


LIGHT = os.environ.get("LOAD") == "light"
PRODUCER, CONSUMER = "load_producer", "load_consumer"

LOADS = (
    Load("load_fast", 15 if LIGHT else 3),
    Load("load_minute", 60, (("one", -1), ("two", -1))),
    Load("load_mapped", 30 if LIGHT else 15, (("each", 0), ("each", 1), ("each", 2), ("reduce", -1))),
    Load("load_deferred", 30 if LIGHT else 10, resumed="work"),
    Load("load_retried", 30 if LIGHT else 15),
    Load("load_serial", 60 if LIGHT else 20, serial=True),
    Load("load_past", 60 if LIGHT else 30, serial=True),
    Load("load_late", 30),
    Load(PRODUCER, 30),
    Load("load_upstream", 30),
    Load("load_awaiting", 30, (("wait", -1), ("work", -1)), resumed="wait"),
)

# These can move alone; the others depend on each other, or would be split from what they wait for.
ALONE = ("load_fast", "load_minute", "load_mapped", "load_deferred", "load_retried", "load_late")
