"""A small model of an Airflow: its runs and tasks, its REST API, and what that API does unasked.

It is what shows that a mirror is never executed: whatever the API clears is executed by `work`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from tests.fakes.aws.errors import client_error, refused
from tests.fakes.clock import START

FINAL = ("success", "failed")
FAILED = ("failed", "upstream_failed")
FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")
RESERVED = (
    "scheduled",
    "backfill",
    "asset_triggered",
    "operator_triggered",
    "asset_materialization",
)  # for ids
Key = tuple[str, int]


@dataclass
class Task:
    state: str | None
    operator: str = "PythonOperator"
    pid: int | None = None
    rendered: dict[str, Any] = field(default_factory=dict)
    start: datetime | None = None
    tries: int = 1


@dataclass
class Run:
    dag_id: str
    run_id: str
    due: datetime
    state: str
    kind: str
    tasks: dict[Key, Task]
    note: str | None = None
    conf: dict[str, Any] = field(default_factory=dict)
    start: datetime | None = None  # None: when it was due
    end: datetime | None = None  # of a finished run; None: when it was due
    triggered_by: str = "timetable"


@dataclass
class Dag:
    tasks: Mapping[str, tuple[str, ...]]  # by id, the ids directly downstream
    paused: bool = False
    next_due: datetime | None = None
    past: bool = False  # depends_on_past, of all tasks
    operators: Mapping[str, str] = field(default_factory=dict)
    external: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # of a marker: DAG and task
    catchup: bool = False
    max_active_runs: int = 16
    mapped: frozenset[str] = frozenset()  # ids of mapped tasks

    def below(self, task_id: str) -> set[str]:
        below: set[str] = set()
        queue = list(self.tasks[task_id])
        while queue:
            name = queue.pop()
            if name not in below:
                below.add(name)
                queue += self.tasks[name]
        return below


@dataclass
class AirflowModel:
    """One Airflow. `finishes_tasks`: whether a run that is set to success takes finished tasks along."""

    major: int = 3
    finishes_tasks: bool = False
    dags: dict[str, Dag] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    executed: list[tuple[str, str]] = field(default_factory=list)  # (DAG id, run id) of what `work` executed
    before: Callable[[str, str], None] = lambda method, path: None  # called with each request; may raise
    changes: int = 0
    now: Callable[[], datetime] = lambda: START
    assets: list[tuple[str, str]] = field(default_factory=list)  # ids of the DAGs: producer and consumer

    # --- what happens there ---

    def add(
        self,
        dag_id: str,
        due: datetime,
        states: Mapping[str, str | Iterable[str]],
        *,
        state: str = "success",
        worked: bool = True,
    ) -> Run:
        """A scheduled run with its tasks' states; several states of one task are those of its map indexes."""
        tasks: dict[Key, Task] = {}
        operators = self.dags[dag_id].operators
        for task_id, given in states.items():
            mapped = {-1: given} if isinstance(given, str) else dict(enumerate(given))
            for index, task_state in mapped.items():
                pid = 7 if worked and task_state in FINAL else None
                rendered: dict[str, Any] = {"op_args": []} if pid else {}
                operator = operators.get(task_id, "PythonOperator")
                tasks[task_id, index] = Task(task_state, operator, pid, rendered)
        end = self.now() if state in FINAL else None
        run = Run(dag_id, f"scheduled__{due.isoformat()}", due, state, "scheduled", tasks, end=end)
        self.runs.append(run)
        return run

    def mirror(self, dag_id: str, due: datetime) -> Run:
        """A run of the other side, born skipped."""
        return self.add(dag_id, due, dict.fromkeys(self.dags[dag_id].tasks, "skipped"))

    def work(self) -> None:
        """The scheduler and its workers: execute what is queued."""
        for run in self.runs:
            if run.state in FINAL or self.dags[run.dag_id].paused:
                continue
            self.executed.append((run.dag_id, run.run_id))
            run.state, run.end = "success", self.now()
            for task in run.tasks.values():
                if task.state not in FINISHED:
                    task.state, task.pid, task.rendered = "success", 7, {"op_args": []}

    def scheduled(self, dag_id: str, due: datetime) -> Run:
        """The scheduled run of that due instant."""
        return next(run for run in self.runs if (run.dag_id, run.due, run.kind) == (dag_id, due, "scheduled"))

    def end(self, run: Run, state: str) -> None:
        """An unfinished run ends, with all its tasks in this state."""
        run.state, run.end = state, self.now()
        for task in run.tasks.values():
            task.state, task.pid, task.rendered = state, 7, {"op_args": []}

    def states(self, dag_id: str, due: datetime) -> dict[Key, str | None]:
        return {key: task.state for key, task in self.scheduled(dag_id, due).tasks.items()}

    # --- the REST API ---

    def silence(self) -> None:
        """Let every request fail until `answer`."""

        def fail(method: str, path: str) -> None:
            raise client_error("InternalServerException", 500)

        self.before = fail

    def answer(self) -> None:
        self.before = lambda method, path: None

    def call(self, method: str, path: str, query: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
        self.before(method, path)
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts == ["dags"]:
            return _page("dags", [self._dag(dag_id) for dag_id in self.dags])
        if method == "GET" and parts[2:] == ["dagRuns"]:
            return self._newest_runs(parts[1], query)
        if parts == ["assets"]:
            return _page("assets", [self._asset(*asset) for asset in enumerate(self.assets)])
        if parts[1] == "~" and parts[-1] == "list":
            return self._list_tasks(body) if "taskInstances" in parts else self._list_runs(body)
        dag = self.dags.get(parts[1])
        if dag is None:
            raise refused(404, detail=f"no DAG {parts[1]}")
        if parts[2:] == ["details"]:
            return {**self._dag(parts[1]), "catchup": dag.catchup}
        if parts[2:] == ["tasks"]:
            return {
                "tasks": [
                    {
                        "task_id": task_id,
                        "class_ref": {"class_name": dag.operators.get(task_id, "PythonOperator")},
                        "downstream_task_ids": list(below),
                        "depends_on_past": dag.past,
                        "is_mapped": task_id in dag.mapped,
                    }
                    for task_id, below in dag.tasks.items()
                ]
            }
        if (method, parts[2:]) == ("POST", ["dagRuns"]):
            return self._create(parts[1], body)
        of_tasks = parts[2:] == ["clearTaskInstances"]
        run_id = body["dag_run_id"] if of_tasks else parts[3]
        run = next((r for r in self.runs if (r.dag_id, r.run_id) == (parts[1], run_id)), None)
        if run is None:
            raise refused(404, detail=f"no run {parts[3]}")
        if method == "GET":
            return self._run(run)
        self.changes += 1
        if of_tasks or parts[4:] == ["clear"]:
            assert body["dry_run"] is False
            assert not of_tasks or (body["only_failed"], body["reset_dag_runs"]) == (False, True)
            self._clear(run, run.tasks)
        elif parts[4:5] == ["taskInstances"]:
            self._patch_task(run, parts[5], int(parts[6]) if parts[6:] else -1, body)
        else:
            self._patch_run(run, body)
        return self._run(run)

    def _patch_run(self, run: Run, body: Mapping[str, Any]) -> None:
        if run.note is None and {"note", "state"} <= body.keys():
            raise refused(409, detail="Unique constraint violation")  # Airflow 3.3.1
        run.note = body.get("note", run.note)
        if "state" not in body:
            return
        if run.state != body["state"]:
            run.state, run.end = body["state"], self.now()
        for task in run.tasks.values():
            if task.state not in FINISHED:
                task.state = body["state"] if task.state == "running" else "skipped"
            elif run.state == "success" and self.finishes_tasks:
                task.state = "success"

    def _patch_task(self, run: Run, task_id: str, index: int, body: Mapping[str, Any]) -> None:
        if (task_id, index) not in run.tasks or task_id not in self.dags[run.dag_id].tasks:
            raise refused(404, detail=f"no task {task_id}")
        below = self.dags[run.dag_id].below(task_id)
        chosen = {(task_id, index)}
        if body.get("include_downstream"):
            assert self.major > 2
            chosen |= {key for key in run.tasks if key[0] in below}
        if all(run.tasks[key].state == body["new_state"] for key in chosen):
            raise refused(409, detail="it is in that state already")
        for key in chosen:
            run.tasks[key].state = body["new_state"]
        self._spread(run, {task_id} | below, but=task_id)

    def _spread(self, run: Run, task_ids: set[str], but: str | None) -> None:
        """Clear what failed among these tasks, and what a failed marker among them points to."""
        failed = [key for key in run.tasks if key[0] in task_ids and run.tasks[key].state in FAILED]
        dag = self.dags[run.dag_id]
        for key in failed:
            if run.tasks[key].operator == "ExternalTaskMarker":
                other_dag, other_task = dag.external[key[0]]
                for other in self.runs:
                    if (other.dag_id, other.due) == (other_dag, run.due):
                        self._spread(other, {other_task} | self.dags[other_dag].below(other_task), but=None)
        self._clear(run, [key for key in failed if key[0] != but])

    def _clear(self, run: Run, keys: Iterable[Key]) -> None:
        keys = list(keys)
        for key in keys:
            run.tasks[key].state = None
        if keys and run.state in FINAL:
            run.state, run.end = "queued", None

    def _create(self, dag_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        run_id = body["dag_run_id"]
        due = datetime.fromisoformat(body["run_after"]) if body.get("run_after") else START
        if run_id.partition("__")[0] in RESERVED:
            raise refused(400, detail=f"A manual DAG run cannot use ID {run_id!r}")
        if any((run.dag_id, run.run_id) == (dag_id, run_id) for run in self.runs):
            raise refused(409, detail=f"the run {run_id} exists")
        self.changes += 1
        tasks = {(task_id, -1): Task(None) for task_id in self.dags[dag_id].tasks}
        run = Run(dag_id, run_id, due, "queued", "manual", tasks, body["note"], body["conf"])
        self.runs.append(run)
        return self._run(run)

    def _asset(self, number: int, ends: tuple[str, str]) -> dict[str, Any]:
        producer, consumer = ({"dag_id": dag_id} for dag_id in ends)
        return {
            "id": number,
            "uri": f"s3://asset/{number}",
            "producing_tasks": [producer],
            "scheduled_dags": [consumer],
        }

    def _dag(self, dag_id: str) -> dict[str, Any]:
        dag = self.dags[dag_id]
        due = dag.next_due.isoformat() if dag.next_due else None
        return {
            "dag_id": dag_id,
            "is_paused": dag.paused,
            "next_dagrun_run_after": due,
            "max_active_runs": dag.max_active_runs,
        }

    def _newest_runs(self, dag_id: str, query: Mapping[str, Any]) -> dict[str, Any]:
        assert query["order_by"] == "-run_after"
        runs = sorted(
            (r for r in self.runs if dag_id in ("~", r.dag_id)), key=lambda run: run.due, reverse=True
        )
        return {
            "dag_runs": [self._run(run) for run in runs[: int(query["limit"])]],
            "total_entries": len(runs),
        }

    def _list_runs(self, body: Mapping[str, Any]) -> dict[str, Any]:
        order = body.get("order_by", "")
        listed = self.runs if order == "id" else sorted(self.runs, key=lambda run: run.due)
        if order.startswith("-"):
            listed = listed[::-1]
        runs = [
            answer
            for run in listed
            if not body.get("dag_ids") or run.dag_id in body["dag_ids"]
            if not body.get("states") or run.state in body["states"]
            if _passes(answer := self._run(run), body)
        ]
        return _page("dag_runs", runs, body)

    def _list_tasks(self, body: Mapping[str, Any]) -> dict[str, Any]:
        tasks = [
            {
                "dag_id": run.dag_id,
                "dag_run_id": run.run_id,
                "task_id": task_id,
                "map_index": index,
                "state": task.state,
                "operator": task.operator,
                "pid": task.pid,
                "hostname": "",
                "rendered_fields": task.rendered,
                "start_date": task.start.isoformat() if task.start else None,
                "try_number": task.tries,
            }
            for run in self.runs
            if run.dag_id in body["dag_ids"] and run.run_id in body["dag_run_ids"]
            for (task_id, index), task in run.tasks.items()
            if "start_date_gte" not in body or task.start is not None
        ]
        return _page("task_instances", tasks, body)

    def _run(self, run: Run) -> dict[str, Any]:
        due = run.due.isoformat()
        return {
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "run_type": run.kind,
            "state": run.state,
            "run_after": due,
            "logical_date": due,
            "data_interval_start": (run.due - timedelta(minutes=1)).isoformat(),
            "data_interval_end": due,
            "start_date": run.start.isoformat() if run.start else due,
            "end_date": (run.end or run.due).isoformat() if run.state in FINAL else None,
            "note": run.note,
            "conf": run.conf,
            "triggered_by": run.triggered_by,
        }


def _passes(answer: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether a run passes the bounds in the body, such as `end_date_gte`; a null passes none."""
    for name, bound in body.items():
        field_name, _, kind = name.rpartition("_")
        if kind not in ("gte", "lte"):
            continue
        if answer[field_name] is None:
            return False
        value, limit = datetime.fromisoformat(answer[field_name]), datetime.fromisoformat(bound)
        if (value < limit) if kind == "gte" else (value > limit):
            return False
    return True


def _page(key: str, items: list[Any], body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    begin = (body or {}).get("page_offset", 0)
    end = begin + (body or {}).get("page_limit", 100)
    return {key: items[begin:end], "total_entries": len(items)}
