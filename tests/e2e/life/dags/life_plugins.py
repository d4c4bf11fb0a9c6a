"""A DAG that is due all the time, while the two sides have plugins of two versions."""

from __future__ import annotations

from datetime import timedelta

# Airflow looks for DAGs only in files that contain its name.
from life_common import dag, every, origin, task

START = origin("plugins")

if START is not None:
    with dag("steady", every(30), START):
        task(0.1, retries=9, retry_delay=timedelta(seconds=1))
