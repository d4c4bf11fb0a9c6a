"""Work whose lineage is counted: chains, mapped tasks, a task that is tried again, one that fails.

How their runs end: `WRITTEN` in test_lineage.py. They are paused at first; then `RUNS` runs of each are due.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import Any

try:  # Airflow 3
    from airflow.sdk import DAG, get_current_context, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.operators.python import get_current_context

RUNS = int(os.environ["AIRFLOW__ZOO__RUNS"])
START = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - as Airflow's own serialisation wants it
UNTIL = START + timedelta(minutes=RUNS - 1)


def dag(name: str) -> DAG:
    return DAG(name, schedule="* * * * *", start_date=START, end_date=UNTIL, catchup=True, max_active_runs=2)


@task
def work(number: int = 0) -> int:
    return number


for chain in ("chain_1", "chain_2"):
    with dag(chain):
        work.override(task_id="one")() >> work.override(task_id="two")() >> work.override(task_id="three")()

with dag("mapped"):

    @task
    def make() -> list[int]:
        return [1, 2, 3]

    @task
    def add(numbers: Any) -> int:
        return sum(numbers)

    add(work.expand(number=make()))

with dag("tried_again"):

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def second_time_lucky() -> None:
        if get_current_context()["ti"].try_number == 1:
            raise RuntimeError("the first time")

    second_time_lucky()

with dag("failing"):

    @task
    def fail() -> None:
        raise RuntimeError("always")

    fail() >> work.override(task_id="never")()
