"""One environment's Airflow REST API, called through Amazon's InvokeRestApi (it adds /api/v1 or /api/v2).

Airflow 2 and 3 differ in a few names and paths (`mwaactl.airflow.dialect`); the results do not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from mwaactl.airflow import models as read
from mwaactl.airflow.dialect import dialect
from mwaactl.airflow.models import (
    Asset,
    AssetEvent,
    Dag,
    ImportProblem,
    ParsedDag,
    Pool,
    Run,
    Task,
    TaskInstance,
)
from mwaactl.airflow.rest import NotFound, Pace, Refused, RestApi, TooLong, fits
from mwaactl.errors import Unreachable
from mwaactl.json_model import iso

if TYPE_CHECKING:
    from mypy_boto3_mwaa import MWAAClient

PAGE = 100  # Airflow's own upper limit by default
MOST_PAGES = 1000  # of one listing; no Airflow that works for people has as many
PORTION = 50  # runs per call for task instances
RUNS_LIST = "/dags/~/dagRuns/list"
UNFINISHED = ("queued", "running")
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_POOL = "default_pool"
REDACTED = "REDACTED - "  # instead of a source, for a role that may not read every DAG of the file


class AirflowApi:
    """Calls on environment `name` that runs Airflow `major`; each raises Unreachable with the reason."""

    def __init__(self, client: MWAAClient, name: str, major: int, pace: Pace | None = None) -> None:
        self._rest = RestApi(client, name, pace or Pace())
        self.name, self._call = name, self._rest.call
        self._dialect = dialect(major)

    @property
    def path_form(self) -> str | None:
        """How this environment takes names in paths: "quoted" or "raw"; None: no call has shown it yet."""
        return self._rest.form

    # --- reading ---

    def scheduler(self) -> tuple[str, datetime | None]:
        """The scheduler's health as Airflow judges it ("healthy", "unhealthy"), and its latest heartbeat."""
        health = self._get(self._dialect.HEALTH)["scheduler"]
        return str(health["status"]), read.instant(health.get("latest_scheduler_heartbeat"))

    def dags(self) -> dict[str, Dag]:
        """All existing DAGs by id."""
        return {answer["dag_id"]: self._dialect.dag(answer) for answer in self._all("/dags", "dags")}

    def dag(self, dag_id: str) -> Dag | None:
        """One DAG with its details, such as `catchup`; None if there is none."""
        try:
            return self._dialect.dag(self._get(f"/dags/{_part(dag_id)}/details"))
        except NotFound:
            return None

    def dag_ids(self) -> frozenset[str]:
        """The ids of all DAGs, also of those whose file is gone."""
        every = self._all("/dags", "dags", **self._dialect.REMOVED_TOO)
        return frozenset(answer["dag_id"] for answer in every)

    def parsed_dags(self) -> tuple[ParsedDag, ...]:
        """All existing DAGs, with their files and when these were parsed last."""
        return tuple(map(read.parsed_dag, self._all("/dags", "dags")))

    def source(self, dag_id: str) -> str | None:
        """The source that a DAG was parsed from; None if it is not shown.

        Airflow 2 takes a token in the path, which is longer than Amazon lets pass.
        """
        path = f"/dagSources/{_part(dag_id)}"
        if not (self._dialect.SHOWS_SOURCES and fits(path)):
            return None
        try:
            content = self._get(path).get("content")
        except (Refused, TooLong):  # not stored yet, or not for this role
            return None
        return None if content is None or content.startswith(REDACTED) else str(content)

    def tasks(self, dag_id: str) -> tuple[Task, ...]:
        """A DAG's tasks."""
        return tuple(map(read.task, self._get(f"/dags/{_part(dag_id)}/tasks")["tasks"]))

    def asset_condition(self, dag_id: str) -> Any:
        """The expression of assets that triggers the DAG, as Airflow writes it; None if there is none."""
        return self._get(f"/dags/{_part(dag_id)}/details").get(self._dialect.CONDITION)

    def import_errors(self) -> tuple[ImportProblem, ...]:
        return tuple(map(read.import_problem, self._all("/importErrors", "import_errors")))

    def variables(self) -> dict[str, str | None]:
        """The variables in Airflow's own database; not those of the secrets backend."""
        return {answer["key"]: answer.get("value") for answer in self._all("/variables", "variables")}

    def connections(self) -> frozenset[str]:
        """The ids of the connections in Airflow's own database; not those of the secrets backend."""
        return frozenset(answer["connection_id"] for answer in self._all("/connections", "connections"))

    def assets(self) -> tuple[Asset, ...]:
        kind = self._dialect.ASSETS
        return tuple(map(self._dialect.asset, self._all(f"/{kind}", kind)))

    def providers(self) -> dict[str, str]:
        """The versions of the installed providers, by package."""
        listed = self._all("/providers", "providers")
        return {answer["package_name"]: str(answer["version"]) for answer in listed}

    def pools(self) -> dict[str, Pool]:
        return {answer["name"]: read.pool(answer) for answer in self._all("/pools", "pools")}

    def queued_asset_events(self, dag_id: str) -> tuple[str, ...]:
        """The assets whose event waits for the rest of this DAG's condition (URIs; in Airflow 3, ids)."""
        try:
            answer = self._get(f"/dags/{_part(dag_id)}/{self._dialect.QUEUED_EVENTS}")
        except NotFound:
            return ()  # Airflow's answer if there are none
        return tuple(map(self._dialect.queued_asset, answer.get("queued_events", ())))

    def partition_events(self, asset_id: int, since: datetime) -> tuple[AssetEvent, ...]:
        """The events of an asset since then that name a partition, newest first. Only in Airflow 3.2 and
        later: before, there are no partitions."""
        query = {"asset_id": asset_id, "timestamp_gte": iso(since), "order_by": "-timestamp"}
        events = map(read.asset_event, self._all("/assets/events", "asset_events", **query))
        return tuple(event for event in events if event.partition is not None)

    def unfinished_runs(self) -> tuple[Run, ...]:
        """Runs of any type that are queued or running: all that stay so while they are listed."""
        return self._runs_in(UNFINISHED)

    def failed_runs(self, since: datetime) -> tuple[Run, ...]:
        """The scheduled runs that started at `since` or later and have failed, by DAG and due instant."""
        runs = self._runs_in(("failed",), start_date_gte=iso(since))
        failed = [run for run in runs if run.type == "scheduled" and run.due is not None]
        return tuple(sorted(failed, key=lambda run: (run.dag_id, run.due)))

    def _runs_in(self, states: Collection[str], **more: str) -> tuple[Run, ...]:
        """The runs of any type that are in one of these states for as long as the listing takes."""
        body = {"states": list(states), "order_by": "id", "page_limit": PAGE, **more}

        def page(start: int) -> dict[str, Any]:
            return self._call("POST", RUNS_LIST, {**body, "page_offset": start})

        return tuple(map(read.run, _overlapping_pages(page, "dag_runs", _run_key)))

    def last_scheduled_runs(self) -> tuple[Run, ...]:
        """Each DAG's newest scheduled run among the newest 100 runs, newest first."""
        newest: dict[str, Run] = {}
        for run in self.newest_runs("~", PAGE):
            newest.setdefault(run.dag_id, run)
        return tuple(newest.values())

    def newest_runs(self, dag_id: str, count: int, *, of_any_type: bool = False) -> tuple[Run, ...]:
        """The scheduled runs among the newest `count` (at most 100) of a DAG (`~`: of all), newest first."""
        path = f"/dags/{_part(dag_id)}/dagRuns"
        if fits(path):
            query = {**self._dialect.NEWEST_RUNS, **({} if of_any_type else self._dialect.SCHEDULED_ONLY)}
            page = self._get(path, limit=count, **query)
        else:  # this one cannot be asked for scheduled runs only
            listing = {"dag_ids": [dag_id], "page_limit": PAGE, "page_offset": 0}
            page = self._call("POST", RUNS_LIST, {**listing, **self._dialect.NEWEST_RUNS})
        runs = map(read.run, page["dag_runs"])
        return tuple(run for run in runs if of_any_type or run.type == "scheduled")[:count]

    def runs_before(self, dag_id: str, until: datetime) -> Iterator[Run]:
        """The scheduled runs of a DAG that could begin and were due before `until`, newest first, fetched
        page by page as they are taken."""
        body = {"dag_ids": [dag_id], **self._dialect.NEWEST_RUNS, **self._dialect.created_until(until)}
        runs = map(read.run, self._listed_runs(body))
        return (run for run in runs if run.type == "scheduled" and run.due is not None and run.due < until)

    def first_scheduled_run(self, dag_id: str) -> Run | None:
        """The oldest scheduled run that Airflow still has of a DAG (among its first 100 runs of any type)."""
        answer = self._call(
            "POST", RUNS_LIST, {"dag_ids": [dag_id], "order_by": "id", "page_limit": PAGE, "page_offset": 0}
        )
        return next((run for run in map(read.run, answer["dag_runs"]) if run.type == "scheduled"), None)

    def runs_at_work(self, dag_ids: Collection[str], since: datetime, until: datetime) -> tuple[Run, ...]:
        """The finished runs of these DAGs, of any type, that were at work at some time in [since, until)."""
        body = {
            "dag_ids": sorted(dag_ids),
            "end_date_gte": iso(since),
            "start_date_lte": iso(until),
            "order_by": "id",
        }
        return tuple(map(read.run, self._listed_runs(body))) if dag_ids else ()

    def run_like(self, run: Run, run_id: str) -> Run | None:
        """The run of that id which this environment has in place of another one's `run`; None if there is
        none."""
        try:
            return read.run(self._get(f"/dags/{_part(run.dag_id)}/dagRuns/{_part(run_id)}"))
        except NotFound:
            return None
        except TooLong:
            like = self._dialect.runs_like(run)
            if like is None:
                raise
        listed = map(read.run, self._listed_runs({"dag_ids": [run.dag_id], "order_by": "id", **like}))
        return next((each for each in listed if each.run_id == run_id), None)

    def scheduled_runs(
        self, since: datetime, until: datetime, dag_ids: Collection[str] = ()
    ) -> tuple[Run, ...]:
        """The scheduled runs due in [since, until), ordered by due instant; all pages.

        `dag_ids` empty: of all DAGs.
        """
        body: dict[str, Any] = {"dag_ids": sorted(dag_ids)} if dag_ids else {}
        answers: Iterable[dict[str, Any]] = takewhile(
            lambda answer: not self._dialect.ends_runs_due(answer, since),
            self._listed_runs(body | self._dialect.runs_due(since, until)),
        )
        if late := self._dialect.late_runs_due(since):
            delayed = {dag.dag_id for dag in self.dags().values() if dag.delayed}
            if delayed := delayed & set(dag_ids) if dag_ids else delayed:
                answers = chain(answers, self._listed_runs({"dag_ids": sorted(delayed)} | late))
        # By key: if a run is created between two pages, a run of the first page appears again in the second.
        runs = {run.key: run for run in map(read.run, answers) if run.type == "scheduled"}
        due = [run for run in runs.values() if run.due is not None and since <= run.due < until]
        return tuple(sorted(due, key=lambda run: (run.due, run.dag_id)))

    def task_instances(
        self, runs: Collection[Run], states: Collection[str | None] = ()
    ) -> dict[tuple[str, str], list[TaskInstance]]:
        """The task instances of these runs by (DAG id, run id), of all states or of `states`."""
        by_run: dict[tuple[str, str], dict[tuple[str, int], TaskInstance]] = {run.key: {} for run in runs}
        keys = list(by_run)
        # Airflow filters by DAG and by run separately, so a portion may also return other runs' tasks.
        for start in range(0, len(keys), PORTION):
            portion = keys[start : start + PORTION]
            for instance in self._task_instances(portion, states):
                if (instance.dag_id, instance.run_id) in portion:
                    tasks = by_run[instance.dag_id, instance.run_id]
                    tasks[instance.task_id, instance.map_index] = instance
        return {key: list(tasks.values()) for key, tasks in by_run.items()}

    def begun(self, runs: Collection[Run]) -> frozenset[tuple[str, str]]:
        """Those of these runs (by key) of which some task has a start: since they were created, or since
        before they were cleared."""
        keys = sorted(run.key for run in runs)
        return frozenset(
            key
            for start in range(0, len(keys), PORTION)
            for portion in (keys[start : start + PORTION],)
            for instance in self._task_instances(portion, (), start_date_gte=iso(BEGINNING))
            if (key := (instance.dag_id, instance.run_id)) in portion
        )

    def _task_instances(
        self, keys: Collection[tuple[str, str]], states: Collection[str | None], **filters: str
    ) -> Iterator[TaskInstance]:
        """The task instances of all combinations of the DAG ids and run ids in `keys`."""
        body: dict[str, Any] = {
            "dag_ids": sorted({dag_id for dag_id, _ in keys}),
            "dag_run_ids": sorted({run_id for _, run_id in keys}),
            **({"state": list(states)} if states else {}),
            **filters,
            **self._dialect.TASK_INSTANCES,
        }
        path, size = "/dags/~/dagRuns/~/taskInstances/list", self._dialect.TASK_INSTANCES_PAGE
        return map(read.task_instance, self._listed(path, "task_instances", body, size=size))

    # --- changing ---

    def set_paused(self, dag_id: str, paused: bool) -> None:
        path, query = f"/dags/{_part(dag_id)}", None
        # A pattern is a part of an id with wildcards: for this DAG only if it finds no other.
        if not fits(path) and self._matching(dag_id) == {dag_id}:
            path, query = "/dags", {"dag_id_pattern": dag_id}
        self._call("PATCH", path, {"is_paused": paused}, query)

    def _matching(self, pattern: str) -> set[str]:
        """The ids of the DAGs that a change of `dag_id_pattern` would reach."""
        return {answer["dag_id"] for answer in self._all("/dags", "dags", dag_id_pattern=pattern)}

    def put_pool(self, pool: Pool, *, exists: bool) -> None:
        """Create the pool, or change the one of that name (of the default pool, all but its description)."""
        if pool.name == DEFAULT_POOL:
            # Airflow requires the fields' names; one per call: how InvokeRestApi passes a list is unknown.
            for field in ("slots", "include_deferred"):
                self._call("PATCH", f"/pools/{pool.name}", pool.model_dump(), {"update_mask": field})
        elif exists:
            self._call("PATCH", f"/pools/{_part(pool.name)}", pool.model_dump())
        else:
            self._call("POST", "/pools", pool.model_dump())

    def set_run(self, run: Run, state: Literal["success", "failed"], note: str) -> None:
        """End a run. Its unfinished tasks end too; before Airflow 3.3 "success" also makes its finished tasks
        succeed (in Airflow 2 all but teardowns)."""
        # A separate call, and first: a reader of the state must find the note, and Airflow 3.3.1 refuses both
        # in one call for a run without a note (409, "Unique constraint violation").
        self.set_note(run, note)
        self._call("PATCH", _run_path(run), {"state": state})

    def set_note(self, run: Run, note: str) -> None:
        self._call("PATCH", _run_path(run) + self._dialect.NOTE, {"note": note})

    @property
    def reaches_downstream(self) -> bool:
        """Whether `set_task` can set what is downstream in the same call."""
        return bool(self._dialect.DOWNSTREAM)

    def set_task(
        self,
        instance: TaskInstance,
        state: Literal["success", "failed", "skipped"],
        *,
        downstream: bool = False,
    ) -> None:
        """Give a task a final state, with `downstream` (`reaches_downstream`) also all tasks that follow it.
        Airflow then clears what failed downstream of it, which would run it: set the states of a run's tasks
        from upstream to downstream."""
        dag, run, task = map(_part, (instance.dag_id, instance.run_id, instance.task_id))
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}"
        if instance.map_index >= 0:
            path += f"/{instance.map_index}"
        body = {"new_state": state, **self._dialect.TASK_STATE}
        self._call("PATCH", path, {**body, **(self._dialect.DOWNSTREAM if downstream else {})})

    def clear(self, run: Run) -> None:
        """Clear a run, so that all its tasks are executed again by the owner at that time."""
        try:
            self._call("POST", f"{_run_path(run)}/clear", self._dialect.CLEAR)
        except TooLong:
            # The same by a shorter path: all tasks of the run, and the run itself.
            whole = {"dag_run_id": run.run_id, "dry_run": False, "only_failed": False, "reset_dag_runs": True}
            self._call("POST", f"/dags/{_part(run.dag_id)}/clearTaskInstances", whole)

    def create(self, run: Run, note: str) -> None:
        """Create a run for the same interval as another environment's `run`, with the same configuration. As
        a manual run, it is executed here, whatever the owner of its instant."""
        body: dict[str, Any] = {
            "dag_run_id": self.manual_id(run),
            **self._dialect.logical_date_of(run),
            "note": note,
            "conf": run.conf,
            **self._dialect.due_of(run),
        }
        if run.interval is not None:
            begin, end = run.interval
            body |= {"data_interval_start": iso(begin), "data_interval_end": iso(end)}
        self._call("POST", f"/dags/{_part(run.dag_id)}/dagRuns", body)

    @staticmethod
    def manual_id(run: Run) -> str:
        """The id of the run that `create` creates for another environment's `run`."""
        if run.type == "manual":
            return run.run_id
        return f"manual__{run.run_id.partition('__')[2] or run.run_id}"

    # --- calling ---

    def _all(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        """All entries of a listing by GET."""
        return list(_pages(lambda start: self._get(path, limit=PAGE, offset=start, **query), key))

    def _listed_runs(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        return self._listed(RUNS_LIST, "dag_runs", body)

    def _listed(
        self, path: str, key: str, body: Mapping[str, Any], *, size: int = PAGE
    ) -> Iterator[dict[str, Any]]:
        """All entries of a listing by POST, for filters that are lists: how InvokeRestApi passes a list in
        the query is not documented."""
        return _pages(
            lambda start: self._call("POST", path, {**body, "page_limit": size, "page_offset": start}),
            key,
        )

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._call("GET", path, None, query)


def _pages(ask: Callable[[int], dict[str, Any]], key: str) -> Iterator[dict[str, Any]]:
    """The entries of all pages; `ask` fetches the page at an offset. Unreachable if there is no end."""
    offset = 0
    for _ in range(MOST_PAGES):
        page = ask(offset)
        yield from page[key]
        offset += len(page[key])
        if not page[key] or offset >= page.get("total_entries", 0):
            return
    raise _endless(key)


def _overlapping_pages(
    ask: Callable[[int], dict[str, Any]], key: str, identity: Callable[[Mapping[str, Any]], Hashable]
) -> list[dict[str, Any]]:
    """The entries of a listing, oldest first, from which entries may vanish between two calls.

    Where one vanishes, all after it move up, so the next offset would skip one. Therefore each page begins at
    the last entry of the page before. If it begins at an unknown entry, it is read again from further back.
    Raises Unreachable if the listing has no end.
    """
    entries: dict[Hashable, dict[str, Any]] = {}
    offset = 0
    for _ in range(MOST_PAGES):
        page = ask(offset)
        if offset and (not page[key] or identity(page[key][0]) not in entries):
            offset = max(0, offset - PAGE + 1)
            continue
        entries |= {identity(entry): entry for entry in page[key]}
        end = offset + len(page[key])
        if end >= page.get("total_entries", 0) or len(page[key]) < 2:
            return list(entries.values())
        offset = end - 1
    raise _endless(key)


def _endless(key: str) -> Unreachable:
    return Unreachable(f"Airflow's REST API: the listing of {key} has not ended after {MOST_PAGES} pages")


def _run_key(answer: Mapping[str, Any]) -> tuple[str, str]:
    return answer["dag_id"], answer["dag_run_id"]


def _run_path(run: Run) -> str:
    return f"/dags/{_part(run.dag_id)}/dagRuns/{_part(run.run_id)}"


def _part(name: str) -> str:
    """Quote a name for a path: run ids contain `+` and `:`."""
    return quote(name, safe="~")
