"""One DAG per row of the benchmark, each with one scheduled run; the tasks record the cost of each event."""

from __future__ import annotations

import json
import os
import resource
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.providers.openlineage.plugins.listener import OpenLineageListener

try:  # Airflow 3
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.python import PythonOperator

FOLDER = Path(os.environ["AIRFLOW__BENCHMARK__FOLDER"])
START = datetime.fromisoformat(os.environ["AIRFLOW__BENCHMARK__START"])
ROWS, TASKS = (int(os.environ[f"AIRFLOW__BENCHMARK__{name}"]) for name in ("ROWS", "TASKS"))

os.environ |= json.loads((FOLDER / "environ.json").read_text())  # in the task's process, for this row


def _used_by_children() -> float:
    """CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_execute = OpenLineageListener._execute
if not hasattr(_execute, "timed"):

    def timed(self: Any, callable: Any, callable_name: str, use_fork: bool = False) -> None:
        """Emit an event as the provider does; record how long it takes, and the child's CPU."""
        began, used = time.perf_counter(), _used_by_children()
        _execute(self, callable, callable_name, use_fork)
        with (FOLDER / "events").open("a") as file:
            file.write(f"{time.perf_counter() - began:.4f} {_used_by_children() - used:.4f}\n")

    timed.timed = True  # type: ignore[attr-defined]
    OpenLineageListener._execute = timed


def work() -> None:
    """Nothing: the benchmark measures the events."""


for row in range(ROWS):
    with DAG(
        f"row_{row}",
        schedule="* * * * *",
        start_date=START,
        end_date=START,
        catchup=True,
        max_active_tasks=2,
    ) as dag:
        for number in range(TASKS):
            PythonOperator(task_id=f"task_{number}", python_callable=work)
    globals()[f"row_{row}"] = dag
