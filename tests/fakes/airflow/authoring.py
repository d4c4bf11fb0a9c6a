"""What a DAG file uses of Airflow, as far as the DAGs of `pulumi up` do."""

from __future__ import annotations

from typing import Any


class BaseOperator:
    """The little of Airflow's that a task needs; it refuses unknown arguments, as Airflow does."""

    def __init__(self, *, task_id: str) -> None:
        self.task_id, self._pre_execute_hook = task_id, None
        self.dag = DAG.current
        self.dag.tasks[task_id] = self

    def execute(self, context: Any) -> Any:
        raise NotImplementedError


class DAG:
    current: DAG

    def __init__(self, dag_id: str, **arguments: Any) -> None:
        self.dag_id, self.arguments = dag_id, arguments
        self.tasks: dict[str, BaseOperator] = {}

    def __enter__(self) -> DAG:
        DAG.current = self
        return self

    def __exit__(self, *_: object) -> None: ...

    def get_template_env(self) -> str:
        return "jinja"
