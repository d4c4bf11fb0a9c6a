"""One environment's Airflow REST API, called through Amazon's InvokeRestApi (it adds /api/v1 or /api/v2).

Airflow 2 and 3 differ in a few names; what leaves this module does not.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from mwaactl.aws import error_code, explain
from mwaactl.errors import Unreachable
from mwaactl.model import Instant, Model

if TYPE_CHECKING:
    from mypy_boto3_mwaa import MWAAClient

PAGE = 100  # Airflow's own upper limit by default
MOST_PAGES = 50  # a listing never asks more; InvokeRestApi allows 10 calls a second
UNFINISHED = ("queued", "running")


class Run(Model):
    """One run of a DAG."""

    dag_id: str
    run_id: str
    type: str
    state: str
    due: Instant | None  # whose run it is follows from this; None only for runs that no schedule made
    start: Instant | None
    end: Instant | None


class ImportProblem(Model):
    """A DAG file that Airflow cannot import."""

    file: str
    message: str  # the last line of the traceback


class AirflowApi:
    """Calls on environment `name` that runs Airflow `major`; each raises Unreachable with the reason."""

    def __init__(self, client: MWAAClient, name: str, major: int) -> None:
        self._client, self._name, self._major = client, name, major

    def scheduler(self) -> tuple[str, datetime | None]:
        """The scheduler's health as Airflow judges it ("healthy", "unhealthy"), and its latest heartbeat."""
        health = self._get("/health" if self._major < 3 else "/monitor/health")["scheduler"]
        return str(health["status"]), _instant(health.get("latest_scheduler_heartbeat"))

    def dags(self) -> dict[str, bool]:
        """DAG id -> whether it is paused, of all DAGs that are there now."""
        return {dag["dag_id"]: bool(dag["is_paused"]) for dag in self._all("/dags", "dags")}

    def import_errors(self) -> tuple[ImportProblem, ...]:
        return tuple(
            ImportProblem(file=str(found.get("filename")), message=_last_line(found.get("stack_trace")))
            for found in self._all("/importErrors", "import_errors")
        )

    def unfinished_runs(self) -> tuple[Run, ...]:
        """Runs of any type that are queued or running."""
        # One call per state: how InvokeRestApi passes a list on in the query is documented nowhere.
        return tuple(
            _run(found)
            for state in UNFINISHED
            for found in self._all("/dags/~/dagRuns", "dag_runs", state=state)
        )

    def last_scheduled_runs(self) -> tuple[Run, ...]:
        """Each DAG's newest scheduled run among the newest 100 runs, newest first."""
        if self._major < 3:  # no filter by type, no order by due instant
            query = {"order_by": "-execution_date"}
        else:
            query = {"order_by": "-run_after", "run_type": "scheduled"}
        page = self._get("/dags/~/dagRuns", limit=PAGE, **query)
        runs = [_run(found) for found in page["dag_runs"]]
        newest: dict[str, Run] = {}
        for run in runs:
            if run.type == "scheduled":
                newest.setdefault(run.dag_id, run)
        return tuple(newest.values())

    def _all(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(MOST_PAGES):
            page = self._get(path, limit=PAGE, offset=len(found), **query)
            found += page[key]
            if not page[key] or len(found) >= page.get("total_entries", 0):
                break
        return found

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.invoke_rest_api(
                Name=self._name, Path=path, Method="GET", QueryParameters=query
            )
        except (BotoCoreError, ClientError) as error:
            raise Unreachable(f"Airflow's REST API on {self._name}: {_why(error)}") from error
        body = answer.get("RestApiResponse")
        if not isinstance(body, dict):
            raise Unreachable(f"Airflow's REST API on {self._name}: no JSON object came from {path}")
        return body


def _why(error: Exception) -> str:
    code = error_code(error)
    if code in ("RestApiClientException", "RestApiServerException"):
        response = getattr(error, "response", {})
        body = response.get("RestApiResponse")
        detail = body.get("detail") or body.get("title") if isinstance(body, dict) else body
        return f"it answered {response.get('RestApiStatusCode', code)}: {detail or error}"
    if code in ("AccessDenied", "AccessDeniedException"):
        return f"{explain(error)} (it needs airflow:InvokeRestApi on role/<environment>/Admin or Op)"
    return explain(error)


def _run(found: dict[str, Any]) -> Run:
    return Run(
        dag_id=found["dag_id"],
        run_id=found["dag_run_id"],
        type=found["run_type"],
        state=found["state"],
        due=_instant(found.get("run_after") or found.get("data_interval_end")),
        start=_instant(found.get("start_date")),
        end=_instant(found.get("end_date")),
    )


def _instant(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def _last_line(trace: Any) -> str:
    lines = [line.strip() for line in str(trace or "").splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
