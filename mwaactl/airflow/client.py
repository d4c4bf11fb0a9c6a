"""One environment's Airflow REST API, called through Amazon's InvokeRestApi (it adds /api/v1 or /api/v2).

Airflow 2 and 3 differ in a few names and paths; what leaves this module does not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from mwaactl.airflow import models as read
from mwaactl.airflow.models import Asset, Dag, ImportProblem, Pool, Run, Task, TaskInstance
from mwaactl.aws import error_code, explain
from mwaactl.errors import Unreachable
from mwaactl.json_model import iso

if TYPE_CHECKING:
    from mypy_boto3_mwaa import MWAAClient

PAGE = 100  # Airflow's own upper limit by default
UNORDERED_PAGE = 500  # task instances of Airflow 2: a second page of a list without an order is not exact
MOST_PAGES = 50  # of a listing that has no bound of its own
CALLS_PER_SECOND = 8.0  # InvokeRestApi allows 10
BURST = 10
UNFINISHED = ("queued", "running")
DEFAULT_POOL = "default_pool"


class AirflowApi:
    """Calls on environment `name` that runs Airflow `major`; each raises Unreachable with the reason."""

    def __init__(self, client: MWAAClient, name: str, major: int) -> None:
        self._client, self.name, self._major = client, name, major
        self._pace = _Pace()

    # --- looking ---

    def scheduler(self) -> tuple[str, datetime | None]:
        """The scheduler's health as Airflow judges it ("healthy", "unhealthy"), and its latest heartbeat."""
        health = self._get("/health" if self._major < 3 else "/monitor/health")["scheduler"]
        return str(health["status"]), read.instant(health.get("latest_scheduler_heartbeat"))

    def dags(self) -> dict[str, Dag]:
        """By id, all DAGs that are there now."""
        return {found["dag_id"]: read.dag(found) for found in self._all("/dags", "dags")}

    def tasks(self, dag_id: str) -> tuple[Task, ...]:
        """A DAG's tasks."""
        return tuple(read.task(found) for found in self._get(f"/dags/{_part(dag_id)}/tasks")["tasks"])

    def import_errors(self) -> tuple[ImportProblem, ...]:
        return tuple(read.import_problem(found) for found in self._all("/importErrors", "import_errors"))

    def variables(self) -> dict[str, str | None]:
        """The variables in Airflow's own database; not those of the secrets backend."""
        return {found["key"]: found.get("value") for found in self._all("/variables", "variables")}

    def connections(self) -> frozenset[str]:
        """The ids of the connections in Airflow's own database; not those of the secrets backend."""
        return frozenset(found["connection_id"] for found in self._all("/connections", "connections"))

    def assets(self) -> tuple[Asset, ...]:
        kind = "datasets" if self._major < 3 else "assets"
        return tuple(read.asset(found) for found in self._all(f"/{kind}", kind))

    def pools(self) -> dict[str, Pool]:
        return {found["name"]: read.pool(found) for found in self._all("/pools", "pools")}

    def queued_asset_events(self, dag_id: str) -> tuple[str, ...]:
        """The assets whose event waits for the others of this DAG's condition (URIs, or ids of Airflow 3)."""
        path = "datasets/queuedEvent" if self._major < 3 else "assets/queuedEvents"
        try:
            answer = self._get(f"/dags/{_part(dag_id)}/{path}")
        except NotFound:
            return ()  # how Airflow says that there are none
        events = answer.get("queued_events", ())
        return tuple(str(event.get("uri") or event.get("asset_id")) for event in events)

    def unfinished_runs(self) -> tuple[Run, ...]:
        """Runs of any type that are queued or running."""
        body = {"states": list(UNFINISHED)}
        return tuple(read.run(found) for found in self._listed("/dags/~/dagRuns/list", "dag_runs", body))

    def last_scheduled_runs(self) -> tuple[Run, ...]:
        """Each DAG's newest scheduled run among the newest 100 runs, newest first."""
        newest: dict[str, Run] = {}
        for run in self.newest_runs("~", PAGE):
            newest.setdefault(run.dag_id, run)
        return tuple(newest.values())

    def newest_runs(self, dag_id: str, count: int, *, of_any_type: bool = False) -> tuple[Run, ...]:
        """The scheduled runs among the newest `count` (at most 100) of a DAG (`~`: of all), newest first."""
        # Airflow 2 has no filter by type and no order by due instant.
        query = {"order_by": "-execution_date" if self._major < 3 else "-run_after"}
        if self._major > 2 and not of_any_type:
            query["run_type"] = "scheduled"
        page = self._get(f"/dags/{_part(dag_id)}/dagRuns", limit=count, **query)
        runs = map(read.run, page["dag_runs"])
        return tuple(run for run in runs if of_any_type or run.type == "scheduled")

    def run(self, dag_id: str, run_id: str) -> Run | None:
        """One run of any type; None if there is none."""
        try:
            return read.run(self._get(f"/dags/{_part(dag_id)}/dagRuns/{_part(run_id)}"))
        except NotFound:
            return None

    def scheduled_runs(
        self, since: datetime, until: datetime, dag_ids: Collection[str] = ()
    ) -> tuple[Run, ...]:
        """The scheduled runs that are due in [since, until), in the order of their due instants.

        `dag_ids` empty: of all DAGs. Any number: as many pages as it takes.
        """
        body: dict[str, Any] = {"dag_ids": sorted(dag_ids)} if dag_ids else {}
        if self._major < 3:
            found = self._newest_first(since, body)
        else:
            body |= {"run_after_gte": iso(since), "run_after_lte": iso(until), "order_by": "run_after"}
            found = self._listed("/dags/~/dagRuns/list", "dag_runs", body, most=None)
        # By key: a run that comes into being between two pages shifts one of the first into the second.
        runs = {run.key: run for run in map(read.run, found) if run.type == "scheduled"}
        due = [run for run in runs.values() if run.due is not None and since <= run.due < until]
        return tuple(sorted(due, key=lambda run: (run.due, run.dag_id)))

    def _newest_first(self, since: datetime, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Airflow 2 has no filter by due instant: the runs made since, as ids grow with time."""
        for found in self._listed("/dags/~/dagRuns/list", "dag_runs", {**body, "order_by": "-id"}, most=None):
            started = read.instant(found.get("start_date"))
            if started is not None and started < since and found.get("run_type") == "scheduled":
                return  # made before it started, and due before it was made; so is all that follows
            yield found

    def task_instances(
        self, runs: Collection[Run], states: Collection[str | None] = ()
    ) -> dict[tuple[str, str], list[TaskInstance]]:
        """The task instances of these runs by (DAG id, run id), of all states or of `states`."""
        found: dict[tuple[str, str], dict[tuple[str, int], TaskInstance]] = {run.key: {} for run in runs}
        ids = list(found)
        # In portions: Airflow filters by DAG and by run apart, so a portion may bring others' too.
        for start in range(0, len(ids), 50):
            portion = ids[start : start + 50]
            body: dict[str, Any] = {
                "dag_ids": sorted({dag_id for dag_id, _ in portion}),
                "dag_run_ids": sorted({run_id for _, run_id in portion}),
                **({"state": list(states)} if states else {}),
                **({} if self._major < 3 else {"order_by": "id"}),
            }
            path, key = "/dags/~/dagRuns/~/taskInstances/list", "task_instances"
            size = UNORDERED_PAGE if self._major < 3 else PAGE
            for one in map(read.task_instance, self._listed(path, key, body, most=None, size=size)):
                if (one.dag_id, one.run_id) in portion:
                    found[one.dag_id, one.run_id][one.task_id, one.map_index] = one
        return {key: list(tasks.values()) for key, tasks in found.items()}

    # --- changing ---

    def set_paused(self, dag_id: str, paused: bool) -> None:
        self._call("PATCH", f"/dags/{_part(dag_id)}", {"is_paused": paused})

    def put_pool(self, pool: Pool, *, exists: bool) -> None:
        """Make the pool as it is, or change the one of that name (of the default pool all but its text)."""
        if pool.name == DEFAULT_POOL:
            # Airflow wants to hear which fields; one a call: how InvokeRestApi passes a list is unknown.
            for field in ("slots", "include_deferred"):
                self._call("PATCH", f"/pools/{pool.name}", pool.model_dump(), {"update_mask": field})
        elif exists:
            self._call("PATCH", f"/pools/{_part(pool.name)}", pool.model_dump())
        else:
            self._call("POST", "/pools", pool.model_dump())

    def set_run(self, run: Run, state: Literal["success", "failed"], note: str) -> None:
        """End a run. Its unfinished tasks end too; before Airflow 3.3 "success" also makes its finished tasks
        succeed (in Airflow 2 all but teardowns)."""
        # Apart, and first: who reads the state must find the note, and Airflow 3.3.1 refuses both in one call
        # for a run without a note (409, "Unique constraint violation").
        self.set_note(run, note)
        self._call("PATCH", self._run_path(run), {"state": state})

    def set_note(self, run: Run, note: str) -> None:
        path = self._run_path(run)
        self._call("PATCH", f"{path}/setNote" if self._major < 3 else path, {"note": note})

    @property
    def reaches_downstream(self) -> bool:
        """Whether `set_task` can set what is downstream in the same call."""
        return self._major > 2

    def set_task(
        self, one: TaskInstance, state: Literal["success", "failed", "skipped"], *, downstream: bool = False
    ) -> None:
        """Give a task a final state, with `downstream` (`reaches_downstream`) also all tasks that follow it.
        Airflow then clears what failed downstream of it, which would run it: set the states of a run's tasks
        from upstream to downstream."""
        path = f"/dags/{_part(one.dag_id)}/dagRuns/{_part(one.run_id)}/taskInstances/{_part(one.task_id)}"
        if one.map_index >= 0:
            path += f"/{one.map_index}"
        body: dict[str, Any] = {"new_state": state}
        if self._major < 3:
            body["dry_run"] = False
        elif downstream:
            body["include_downstream"] = True
        self._call("PATCH", path, body)

    def clear(self, run: Run) -> None:
        """Let all tasks of a run be executed again: as a cleared run it belongs to the owner of now."""
        body: dict[str, Any] = {"dry_run": False}
        self._call(
            "POST", f"{self._run_path(run)}/clear", body | ({} if self._major < 3 else {"only_failed": False})
        )

    def create(self, run: Run, note: str) -> None:
        """Make a run for the same interval as another environment's `run`. It is a manual run: it is executed
        here whoever owns its instant."""
        body: dict[str, Any] = {
            "dag_run_id": self.manual_id(run),
            "logical_date": iso(run.logical_date) if run.logical_date else None,
            "note": note,
        }
        if run.interval is not None:
            begin, end = run.interval
            body |= {"data_interval_start": iso(begin), "data_interval_end": iso(end)}
        if self._major > 2 and run.due is not None:
            body["run_after"] = iso(run.due)
        self._call("POST", f"/dags/{_part(run.dag_id)}/dagRuns", body)

    @staticmethod
    def manual_id(run: Run) -> str:
        """The id of the run that `create` makes for another environment's `run`."""
        return f"manual__{run.run_id.partition('__')[2] or run.run_id}"

    # --- calling ---

    @staticmethod
    def _run_path(run: Run) -> str:
        return f"/dags/{_part(run.dag_id)}/dagRuns/{_part(run.run_id)}"

    def _all(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        """Every page of a listing by GET."""
        return list(
            _pages(lambda start: self._get(path, limit=PAGE, offset=start, **query), key, most=MOST_PAGES)
        )

    def _listed(
        self,
        path: str,
        key: str,
        body: Mapping[str, Any],
        most: int | None = MOST_PAGES,
        size: int = PAGE,
    ) -> Iterator[dict[str, Any]]:
        """Every page of a listing by POST, for filters that are lists: how InvokeRestApi passes a list in
        the query is documented nowhere."""
        return _pages(
            lambda start: self._call("POST", path, {**body, "page_limit": size, "page_offset": start}),
            key,
            most,
        )

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._call("GET", path, None, query)

    def _call(
        self, method: Any, path: str, body: Mapping[str, Any] | None = None, query: Any = None
    ) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        request: dict[str, Any] = {"Name": self.name, "Path": path, "Method": method}
        if query:
            request["QueryParameters"] = query
        if body is not None:
            request["Body"] = dict(body)
        self._pace.wait()
        try:
            answer = self._client.invoke_rest_api(**request)
        except (BotoCoreError, ClientError) as error:
            status = getattr(error, "response", {}).get("RestApiStatusCode")
            kind = NotFound if status == 404 else Refused if 400 <= (status or 0) < 500 else Unreachable
            raise kind(f"Airflow's REST API on {self.name}: {_why(error)}") from error
        found = answer.get("RestApiResponse")
        if not isinstance(found, dict):
            raise Unreachable(f"Airflow's REST API on {self.name}: no JSON object came from {path}")
        return found


class Refused(Unreachable):
    """Airflow answered that it does not do that."""


class NotFound(Refused):
    """Airflow answered that there is no such thing."""


class _Pace:
    """Lets `BURST` calls pass at once, then CALLS_PER_SECOND; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - BURST / CALLS_PER_SECOND) + 1 / CALLS_PER_SECOND
            delay = self._free_at - now
        if delay > 0:
            time.sleep(delay)


def _pages(ask: Callable[[int], dict[str, Any]], key: str, most: int | None) -> Iterator[dict[str, Any]]:
    seen = pages = 0
    while most is None or pages < most:
        page = ask(seen)
        yield from page[key]
        pages += 1
        seen += len(page[key])
        if not page[key] or seen >= page.get("total_entries", 0):
            return


def _part(name: str) -> str:
    """A name as part of a path: run ids contain `+` and `:`."""
    return quote(name, safe="~")


def _why(error: Exception) -> str:
    code = error_code(error)
    if code in ("RestApiClientException", "RestApiServerException"):
        response = getattr(error, "response", {})
        body = response.get("RestApiResponse")
        detail = body.get("detail") or body.get("title") if isinstance(body, dict) else body
        if isinstance(detail, dict):  # of a conflict: with the whole SQL statement
            detail = detail.get("reason")
        return f"it answered {response.get('RestApiStatusCode', code)}: {detail or error}"
    if code in ("AccessDenied", "AccessDeniedException"):
        return f"{explain(error)} (it needs airflow:InvokeRestApi on role/<environment>/Admin or Op)"
    return explain(error)
