"""A customer's cluster policies beside the gate, by an entry point: called after the gate's own.

They put a tag on every DAG, and undo layers of the gate for the DAGs that show what the next one does alone.
"""

from __future__ import annotations

from typing import Any

from airflow.policies import hookimpl

ONLY_TASK, ONLY_HOOK = "zoo_only_the_task_process", "zoo_only_the_last_hook"


@hookimpl(trylast=True)  # type: ignore[untyped-decorator]
def dag_policy(dag: Any) -> None:
    dag.tags = {*dag.tags, "by-entry-point"}
    if dag.dag_id == ONLY_HOOK:
        dag.__dict__.pop("get_template_env", None)


@hookimpl(trylast=True)  # type: ignore[untyped-decorator]
def task_instance_mutation_hook(task_instance: Any) -> None:
    if task_instance.dag_id in (ONLY_TASK, ONLY_HOOK) and task_instance.state == "skipped":
        from sqlalchemy import inspect

        if not inspect(task_instance).persistent:  # just being made: later it is Airflow's own business
            task_instance.state = None
