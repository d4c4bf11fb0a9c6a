"""Two Airflows whose runs follow from the ownership: each due run is executed by the side that owns it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

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
    others: list[dict[str, Any]] = field(default_factory=list)  # unfinished runs that no schedule made


@dataclass(frozen=True)
class Executed:
    side: str
    due: datetime
    start: datetime
    end: datetime


class ScheduledAirflows:
    """Answers both sides' REST APIs from the standing ownership. Each call takes `seconds_per_call`."""

    def __init__(self, aws: FakeClients, works: dict[str, Work], seconds_per_call: float = 0.0) -> None:
        self.aws, self.works, self.pause = aws, works, seconds_per_call
        self.unplanned: set[tuple[str, str]] = set()  # (side, DAG) whose next run is not reported
        for side, name in NAMES.items():
            answers = aws.mwaa.airflow[name]
            answers["/dags"] = lambda query, side=side: self._dags(side)
            answers["POST /dags/~/dagRuns/list"] = lambda body, side=side: self._runs(side, body)
            for dag_id, work in works.items():
                task = {"task_id": "work", "class_ref": {"class_name": "x"}, "depends_on_past": work.past}
                answers[f"/dags/{dag_id}/tasks"] = {"tasks": [task]}

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
                    "timetable_summary": "* * * * *",
                    "next_dagrun_run_after": None if (side, dag_id) in self.unplanned else due.isoformat(),
                }
            )
        return {"dags": dags, "total_entries": len(dags)}

    def _runs(self, side: str, body: dict[str, Any]) -> dict[str, Any]:
        self.aws.ssm.clock.forward(self.pause)
        runs: list[dict[str, Any]] = []
        if "states" in body:  # the unfinished ones
            for dag_id, work in self.works.items():
                runs += [{**other, "dag_id": dag_id} for other in work.others if other.get("side") == side]
                runs += [
                    run_answer(dag_id, f"scheduled__{run.due:%H:%M:%S}", run.due)
                    for run in self.executed(dag_id)
                    if run.side == side and run.due <= self.now < run.end
                ]
        return {"dag_runs": runs, "total_entries": len(runs)}


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
