"""Times the gate's first layer: one line per task instance that it creates as skipped."""

import os
import sys
import time
from pathlib import Path
from typing import Any

_plugins = Path(__file__).parent.parent / "plugins"
_file = os.environ.get("AIRFLOW__BENCHMARK__FILE")

if _file and (_plugins / "bluegreen").exists():
    sys.path.append(str(_plugins))
    from bluegreen import policies

    _hook = policies.POLICIES[0]

    def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
        new = task_instance.state is None
        before = time.perf_counter()
        _hook(task_instance, dag_run)
        took = (time.perf_counter() - before) * 1000
        if new and task_instance.state == "skipped":
            with Path(str(_file)).open("a") as file:
                file.write(f"{task_instance.run_id} {took:.4f}\n")

    if not hasattr(_hook, "timed"):
        task_instance_mutation_hook.timed = True  # type: ignore[attr-defined]
        policies.POLICIES = (task_instance_mutation_hook, *policies.POLICIES[1:])
