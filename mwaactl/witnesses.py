"""What is known of the runs around an emergency: what the target's own records say, and what witnesses say of
the old side. The old side's REST API is a witness; a lineage log can be another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal, Protocol

from mwaactl import rerun
from mwaactl.airflow_api import AirflowApi
from mwaactl.airflow_models import Run
from mwaactl.errors import Unreachable
from mwaactl.mirrors import being_copied, made_true, worked
from mwaactl.model import Instant, Model

Key = tuple[str, datetime]  # DAG id and due instant


class Witness(Protocol):
    """Somebody who can say what the old side completed."""

    name: str

    def completed(self, since: datetime, until: datetime) -> Collection[Key]:
        """The scheduled runs due in [since, until) that succeeded there. Unreachable if it cannot say."""


class OldSide:
    """The old environment's own REST API. A run that failed there does not count: what broke the
    environment may have broken the run."""

    def __init__(self, old: AirflowApi) -> None:
        self.name, self._api = f"{old.name}'s REST API", old

    def completed(self, since: datetime, until: datetime) -> Collection[Key]:
        runs = [run for run in self._api.scheduled_runs(since, until) if run.state == "success"]
        tasks = self._api.task_instances(runs)
        return {
            (run.dag_id, run.due)
            for run in runs
            if run.due is not None
            and not made_true(run)
            and any(one.state != "skipped" or one.started for one in tasks[run.key])
        }


Fate = Literal["again", "completed", "done", "running"]
"""again: to be executed on the target. completed: a witness says so. done, running: the target has (it)."""


class Due(Model):
    """A run of the window and what becomes of it."""

    dag_id: str
    run_id: str
    due: Instant
    fate: Fate


class Look(Model):
    """The window's runs on the target, and who could say what was completed."""

    runs: tuple[Due, ...]
    witnesses: tuple[str, ...]
    silent: dict[str, str]  # by witness, why it could not say anything

    def having(self, fate: Fate) -> tuple[Due, ...]:
        return tuple(run for run in self.runs if run.fate == fate)


def look_at(there: AirflowApi, witnesses: Sequence[Witness], since: datetime, until: datetime) -> Look:
    """What is to be done with the runs due in [since, until). Unreachable if the target does not answer."""
    runs = there.scheduled_runs(since, until)
    tasks = there.task_instances([run for run in runs if run.finished])
    heard: list[str] = []
    silent: dict[str, str] = {}
    completed: set[Key] = set()
    for witness in witnesses:
        try:
            completed |= set(witness.completed(since, until))
        except Unreachable as error:
            silent[witness.name] = str(error)
        else:
            heard.append(witness.name)

    def fate(run: Run, due: datetime) -> Fate:
        if not run.finished:
            return "running"
        if being_copied(run):  # known as completed by a command that was interrupted
            return "completed"
        if made_true(run) or rerun.ran_again(run) or any(worked(one) for one in tasks[run.key]):
            return "done"
        return "completed" if (run.dag_id, due) in completed else "again"

    return Look(
        runs=tuple(
            Due(dag_id=run.dag_id, run_id=run.run_id, due=run.due, fate=fate(run, run.due))
            for run in runs
            if run.due is not None
        ),
        witnesses=tuple(heard),
        silent=silent,
    )
