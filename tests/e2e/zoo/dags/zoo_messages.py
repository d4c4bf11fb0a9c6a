"""A DAG that waits for messages (Airflow 3).

In a file without callbacks: Airflow 3.0 stores a watcher when it parses the file for the second time, and is
slow to do that for a file whose callbacks it executes.
"""

from __future__ import annotations

from datetime import datetime, timezone

from zoo_parts import DAG, Asset, AssetWatcher, Noting
from zoo_queue import Queue

if AssetWatcher:
    with DAG(
        "zoo_messages",
        schedule=[Asset("zoo_queue", watchers=[AssetWatcher("queue", trigger=Queue())])],
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # noqa: UP017
        catchup=False,
        is_paused_upon_creation=False,
    ):
        Noting(task_id="work")
