"""Two Airflows whose runs follow from the ownership: each due run is executed by the side that owns it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mwaactl.json_model import iso
from tests.fakes.aws.clients import FakeClients, standing
from tests.fakes.clock import START

NAMES = {colour: f"mwaa-openlineage-fullha-{colour}" for colour in ("blue", "green")}


@dataclass
class Work:
    """A DAG: due every `period` seconds from START + `first`; a run takes `seconds`, every second `odd`."""

    period: float
    seconds: float
    first: float = 0.0
    alone: bool = True  # max_active_runs=1
    past: bool = False  # depends_on_past
    paused: bool = False
    odd: float | None = None
    looks_at: str | None = None  # the DAG whose newest run an ExternalTaskSensor waits for
    pool: str = "default_pool"
    active_tasks: int = 16
    schedule: str = "* * * * *"
    others: list[dict[str, Any]] = field(default_factory=list)  # unfinished runs that no schedule made


@dataclass(frozen=True)
class Executed:
    side: str
    due: datetime
    start: datetime
    end: datetime


class ScheduledAirflows:
    """Answers both sides' REST APIs from the standing ownership. Each call takes `seconds_per_call`.

    `bare`: the mirrors have not received their final states.
    """

    def __init__(
        self, aws: FakeClients, works: dict[str, Work], seconds_per_call: float = 0.0, *, bare: bool = False
    ) -> None:
        self.aws, self.works, self.pause, self.bare = aws, works, seconds_per_call, bare
        self.unplanned: set[tuple[str, str]] = set()  # (side, DAG) whose next run is not reported
        for side, name in NAMES.items():
            answers = aws.mwaa.airflow[name]
            answers["/dags"] = lambda query, side=side: self._dags(side)
            answers["POST /dags/~/dagRuns/list"] = lambda body, side=side: self._runs(side, body)
            for dag_id, work in works.items():
                answers[f"/dags/{dag_id}/tasks"] = {"tasks": _tasks(work)}
                events = f"/dags/{dag_id}/assets/queuedEvents"
                answers[events] = {"queued_events": [], "total_entries": 0}
                if work.looks_at is not None:
                    old = run_answer(dag_id, "scheduled__old", START - timedelta(days=1), state="success")
                    answers[f"/dags/{dag_id}/dagRuns"] = {"dag_runs": [old], "total_entries": 1}
            answers["POST /dags/~/dagRuns/~/taskInstances/list"] = self._rendered

    @property
    def now(self) -> datetime:
        return self.aws.ssm.clock.now

    def executed(self, dag_id: str) -> list[Executed]:
        """What was or is executed of a DAG until now, in the order of the due instants."""
        work, timeline = self.works[dag_id], standing(self.aws)
        executed: list[Executed] = []
        free = dict.fromkeys(NAMES, START)  # a side's next run waits for its last
        for number, due in enumerate(self._due(work)):
            side = timeline.owner(due, dag_id)
            assert side is not None
            start = max(due, free[side]) if work.alone or work.past else due
            seconds = work.odd if work.odd is not None and number % 2 else work.seconds
            free[side] = start + timedelta(seconds=seconds)
            executed.append(Executed(side, due, start, free[side]))
        return executed

    def overlaps(self) -> list[tuple[str, Executed, Executed]]:
        """Runs of a serial DAG on one side that overlap one on the other."""
        return [
            (dag_id, blue, green)
            for dag_id, work in self.works.items()
            if work.alone or work.past
            for runs in (self.executed(dag_id),)
            for blue in runs
            for green in runs
            if blue.side == "blue"
            and green.side == "green"
            and blue.start < green.end
            and green.start < blue.end
        ]

    def seen_early(self) -> list[tuple[str, Executed, Executed]]:
        """Runs of a DAG that looks at another's newest run, which the other side was still executing."""
        early = []
        for dag_id, work in self.works.items():
            for run in self.executed(dag_id) if work.looks_at is not None else ():
                others = [other for other in self.executed(work.looks_at or "") if other.due <= run.due]
                if others and others[-1].side != run.side and others[-1].end > run.start:
                    early.append((dag_id, run, others[-1]))
        return early

    def _due(self, work: Work) -> Iterator[datetime]:
        due = START + timedelta(seconds=work.first)
        while due <= self.now and not work.paused:
            yield due
            due += timedelta(seconds=work.period)

    def _dags(self, side: str) -> dict[str, Any]:
        self.aws.ssm.clock.forward(self.pause)
        dags = []
        for dag_id, work in self.works.items():
            passed = sum(1 for _ in self._due(work))
            due = START + timedelta(seconds=work.first + passed * work.period)
            dags.append(
                {
                    "dag_id": dag_id,
                    "is_paused": work.paused,
                    "max_active_runs": 1 if work.alone else 16,
                    "max_active_tasks": work.active_tasks,
                    "timetable_summary": work.schedule,
                    "next_dagrun_run_after": None if (side, dag_id) in self.unplanned else due.isoformat(),
                }
            )
        return {"dags": dags, "total_entries": len(dags)}

    def _runs(self, side: str, body: dict[str, Any]) -> dict[str, Any]:
        self.aws.ssm.clock.forward(self.pause)
        runs = [
            run
            for run in self._all_runs(side)
            if not body.get("dag_ids") or run["dag_id"] in body["dag_ids"]
            if not body.get("states") or run["state"] in body["states"]
            if body.get("run_after_gte", "") <= run["run_after"] <= body.get("run_after_lte", "9")
        ]
        begin = body["page_offset"]
        return {"dag_runs": runs[begin : begin + body["page_limit"]], "total_entries": len(runs)}

    def _all_runs(self, side: str) -> Iterator[dict[str, Any]]:
        for dag_id, work in self.works.items():
            for other in work.others:
                if other.get("side") == side:
                    due = datetime.fromisoformat(other["run_after"])
                    yield {**other, "dag_id": dag_id, "run_after": iso(due)}
            for run in self.executed(dag_id):
                state, note = "success", None
                if run.side != side:
                    note = None if self.bare else f"mwaactl: executed on {run.side}"
                elif self.now < run.end:
                    state = "running" if run.start <= self.now else "queued"
                yield run_answer(
                    dag_id,
                    f"scheduled__{run.due:%H:%M:%S}",
                    run.due,
                    run_after=iso(run.due),
                    state=state,
                    end_date=run.end.isoformat(),
                    note=note,
                )

    def _rendered(self, body: dict[str, Any]) -> dict[str, Any]:
        """What the sensors of old runs rendered."""
        tasks = [
            {
                "dag_id": dag_id,
                "dag_run_id": "scheduled__old",
                "task_id": "wait",
                "rendered_fields": {"external_dag_id": self.works[dag_id].looks_at},
            }
            for dag_id in body["dag_ids"]
        ]
        return {"task_instances": tasks, "total_entries": len(tasks)}


def _tasks(work: Work) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = [
        {
            "task_id": "work",
            "class_ref": {"class_name": "PythonOperator"},
            "depends_on_past": work.past,
            "pool": work.pool,
            "pool_slots": 1,
        }
    ]
    if work.looks_at is not None:
        sensor = {"class_name": "ExternalTaskSensor"}
        tasks.append({"task_id": "wait", "class_ref": sensor, "template_fields": ["external_dag_id"]})
    return tasks


def run_answer(
    dag_id: str, run_id: str, due: datetime, kind: str = "scheduled", **more: Any
) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "dag_run_id": run_id,
        "run_type": kind,
        "state": "running",
        "run_after": due.isoformat(),
        **more,
    }
