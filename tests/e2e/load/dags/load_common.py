"""What the DAGs of the load share: the ledger, and a DAG that makes up for everything since the start.

`load.json` beside this file: {"ledger": path, "start": time, "pattern": "gate"|"ask", ...}.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

CHOSEN = json.loads((Path(__file__).parent / "load.json").read_text())
COLOUR = os.environ.get("AIRFLOW__BLUEGREEN__ENVIRONMENT", "")


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
        "colour": COLOUR,
        "dag": run.dag_id,
        "run": run.run_id,
        "due": due_at(run).isoformat(),
        "task": ti.task_id,
        "map": ti.map_index,
        "try": ti.try_number,
        "at": datetime.now(UTC).isoformat(),
        "pid": os.getpid(),
        "causes": [event.source_run_id for events in causes.values() for event in events],
    }
    ledger = os.open(CHOSEN["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(ledger, (json.dumps(line) + "\n").encode())
    finally:
        os.close(ledger)


def work(seconds: float, **context: Any) -> None:
    note("start", context)
    time.sleep(seconds)
    note("done", context)


def dag(name: str, schedule: Any, **arguments: Any) -> DAG:
    chosen: dict[str, Any] = {
        "start_date": datetime.fromisoformat(CHOSEN["start"]),
        "catchup": True,
        "is_paused_upon_creation": False,
        "default_args": {"retries": 5, "retry_delay": timedelta(seconds=1)},
    }
    return DAG(f"load_{name}", schedule=schedule, **chosen | arguments)


def every(seconds: int) -> str:
    """Cron with its seconds as sixth field: instants that depend on nothing but the clock."""
    return "* * * * *" if seconds == 60 else f"* * * * * */{seconds}"
