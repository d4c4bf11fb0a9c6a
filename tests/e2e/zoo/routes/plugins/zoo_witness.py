"""A witness in each process of Airflow: notes once per policy by which routes the gate is there.

It is an entry point of its own, so Airflow calls it whichever of the gate's routes are left out.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from airflow.policies import hookimpl

COMPONENTS = ("dag-processor", "triggerer", "scheduler", "api-server", "webserver", "worker", "tasks")


@hookimpl(trylast=True)  # type: ignore[untyped-decorator]
def dag_policy(dag: Any) -> None:
    witness("dag_policy")


@hookimpl(trylast=True)  # type: ignore[untyped-decorator]
def task_instance_mutation_hook(task_instance: Any) -> None:
    witness("task_instance_mutation_hook")


def witness(what: str) -> None:
    """Note the process and its routes; once per process, since a DAG is parsed many times."""
    _witness(what, os.getpid())  # a fork is another process


@cache
def _witness(what: str, _: int) -> None:
    from bluegreen.proof import live_routes

    line = {"process": component(), "witness": what, "routes": live_routes()}
    handle = os.open(os.environ["AIRFLOW__ZOO__LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (json.dumps(line) + "\n").encode())
    os.close(handle)


def component() -> str:
    """Airflow's component that this process belongs to; a web server of Airflow 2 is one of gunicorn's."""
    if "gunicorn" in Path(sys.argv[0]).name:
        return "webserver"
    return next((name for name in COMPONENTS if name in sys.argv), " ".join(sys.argv))
