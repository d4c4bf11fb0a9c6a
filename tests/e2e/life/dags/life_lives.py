"""DAGs with a history that both environments own a part of; one task is at work when it goes back to blue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

# Airflow looks for DAGs only in files that contain its name.
from life_common import dag, due_at, every, origin, task, work

START = origin("lives")
SLOW = 90  # seconds from the origin: due before the work goes back

if START is not None:

    def sometimes_slow(**context: Any) -> None:
        work(60 if due_at(context["dag_run"]) == START + timedelta(seconds=SLOW) else 0.1, **context)

    with dag("history", every(30), START):
        task(sometimes_slow)
    with dag("serial_history", every(60), START, max_active_runs=1):
        task(1, depends_on_past=True)
    with dag("newest", every(30), START, catchup=False):
        task(0.1)
