"""The zoo's ledger: one JSON line for everything that a task or a callback does. Its path: zoo.ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import get_current_context
except ImportError:  # Airflow 2
    from airflow.operators.python import get_current_context

PERIOD = 30  # seconds between the runs of each DAG
SCHEDULE = f"* * * * * */{PERIOD}"  # the sixth field is the second
LEDGER = Path(os.environ["AIRFLOW__ZOO__LEDGER"])
CREATED = datetime.fromisoformat(os.environ["AIRFLOW__ZOO__CREATED"])


def note(what: str, context: Mapping[str, Any] | None = None) -> None:
    """Append what happens, where and in which run. `context`: a callback's; by default the running task's."""
    found = context or get_current_context()
    # what a DAG's callback is given of a task is not why it is called
    run, ti = found.get("dag_run"), None if what.startswith("dag ") else found.get("ti")
    due = getattr(run, "run_after", None) or getattr(run, "data_interval_end", None)
    line = {
        "at": datetime.now(timezone.utc).isoformat(),  # noqa: UP017 - as elsewhere in the zoo
        "colour": os.environ["AIRFLOW__BLUEGREEN__ENVIRONMENT"],
        "dag": found["dag"].dag_id,
        "run": found["run_id"],
        "due": due and due.isoformat(),
        "task": ti.task_id if ti else None,
        "map": ti.map_index if ti else None,
        "try": ti.try_number if ti else None,
        "what": what,
    }
    append(line)


def append(line: Mapping[str, Any]) -> None:
    """One write of one line to a file that is only appended to: processes do not mix their lines."""
    handle = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, (json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)


def callback(what: str) -> Callable[[Mapping[str, Any]], None]:
    """A callback, of a task or of a DAG, that notes that it was called."""

    def called(context: Mapping[str, Any]) -> None:
        note(what, context)

    return called


def asked_before(context: Mapping[str, Any]) -> bool:
    """False the first time that a sensor's run asks, True from then on."""
    ti = context["ti"]
    mark = LEDGER.with_name(f"{ti.dag_id}-{ti.task_id}-{context['run_id']}-{ti.map_index}".replace(":", ""))
    if mark.exists():
        return True
    mark.touch()
    return False
