"""Runs every minute, in exactly one of the two environments, and prints which one.

Nothing in this DAG handles blue and green: it is a plain DAG, deployed unchanged to both environments. Watch
it on both while you run

    mwaactl switch green

Each minute has a run on both sides, with the same due time. The environment that owns the minute executes
it; the other one shows the run with all tasks skipped. No minute is executed twice, and none is missed.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

try:  # Airflow 3
    from airflow.sdk import dag, get_current_context, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.operators.python import get_current_context

HERE = os.environ.get("AIRFLOW__BLUEGREEN__ENVIRONMENT", "this environment")


@dag(
    schedule="* * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,  # a new environment starts with the current minute
    is_paused_upon_creation=False,  # so that you can watch it at once; your own DAGs start paused
    max_active_runs=4,
    tags=["example", "blue-green"],
    doc_md=__doc__,
)
def example_blue_green_zero_downtime() -> None:
    @task
    def extract() -> list[int]:
        """The first task prints where the run is executed: look at its log."""
        run_id = get_current_context()["run_id"]
        print(f"{run_id} is executed on {HERE}")
        return [1, 2, 3]

    @task
    def transform(number: int) -> int:
        """One task instance per number: mapped tasks are gated like any other."""
        time.sleep(1)
        print(f"{HERE} transforms {number}")
        return number * number

    @task
    def load(numbers: list[int]) -> int:
        """Adds up the results of the mapped tasks."""
        total = sum(numbers)
        print(f"{HERE} loads {total}")
        return total

    @task(trigger_rule="all_done")
    def report() -> None:
        """Runs even after failures, but not on the standby: no trigger rule gets around the gate."""
        print(f"Reported from {HERE}")

    load(transform.expand(number=extract())) >> report()


example_blue_green_zero_downtime()
