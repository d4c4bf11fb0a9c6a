"""A DAG that comes when only blue is left, with a history that green owned a part of."""

from __future__ import annotations

# Airflow looks for DAGs only in files that contain its name.
from life_common import dag, every, origin, task

START, LEFT = origin("lives"), origin("left")

if START is not None and LEFT is not None:
    with dag("new_after_green", every(30), START, end_date=LEFT):
        task(0.1)
