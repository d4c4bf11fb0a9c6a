"""Two Airflows at work, where only the gate probe runs: its runs follow from clock and ownership."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from bluegreen.proof import PROBE
from bluegreen.timeline import COLOURS

from tests.fakes.airflow.model import FINAL, AirflowModel, Dag, Run, Task
from tests.fakes.airflow.probe import SKIPPED, Shows, reported
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, clients_of_models, standing
from tests.fakes.clock import START, stop_time
from tests.fakes.timeline import LIVES

PERIOD = timedelta(minutes=5)
STARTS, TAKES = timedelta(seconds=1), timedelta(seconds=3)  # after it was due; to execute its task


@dataclass
class ProbedModel(AirflowModel):
    """One side; `shows` says what the run due then shows there."""

    shows: Callable[[datetime], Shows] = lambda due: SKIPPED
    stuck: bool = False  # no run of the probe ever ends
    silent: bool = False  # the scheduler creates no run
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, method: str, path: str, query: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
        self.advance()
        return super().call(method, path, query, body)

    def advance(self) -> None:
        """The scheduler and the workers up to now."""
        with self.lock:
            self._advance()

    def _advance(self) -> None:
        dag, now = self.dags[PROBE], self.now()
        while not (dag.paused or self.silent) and dag.next_due and dag.next_due + STARTS <= now:
            self.runs.append(self._begun(dag.next_due))
            dag.next_due += PERIOD
        for run in self.runs:
            if run.dag_id == PROBE and run.state == "running" and not self.stuck:
                end = run.due + STARTS + TAKES
                if end <= now:
                    run.state = run.tasks["report", -1].state = self._result(run)
                    run.end = end

    def _begun(self, due: datetime) -> Run:
        shows, start = self.shows(due), due + STARTS
        run_id = f"scheduled__{due.isoformat()}"
        if isinstance(shows, str):
            task = Task("skipped" if shows == SKIPPED else "running")
            state = "success" if shows == SKIPPED else "running"
            return Run(PROBE, run_id, due, state, "scheduled", {("report", -1): task}, end=start)
        task = Task("running", pid=7, rendered={"report": json.dumps(shows)}, start=start)
        return Run(PROBE, run_id, due, "running", "scheduled", {("report", -1): task}, start=start)

    @staticmethod
    def _result(run: Run) -> str:
        report = json.loads(run.tasks["report", -1].rendered.get("report", "{}"))
        return (
            "success" if report.get("layer") and report.get("mine") and not report.get("error") else "failed"
        )


def probed_clients(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """A full HA stack at minute 12, blue owns; both sides have two DAGs of a user's, and the probe."""
    user = Dag({"only": ()}, next_due=START + timedelta(days=365))
    aws = clients_of_models({"daily": user, "hourly": user, PROBE: Dag({"report": ()}, next_due=START)})
    aws.mwaa.models = {
        name: ProbedModel(dags=model.dags, now=model.now, shows=partial(as_owned, aws, colour))
        for (name, model), colour in zip(aws.mwaa.models.items(), COLOURS, strict=True)
    }
    stop_time(monkeypatch, aws.ssm.clock)
    aws.ssm.clock.forward(12 * 60)
    for model in (side(aws, "blue"), side(aws, "green")):
        model.advance()
    return aws


def as_owned(aws: FakeClients, colour: str, due: datetime) -> Shows:
    """What a gate that works shows: the owner's run is executed, the other one is skipped."""
    if standing(aws).owner(due, PROBE) == colour:
        return reported(environment=colour, life=LIVES[colour], version=len(aws.ssm.values()))
    return SKIPPED


def side(aws: FakeClients, colour: str) -> ProbedModel:
    model = aws.mwaa.models[{"blue": BLUE, "green": GREEN}[colour]]
    assert isinstance(model, ProbedModel)
    return model


def executions(aws: FakeClients) -> dict[datetime, list[str]]:
    """By due instant of the probe, the sides that executed it; only runs that both sides have ended."""
    sides = {colour: side(aws, colour) for colour in COLOURS}
    for model in sides.values():
        model.advance()
    ended = [
        {run.due for run in model.runs if run.dag_id == PROBE and run.state in FINAL}
        for model in sides.values()
    ]
    dues = set.intersection(*ended)
    return {
        due: [
            colour
            for colour, model in sides.items()
            if model.scheduled(PROBE, due).tasks["report", -1].pid is not None
        ]
        for due in sorted(dues)
    }
