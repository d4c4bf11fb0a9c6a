"""A load to test an environment with: DAGs that sleep and report lineage. Off until the variable is set.

    airflow variables set load_dags '{"dags": 20, "tasks": 10, "minutes": 5, "seconds": 1}'

creates 20 DAGs, each of which runs 10 parallel tasks every 5 minutes, for 1 second each. Give both
environments of a pair the same value. To end the load, set "minutes" to 0 (no schedule), and delete the
variable when no run is left: a run never finishes once its DAG is gone.

Airflow reads the variable each time it parses this file; this project's environments look it up in Airflow's
own database, never in Secrets Manager, where each lookup costs money.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from openlineage.client.event_v2 import Dataset

try:  # Airflow 3
    from airflow.sdk import Variable, dag, get_parsing_context, task

    UNSET = {"default": None}
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.models import Variable
    from airflow.utils.dag_parsing_context import get_parsing_context

    UNSET = {"default_var": None}

NAME = "load_dags"
DEFAULTS = {"dags": 10, "tasks": 10, "minutes": 5, "seconds": 1}
LIMITS = {
    "dags": (1, 50),  # Amazon's advice for mw1.small; medium 250, large 1000: raise it with the class
    "tasks": (1, 50),
    "minutes": (0, 30),
    "seconds": (0, 600),
}


def load_of(value: str) -> dict[str, int]:
    """The load that the variable's value describes. Raises ValueError listing every problem."""
    try:
        load = {**DEFAULTS, **json.loads(value)}
    except (TypeError, ValueError) as error:
        problems = [f"it must be a JSON object ({error})"]
    else:
        problems = [f"there is no key {key!r}" for key in load.keys() - LIMITS.keys()] + [
            f"{key!r} must be a whole number from {least} to {most}, not {load[key]!r}"
            for key, (least, most) in LIMITS.items()
            if type(load[key]) is not int or not least <= load[key] <= most
        ]
    if problems:
        raise ValueError(
            f"Airflow variable {NAME}: {'; '.join(problems)}. Fix it with "
            f"`airflow variables set {NAME} '{json.dumps(DEFAULTS)}'`"
        )
    return load


def work(seconds: int) -> None:
    time.sleep(seconds)


def make_dag(dag_id: str, load: dict[str, int]) -> None:
    source = Dataset("s3://example-load", f"{dag_id}/in")

    @dag(
        dag_id=dag_id,
        schedule=f"*/{load['minutes']} * * * *" if load["minutes"] else None,
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=False,  # setting the variable is asking for the load
        tags=["load"],
        doc_md=__doc__,
    )
    def load_dag() -> None:
        for number in range(load["tasks"]):
            target = Dataset("s3://example-load", f"{dag_id}/out_{number:02}")
            task(task_id=f"task_{number:02}", inlets=[source], outlets=[target])(work)(load["seconds"])

    load_dag()


if value := Variable.get(NAME, **UNSET):
    load = load_of(value)
    wanted = get_parsing_context().dag_id  # a task needs its own DAG only
    for dag_id in [f"load_{number:02}" for number in range(load["dags"])]:
        if wanted in (None, dag_id):
            make_dag(dag_id, load)
