"""What is known of the runs around an emergency: what the target's own records say, and what witnesses say of
the old side: its REST API and the lineage log (`lineage_witness`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run
from mwaactl.airflow.notes import copying_interrupted, has_copied_states, was_rerun
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model

Key = tuple[str, datetime]  # DAG id and due instant


class Witness(Protocol):
    """Somebody who can say what the old side completed. `whole`: it knows of every run that was completed."""

    name: str
    whole: bool

    def completed(self, since: datetime, until: datetime) -> Mapping[Key, bool]:
        """Of scheduled runs due in [since, until), whether they succeeded there; of the others it cannot say.

        Raises Unreachable if it cannot say anything.
        """


class OldSide:
    """The old environment's own REST API. A run that failed there does not count: what broke the
    environment may have broken the run."""

    whole = True

    def __init__(self, old: AirflowApi) -> None:
        self.name, self._api = f"{old.name}'s REST API", old

    def completed(self, since: datetime, until: datetime) -> Mapping[Key, bool]:
        runs = [run for run in self._api.scheduled_runs(since, until) if not has_copied_states(run)]
        tasks = self._api.task_instances([run for run in runs if run.state == "success"])
        return {
            (run.dag_id, run.due): run.state == "success"
            and any(one.state != "skipped" or one.started for one in tasks[run.key])
            for run in runs
            if run.due is not None
        }


Fate = Literal["again", "completed", "done", "running"]
"""again: to be executed on the target. completed: a witness says so. done, running: the target has (it)."""


class DueRun(Model):
    """A run of the window and what becomes of it."""

    dag_id: str
    run_id: str
    due: Instant
    fate: Fate
    known_by: str | None = None  # the witness by whom it is known as completed


class WindowReport(Model):
    """The window's runs on the target, and who could say what was completed."""

    runs: tuple[DueRun, ...]
    witnesses: tuple[str, ...]
    silent: dict[str, str]  # by witness, why it could not say anything
    unknown: bool  # whether runs that are executed again may have been completed: no whole witness answered

    def having(self, fate: Fate) -> tuple[DueRun, ...]:
        return tuple(run for run in self.runs if run.fate == fate)


def report_window(
    there: AirflowApi, witnesses: Sequence[Witness], since: datetime, until: datetime
) -> WindowReport:
    """What is to be done with the runs due in [since, until). Unreachable if the target does not answer.

    The witnesses are heard in their order. A run is completed if one says so and none says that it is not.
    """
    runs = there.scheduled_runs(since, until)
    tasks = there.task_instances([run for run in runs if run.finished])
    heard: list[str] = []
    silent: dict[str, str] = {}
    unknown = True
    completed: dict[Key, str] = {}
    denied: set[Key] = set()
    for witness in witnesses:
        try:
            said = witness.completed(since, until)
        except Unreachable as error:
            silent[witness.name] = str(error)
            continue
        heard.append(witness.name)
        unknown = unknown and not witness.whole
        completed |= {key: witness.name for key, succeeded in said.items() if succeeded}
        denied |= {key for key, succeeded in said.items() if not succeeded}
    completed = {key: name for key, name in completed.items() if key not in denied}

    def fate(run: Run, due: datetime) -> Fate:
        if not run.finished:
            return "running"
        if copying_interrupted(run):  # known as completed by a command that was interrupted
            return "completed"
        if has_copied_states(run) or was_rerun(run) or any(one.worked for one in tasks[run.key]):
            return "done"
        return "completed" if (run.dag_id, due) in completed else "again"

    return WindowReport(
        runs=tuple(
            DueRun(
                dag_id=run.dag_id,
                run_id=run.run_id,
                due=run.due,
                fate=(what := fate(run, run.due)),
                known_by=completed.get((run.dag_id, run.due)) if what == "completed" else None,
            )
            for run in runs
            if run.due is not None
        ),
        witnesses=tuple(heard),
        silent=silent,
        unknown=unknown,
    )
