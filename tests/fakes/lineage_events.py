"""Events of Airflow's OpenLineage provider in a log, with the facets that report a DAG run's state."""

from __future__ import annotations

import gzip
import json
import uuid
from datetime import datetime
from typing import Any

from lineage_log.log import key_at
from tests.fakes.lineage import MemoryS3

BLUE = "mwaa-openlineage-fullha-blue"


def run_id(dag_id: str, due: datetime, namespace: str = BLUE) -> str:
    """The lineage's id of a DAG run: the same in every event of it."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{namespace}.{dag_id}.{due.isoformat()}"))


def dag_run(dag_id: str, due: datetime, **changes: Any) -> dict[str, Any]:
    """As the facets `airflowDagRun` and `airflow` have it, in Airflow 3."""
    fields = {
        "dag_id": dag_id,
        "run_id": f"scheduled__{due.isoformat()}",
        "run_type": "scheduled",
        "data_interval_end": due.isoformat(),
        "run_after": due.isoformat(),
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def write(s3: MemoryS3, at: datetime, event: dict[str, Any]) -> str:
    """One event in the log, of that time; returns its key."""
    key = f"{key_at(at)}-{uuid.uuid4().hex[:12]}.json.gz"
    s3.objects[key] = gzip.compress(json.dumps({"eventTime": at.isoformat()} | event).encode())
    s3.modified[key] = at.replace(microsecond=0)
    return key


def log_dag(
    s3: MemoryS3,
    kind: str,
    dag_id: str,
    due: datetime,
    *,
    at: datetime,
    namespace: str = BLUE,
    run: dict[str, Any] | None = None,
    states: dict[str, Any] | None = None,
    state: str = "success",
) -> str:
    """A DAG's own event. `run`: what is in `airflowDagRun`; an empty one leaves that facet out."""
    run = dag_run(dag_id, due) if run is None else run
    facets: dict[str, Any] = {"airflowDagRun": {"dag": {}, "dagRun": run}} if run else {}
    if states is not None:
        facets["airflowState"] = {"dagRunState": state, "tasksState": states}
    return write(
        s3,
        at,
        {
            "eventType": kind,
            "run": {"runId": run_id(dag_id, due, namespace), "facets": facets},
            "job": {"namespace": namespace, "name": dag_id},
        },
    )


def log_complete(s3: MemoryS3, dag_id: str, due: datetime, *, at: datetime, **more: Any) -> str:
    """The COMPLETE of a run whose tasks succeeded; `more` as of `log_dag`."""
    return log_dag(s3, "COMPLETE", dag_id, due, at=at, **{"states": {"a": "success"}} | more)


def log_task(s3: MemoryS3, kind: str, dag_id: str, due: datetime, *, at: datetime, **changes: Any) -> str:
    """A task's event; `changes` of its DAG run."""
    return write(
        s3,
        at,
        {
            "eventType": kind,
            "run": {
                "runId": str(uuid.uuid4()),
                "facets": {
                    "airflow": {"dagRun": dag_run(dag_id, due, **changes), "task": {"task_id": "a"}},
                    "parent": {"run": {"runId": run_id(dag_id, due)}, "job": {"name": dag_id}},
                },
            },
            "job": {"namespace": BLUE, "name": f"{dag_id}.a"},
        },
    )
