"""What the DAGs of the life test share: the ledger, the instants, and tasks that do what they are told.

`life.json` beside this file: {"ledger": path, "flags": folder, "origins": {name: instant}}. A flag is a file
by which the test tells the tasks to act differently from then on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

try:
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import DAG, Asset
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.datasets import Dataset as Asset
    from airflow.operators.python import PythonOperator

__all__ = ["DAG", "Asset", "PythonOperator"]

CHOSEN = json.loads((Path(__file__).parent / "life.json").read_text())
FLAGS = Path(CHOSEN["flags"])
HOUR = timedelta(hours=1)  # after which `at` repeats
# For what is rescheduled or killed. On a busy machine Airflow takes a rescheduled task for lost at times.
AGAIN: dict[str, Any] = {"retries": 5, "retry_delay": timedelta(seconds=1)}


def environ(option: str) -> str:
    return os.environ.get(f"AIRFLOW__BLUEGREEN__{option}", "")


def due_at(run: Any) -> datetime:
    """The due instant of a DAG run, in both major versions."""
    found: datetime = getattr(run, "run_after", None) or run.data_interval_end
    return found


def note(what: str, context: Any) -> None:
    """One line of the ledger: a single write to a file opened for appending is never torn or mixed."""
    run, ti = context["dag_run"], context["ti"]
    causes = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
    line = {
        "what": what,
        "colour": environ("ENVIRONMENT"),
        "life": environ("LIFE"),
        "dag": run.dag_id,
        "run": run.run_id,
        "due": due_at(run).isoformat(),
        "task": ti.task_id,
        "map": ti.map_index,
        "try": ti.try_number,
        "at": datetime.now(timezone.utc).isoformat(),  # noqa: UP017 - Airflow 2.11 also runs on Python 3.10
        "pid": os.getpid(),
        "causes": [event.source_run_id or "" for events in causes.values() for event in events],
    }
    ledger = os.open(CHOSEN["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(ledger, (json.dumps(line) + "\n").encode())
    finally:
        os.close(ledger)


def origin(wave: str) -> datetime | None:
    """The instant from which a wave's offsets count; None before it has been announced."""
    text = CHOSEN["origins"].get(wave)
    return datetime.fromisoformat(text) if text else None


def at(start: datetime, *offsets: int) -> str:
    """The cron expression (its sixth field is the second) of instants so many seconds after `start`.

    Offsets that differ by whole minutes; the same again each hour, which no test lives to see.
    """
    instants = [start + timedelta(seconds=offset) for offset in offsets]
    (second,) = {instant.second for instant in instants}
    return f"{','.join(str(instant.minute) for instant in instants)} * * * * {second}"


def every(seconds: int) -> str:
    return f"* * * * * */{seconds}"


def dag(name: str, schedule: Any, start: datetime, **arguments: Any) -> DAG:
    """A DAG that makes a run for each of its data intervals that begin between `start` and its end_date.

    The first is due when that interval ends. Unpaused from the beginning.
    """
    chosen = {"start_date": start, "catchup": True, "is_paused_upon_creation": False} | arguments
    return DAG(name, schedule=schedule, **chosen)


def once(name: str, start: datetime, *offsets: int, **arguments: Any) -> DAG:
    """A DAG that is due at these offsets from `start` only."""
    first = start + timedelta(seconds=max(offsets)) - HOUR  # of the data interval that ends at the first one
    return dag(name, at(start, *offsets), first, **arguments)


def work(seconds: float, **context: Any) -> None:
    note("start", context)
    time.sleep(seconds)
    note("done", context)


def task(
    seconds: float | Callable[..., None] = 0.1, task_id: str = "work", **arguments: Any
) -> PythonOperator:
    """A task that works for some seconds, or calls a function with its context."""
    if callable(seconds):
        return PythonOperator(task_id=task_id, python_callable=seconds, **arguments)
    return PythonOperator(task_id=task_id, python_callable=work, op_args=[seconds], **arguments)


def fail_until(flag: str, seconds: float) -> Callable[..., None]:
    """Fails at once until the flag is set, then works for some seconds."""

    def called(**context: Any) -> None:
        if not (FLAGS / flag).exists():
            note("fail", context)
            raise RuntimeError("fails, as planned")
        work(seconds, **context)

    return called
