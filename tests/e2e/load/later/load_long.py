"""A DAG of which a task is always at work, and which an update of its environment ends."""

from __future__ import annotations

# Airflow looks for DAGs only in files that contain its name.
from load_common import dag, every, work

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:  # Airflow 2
    from airflow.operators.python import PythonOperator

with dag("long", every(30), catchup=False):
    PythonOperator(task_id="work", python_callable=work, op_args=[50], retries=0)
