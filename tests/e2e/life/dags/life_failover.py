"""At work when their side dies: a scheduled run, a manual one, and one that an asset triggered."""

from __future__ import annotations

from datetime import timedelta

# Airflow looks for DAGs only in files that contain its name.
from life_common import AGAIN, DAG, Asset, once, origin, task

START = origin("failover")
MADE = Asset("life_made", uri="x-life://made")

if START is not None:
    with once("inflight", START, 5):
        task(60, **AGAIN)
    with once("finished", START, 0):
        task(0.1, outlets=[MADE])
    with DAG(
        "inflight_child",
        schedule=[MADE],
        start_date=START - timedelta(hours=1),
        is_paused_upon_creation=False,
    ):
        task(60, **AGAIN)
    with DAG("inflight_manual", schedule=None, is_paused_upon_creation=False):
        task(60, **AGAIN)
    with once("interrupted", START, 30):
        task(0.1)
