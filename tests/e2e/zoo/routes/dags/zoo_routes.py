"""Would run on the standby if the gate were missing from one of Airflow's processes.

That is a worker, the triggerer, or the DAG processor, which calls a DAG's callbacks.
"""

from __future__ import annotations

from datetime import datetime, timezone

from zoo_ledger import callback
from zoo_parts import DAG, Deferring, EmptyOperator, FromTrigger, Noting, task

with DAG(
    "zoo_routes",
    schedule="* * * * * */15",  # the sixth field is the second
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # noqa: UP017
    catchup=False,
    max_active_runs=4,
    is_paused_upon_creation=False,
    on_success_callback=callback("dag success"),
):
    Noting(task_id="first") >> Noting(task_id="last", trigger_rule="always")

    @task
    def mapped(x: int) -> None:
        from zoo_ledger import note

        note("execute")

    mapped.expand(x=[1, 2])
    FromTrigger(task_id="from_trigger")
    EmptyOperator(task_id="empty")

with DAG("zoo_by_hand", schedule=None, is_paused_upon_creation=False):
    Deferring(task_id="deferring")
