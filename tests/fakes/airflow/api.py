"""Answers of Airflow's REST API and a client that gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run, TaskInstance
from tests.fakes.aws.mwaa import FakeMwaa

TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEDULED = "scheduled__2026-11-23T09:00:00+00:00"


def api_of(answers: dict[str, Any], major: int) -> tuple[AirflowApi, FakeMwaa]:
    mwaa = FakeMwaa(airflow={"env": answers})
    return AirflowApi(cast(Any, mwaa), "env", major), mwaa


def sent(mwaa: FakeMwaa) -> list[tuple[str, str, Any]]:
    """Method, path, and body or query of each call."""
    return [
        (call["Method"], call["Path"], call.get("Body", call.get("QueryParameters"))) for call in mwaa.asked
    ]


def run_answer(run_id: str = SCHEDULED, kind: str = "scheduled", due: datetime = TEN, **more: Any) -> Any:
    return {
        "dag_id": "etl",
        "dag_run_id": run_id,
        "run_type": kind,
        "state": "success",
        "logical_date": (due - HOUR).isoformat(),
        "data_interval_start": (due - HOUR).isoformat(),
        "data_interval_end": due.isoformat(),
        "start_date": (due + timedelta(seconds=2)).isoformat(),
        "end_date": None,
        "note": None,
        **more,
    }


def a_run(run_id: str = SCHEDULED, **more: Any) -> Run:
    fields = {
        "dag_id": "etl",
        "type": "scheduled",
        "state": "success",
        "due": TEN,
        "start": None,
        "end": None,
    }
    return Run(
        **{**fields, "run_id": run_id, "logical_date": TEN - HOUR, "interval": (TEN - HOUR, TEN), **more}
    )


def a_task(map_index: int = -1) -> TaskInstance:
    return TaskInstance(
        dag_id="etl",
        run_id=SCHEDULED,
        task_id="load",
        map_index=map_index,
        state="skipped",
        operator=None,
        started=False,
    )


def task_answer(run_id: str = SCHEDULED, index: int = -1, **more: Any) -> Any:
    return {
        "dag_id": "etl",
        "dag_run_id": run_id,
        "task_id": "load",
        "map_index": index,
        "state": "skipped",
        "operator": "BashOperator",
        "hostname": "",
        "pid": None,
        "start_date": None,
        "rendered_fields": {},
        **more,
    }
