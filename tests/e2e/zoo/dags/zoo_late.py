"""A DAG whose file comes while Airflow runs. The outage of the parameter is tried with it: it has retries."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from zoo_ledger import SCHEDULE, callback
from zoo_parts import DAG, Noting

with DAG(
    "zoo_late",
    schedule=SCHEDULE,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # noqa: UP017
    catchup=False,
    is_paused_upon_creation=False,
    default_args={"retries": 9, "retry_delay": timedelta(seconds=3)},
    on_failure_callback=callback("dag failure"),
):
    Noting(task_id="one", on_failure_callback=callback("on_failure"))
    Noting.partial(task_id="mapped", trigger_rule="always").expand(text=["a", "b"])
