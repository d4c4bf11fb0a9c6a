"""The probe (plugins/bluegreen/probe.py) on one side, as Airflow's REST API reports it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from bluegreen.proof import PROBE

from tests.fakes.aws.errors import refused

RUNS = f"/dags/{PROBE}/dagRuns"
TASKS = "/dags/~/dagRuns/~/taskInstances/list"
SKIPPED, WAITING = "skipped", "waits for a verdict"
Shows = str | Mapping[str, Any]  # or the report of an execution


def reported(**changes: Any) -> dict[str, Any]:
    """The report of an execution that the gate let happen."""
    return {
        "layer": "dag_policy",
        "layers": ["dag_policy", "task_policy"],
        "routes": ["settings_module"],
        "version": 1,
        "environment": "blue",
        "life": "blue-1",
        "mine": True,
        "reason": "blue owns it",
        "installed": {"apache-airflow": "3.0.6", "openlineage-python": "1.37.0"},
        "requirements": {"checked": 3, "failed": 0, "first": []},
        "secrets": "readable",
        **changes,
    }


@dataclass
class FakeProbe:
    """Runs at each multiple of five minutes; `shows` says what became of the one that was due then.

    `there`: whether that Airflow has the DAG; `note`: that of all its runs; `more`: of each run's answer.
    """

    now: Callable[[], datetime]
    shows: Callable[[datetime], Shows]
    there: bool = True
    note: str | None = None
    late: timedelta = timedelta(0)  # the newest run is so much older

    def answer(self, method: str, path: str, query: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
        """What the REST API answers; None if the call concerns other DAGs."""
        if (method, path) == ("GET", RUNS):
            if not self.there:
                raise refused(404, detail=f"The DAG with ID: `{PROBE}` was not found")
            runs = [self._run(due) for due in self._dues(int(query["limit"]))]
            return {"dag_runs": runs, "total_entries": len(runs)}
        if method == "GET" and path.startswith(f"{RUNS}/"):
            name = unquote(path.removeprefix(f"{RUNS}/"))
            return next(run for due in self._dues(100) if (run := self._run(due))["dag_run_id"] == name)
        if (method, path) == ("POST", TASKS) and body.get("dag_ids") == [PROBE]:
            tasks = [
                self._task(due)
                for due in self._dues(100)
                if _run_id(due) in body["dag_run_ids"] and not body.get("state")
            ]
            begin = body["page_offset"]
            page = tasks[begin : begin + body["page_limit"]]
            return {"task_instances": page, "total_entries": len(tasks)}
        return None

    def _dues(self, count: int) -> list[datetime]:
        now = self.now() - self.late
        newest = now - timedelta(minutes=now.minute % 5, seconds=now.second, microseconds=now.microsecond)
        return [newest - timedelta(minutes=5 * number) for number in range(count)]

    def _run(self, due: datetime) -> dict[str, Any]:
        return {
            "dag_id": PROBE,
            "dag_run_id": _run_id(due),
            "run_type": "scheduled",
            "state": self._state(due).replace("skipped", "success"),
            "run_after": due.isoformat(),
            "note": self.note,
        }

    def _state(self, due: datetime) -> str:
        shows = self.shows(due)
        if isinstance(shows, str):
            return {SKIPPED: "skipped", WAITING: "running"}.get(shows, shows)
        rightly = shows.get("layer") and shows.get("mine") and not shows.get("error")
        return "success" if rightly else "failed"

    def _task(self, due: datetime) -> dict[str, Any]:
        shows, state = self.shows(due), self._state(due)
        process = (
            {} if state == "skipped" else {"pid": 7, "hostname": "worker", "start_date": due.isoformat()}
        )
        return {
            "dag_id": PROBE,
            "dag_run_id": _run_id(due),
            "task_id": "report",
            "map_index": -1,
            "state": state,
            "rendered_fields": {} if isinstance(shows, str) else {"report": json.dumps(shows)},
            **process,
        }


def _run_id(due: datetime) -> str:
    return f"scheduled__{due.isoformat()}"
