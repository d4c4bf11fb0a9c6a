"""The runs around a failover, and the fate of each.

The target's own records show which of them it executed. Two witnesses report which of them the old side had
completed: its REST API and the lineage log (`completed_by_lineage`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run, TaskInstance
from mwaactl.airflow.notes import copying_interrupted, has_copied_states, was_rerun
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model

Key = tuple[str, datetime]  # DAG id and due instant


class Witness(Protocol):
    """Reports what the old side completed. `exhaustive`: it knows every run that was completed there."""

    name: str
    exhaustive: bool

    def completed(self, since: datetime, until: datetime) -> Mapping[Key, bool]:
        """Whether each scheduled run due in [since, until) succeeded there, for the runs that it knows.

        Raises Unreachable if it cannot report anything.
        """

    def unfinished(self, since: datetime, /) -> tuple[Run, ...]:
        """The runs of any type that were at work there and have not ended. One that is not `exhaustive` looks
        back until `since`. Raises Unreachable."""

    def has_started(self, dag_id: str, since: datetime) -> bool:
        """Whether it knows of a run of this DAG that has started there since then. Raises Unreachable."""


class RestApiWitness:
    """The old environment's own REST API. A run that failed there does not count as completed: what broke the
    environment may have broken the run."""

    exhaustive = True

    def __init__(self, old: AirflowApi) -> None:
        self.name, self._api = f"{old.name}'s REST API", old

    def completed(self, since: datetime, until: datetime) -> Mapping[Key, bool]:
        """See Witness."""
        runs = [run for run in self._api.scheduled_runs(since, until) if not has_copied_states(run)]
        tasks = self._api.task_instances([run for run in runs if run.state == "success"])
        return {
            (run.dag_id, run.due): run.state == "success"
            and any(task.state != "skipped" or task.started for task in tasks[run.key])
            for run in runs
            if run.due is not None
        }

    def unfinished(self, _since: datetime) -> tuple[Run, ...]:
        """See Witness."""
        return self._api.unfinished_runs()

    def has_started(self, dag_id: str, since: datetime) -> bool:
        """See Witness."""
        runs = self._api.newest_runs(dag_id, 25, of_any_type=True)
        return any(run.start is not None and run.start >= since for run in runs)


Fate = Literal["rerun", "completed", "done", "running"]
"""rerun: to be executed on the target. completed: on the old side. done, running: on the target."""


class DueRun(Model):
    """A run of the window and its fate."""

    dag_id: str
    run_id: str
    due: Instant
    fate: Fate
    known_by: str | None = None  # the witness that reports it as completed


class WindowReport(Model):
    """The window's runs on the target, and which witnesses reported what was completed."""

    runs: tuple[DueRun, ...]
    witnesses: tuple[str, ...]
    silent: dict[str, str]  # by witness, why it could not report anything
    completion_uncertain: bool  # no `exhaustive` witness answered: runs to rerun may have been completed

    def having(self, fate: Fate) -> tuple[DueRun, ...]:
        return tuple(run for run in self.runs if run.fate == fate)


def report_window(
    target_api: AirflowApi, witnesses: Sequence[Witness], since: datetime, until: datetime
) -> WindowReport:
    """The fate of each run due in [since, until). Raises Unreachable if the target does not answer.

    The witnesses are asked in order. A run is completed if at least one reports so and none denies it.
    """
    runs = target_api.scheduled_runs(since, until)
    tasks = target_api.task_instances([run for run in runs if run.finished])
    testimony = _ask(witnesses, since, until)

    def due_run(run: Run, due: datetime) -> DueRun:
        known_by = testimony.completed.get((run.dag_id, due))
        fate = _fate(run, tasks, completed=known_by is not None)
        return DueRun(
            dag_id=run.dag_id,
            run_id=run.run_id,
            due=due,
            fate=fate,
            known_by=known_by if fate == "completed" else None,
        )

    return WindowReport(
        runs=tuple(due_run(run, run.due) for run in runs if run.due is not None),
        witnesses=testimony.witnesses,
        silent=testimony.silent,
        completion_uncertain=testimony.uncertain,
    )


def _fate(run: Run, tasks: Mapping[tuple[str, str], Sequence[TaskInstance]], *, completed: bool) -> Fate:
    """The fate of a run on the target; `completed`: witnesses report that the old side completed it."""
    if not run.finished:
        return "running"
    if copying_interrupted(run):  # an interrupted command knew it as completed
        return "completed"
    if has_copied_states(run) or was_rerun(run) or any(task.worked for task in tasks[run.key]):
        return "done"
    return "completed" if completed else "rerun"


@dataclass(frozen=True)
class _Testimony:
    """What all witnesses report together."""

    completed: Mapping[Key, str]  # with the name of a witness that reports it
    witnesses: tuple[str, ...]  # that answered
    silent: dict[str, str]
    uncertain: bool


def _ask(witnesses: Sequence[Witness], since: datetime, until: datetime) -> _Testimony:
    completed: dict[Key, str] = {}
    denied: set[Key] = set()
    answered: list[Witness] = []
    silent: dict[str, str] = {}
    for witness in witnesses:
        try:
            answer = witness.completed(since, until)
        except Unreachable as error:
            silent[witness.name] = str(error)
            continue
        answered.append(witness)
        completed |= {key: witness.name for key, succeeded in answer.items() if succeeded}
        denied |= {key for key, succeeded in answer.items() if not succeeded}
    return _Testimony(
        completed={key: name for key, name in completed.items() if key not in denied},
        witnesses=tuple(witness.name for witness in answered),
        silent=silent,
        uncertain=not any(witness.exhaustive for witness in answered),
    )
