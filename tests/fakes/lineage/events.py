"""Events in a lineage log: plain ones, and those of Airflow's OpenLineage provider with its facets."""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from bluegreen.proof import FACET, UNGATED

from lineage_log.log import EVENTS, key_at
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import START

BLUE = "mwaa-openlineage-fullha-blue"


def set_aside_key(key: str) -> str:
    return key.replace("events/", "set-aside/", 1)


def log_event(
    s3: FakeS3,
    seconds: float,
    kind: str,
    run: str = "run",
    name: str = "",
    job: str = "job",
    late: float = 0,
) -> str:
    """Write one event as the Airflows do, `seconds` after START; return its key.

    It appears `late` seconds after its own time.
    """
    instant = START + timedelta(seconds=seconds)
    event = {
        "eventTime": instant.isoformat(),
        "eventType": kind,
        "run": {"runId": run},
        "job": {"namespace": "test", "name": job},
        "name": name,
    }
    unique = hashlib.sha256(f"{seconds}{kind}{run}{name}".encode()).hexdigest()[:12]
    key = f"{key_at(instant)}-{unique}.json.gz"
    with s3.lock:
        s3.lineage.objects[key] = gzip.compress(json.dumps(event).encode())
        s3.lineage.modified[key] = instant.replace(microsecond=0) + timedelta(seconds=late)
    return key


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


def write(s3: FakeS3, at: datetime, event: dict[str, Any]) -> str:
    """Write one event of that time to the log; return its key."""
    key = f"{key_at(at)}-{uuid.uuid4().hex[:12]}.json.gz"
    s3.lineage.objects[key] = gzip.compress(json.dumps({"eventTime": at.isoformat()} | event).encode())
    s3.lineage.modified[key] = at.replace(microsecond=0)
    return key


def log_dag(
    s3: FakeS3,
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


def log_complete(s3: FakeS3, dag_id: str, due: datetime, *, at: datetime, **more: Any) -> str:
    """The COMPLETE of a run whose tasks succeeded; `more` as of `log_dag`."""
    return log_dag(s3, "COMPLETE", dag_id, due, at=at, **{"states": {"a": "success"}} | more)


def log_task(s3: FakeS3, kind: str, dag_id: str, due: datetime, *, at: datetime, **changes: Any) -> str:
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


def write_ungated(s3: FakeS3, at: datetime, dag_id: str = "daily") -> None:
    """What green's transport writes when a task is executed that no layer of the gate judged."""
    facets = {
        "airflow": {"dagRun": {"dag_id": dag_id, "run_id": "r1"}, "task": {"task_id": "load"}},
        FACET: {"layer": None, "environment": "green"},
    }
    event = {
        "eventType": "START",
        "eventTime": at.isoformat(),
        "run": {"runId": "1", "facets": facets},
        "job": {"namespace": "green-ns", "name": f"{dag_id}.load"},
    }
    key = UNGATED + key_at(at).removeprefix(EVENTS) + "-1.json.gz"
    s3.lineage.put(key, gzip.compress(json.dumps(event).encode()))
