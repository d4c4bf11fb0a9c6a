"""Two DAGs of many short tasks: this environment owns `active`, the other one `standby`."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.python import PythonOperator

START = datetime.fromisoformat(os.environ["AIRFLOW__BENCHMARK__START"])
RUNS, TASKS = (int(os.environ[f"AIRFLOW__BENCHMARK__{name}"]) for name in ("RUNS", "TASKS"))


def work() -> None:
    """Nothing: the benchmark measures the overhead."""


for name in ("active", "standby"):
    with DAG(
        name,
        schedule="* * * * *",
        start_date=START,
        end_date=START + timedelta(minutes=RUNS - 1),
        catchup=True,
        max_active_runs=2,
    ) as dag:
        for number in range(TASKS):
            PythonOperator(task_id=f"task_{number}", python_callable=work)
    globals()[name] = dag
