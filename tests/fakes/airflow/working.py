"""Two Airflows at work: DAGs that are due every two minutes, beside the gate probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import pytest
from bluegreen.timeline import COLOURS

from tests.fakes.airflow.model import FINAL, AirflowModel, Dag, Run, Task
from tests.fakes.airflow.probed import ProbedModel, as_owned, probed_clients
from tests.fakes.aws.clients import FakeClients, standing
from tests.fakes.clock import START

EVERY = timedelta(minutes=2)


@dataclass(frozen=True)
class Does:
    """What a run does: how it ends, and how long after its due instant it begins and then takes."""

    state: str = "success"
    late: float = 2
    takes: float = 30
    tries: int = 1


@dataclass
class WorkingModel(ProbedModel):
    """`does`: what a run of a DAG does here; None: it is born skipped, since the other side owns it."""

    does: Callable[[str, datetime], Does | None] = lambda dag, due: None
    working: dict[str, Does] = field(default_factory=dict)  # by run id
    uncreated: set[str] = field(default_factory=set)  # DAGs whose due runs the scheduler does not create

    def _advance(self) -> None:
        super()._advance()
        now = self.now()
        for dag_id, dag in self.dags.items():
            if dag_id in self.uncreated:
                continue
            while not dag.paused and dag_id.startswith("w_") and dag.next_due and dag.next_due <= now:
                self._create_run(dag_id, dag.next_due)
                dag.next_due += EVERY
        for run in self.runs:
            if (does := self.working.get(f"{run.dag_id} {run.run_id}")) is None or run.state in FINAL:
                continue
            begin = run.due + timedelta(seconds=does.late)
            if begin <= now:
                run.state, run.start = "running", begin
            if (end := begin + timedelta(seconds=does.takes)) <= now:
                run.state, run.end = does.state, end
                for task in run.tasks.values():
                    task.state, task.pid, task.rendered, task.tries = (
                        does.state,
                        7,
                        {"op_args": []},
                        does.tries,
                    )

    def _create_run(self, dag_id: str, due: datetime) -> None:
        does, run_id = self.does(dag_id, due), f"scheduled__{due.isoformat()}"
        if does is None:
            task = Task("skipped")
            self.runs.append(Run(dag_id, run_id, due, "success", "scheduled", {("only", -1): task}, end=due))
            return
        self.working[f"{dag_id} {run_id}"] = does
        self.runs.append(Run(dag_id, run_id, due, "queued", "scheduled", {("only", -1): Task(None)}))


def working_clients(
    monkeypatch: pytest.MonkeyPatch, dags: int, does: Callable[[str, str, datetime], Does]
) -> FakeClients:
    """A full HA stack at minute 12 whose DAGs w_0, w_1, ... do what `does(colour, dag, due)` says."""
    aws = probed_clients(monkeypatch)
    models: dict[str, AirflowModel] = {}

    def own(colour: str, dag: str, due: datetime) -> Does | None:
        return does(colour, dag, due) if standing(aws).owner(due, dag) == colour else None

    for (name, model), colour in zip(list(aws.mwaa.models.items()), COLOURS, strict=True):
        mine = {f"w_{n}": Dag({"only": ()}, next_due=START + timedelta(seconds=n)) for n in range(dags)}
        models[name] = WorkingModel(
            dags={**model.dags, **mine},
            runs=model.runs,
            now=model.now,
            shows=partial(as_owned, aws, colour),
            does=partial(own, colour),
        )
    aws.mwaa.models = models
    return aws
