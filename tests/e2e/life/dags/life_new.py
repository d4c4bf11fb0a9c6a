"""DAGs that come after the first switch, with a history that begins before it."""

from __future__ import annotations

from datetime import timedelta

# Airflow looks for DAGs only in files that contain its name.
from life_common import dag, every, origin, task

START, NEW = origin("around"), origin("new")

if START is not None and NEW is not None:
    with dag("new_serial", every(30), START, end_date=NEW, max_active_runs=1):
        task(1, depends_on_past=True)
    with dag("new_parallel", every(30), START, end_date=NEW + timedelta(seconds=30)):
        task(0.1)
