"""Rerunning what was not executed, for `failover` and `audit --backfill`.

Each run that is cleared or created gets a note. By the note, both commands recognize their own work when they
are repeated, and start nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run
from mwaactl.airflow.notes import has_copied_states, rerun_note, was_rerun
from mwaactl.airflow.rest import Refused

Progress = Callable[[int, int], None]  # called with the number done and the total


def clear_run(api: AirflowApi, run: Run, colour: Colour, reason: str) -> None:
    """Clear a run, so that `colour` executes it; `colour` must own its DAG now."""
    api.clear(run)
    # Afterwards: the note must not claim that a run was cleared when it was not.
    api.set_note(run, rerun_note(colour, reason))


def create_run(api: AirflowApi, run: Run, colour: Colour, reason: str) -> None:
    """Create a run here for the interval of the other side's `run`, unless there is one already."""
    if created_run(api, run) is not None:
        return
    try:
        api.create(run, rerun_note(colour, reason))
    except Refused:
        if created_run(api, run) is None:  # else another command created it at the same time
            raise


def created_run(api: AirflowApi, run: Run) -> Run | None:
    """The run that `create_run` created in place of `run`; None if there is none."""
    return api.run_like(run, AirflowApi.manual_id(run))


def was_taken_over(api: AirflowApi, run: Run) -> bool:
    """Whether this side runs, or has run, what another side left unfinished: somebody cleared the mirror, or
    started a run in its place."""
    here = api.run_like(run, run.run_id)
    if here is not None and (run.type != "scheduled" or was_rerun(here) or has_copied_states(here)):
        return True
    return created_run(api, run) is not None
