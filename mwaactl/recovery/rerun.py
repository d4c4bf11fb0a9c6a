"""Rerunning what was not executed, for `failover` and `audit --backfill`.

A note on each run that was cleared or created records it. By the note, both commands recognise their own work
when they are repeated, and start nothing twice.
"""

from __future__ import annotations

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi, Refused
from mwaactl.airflow.models import Run
from mwaactl.airflow.notes import rerun_note


def clear_run(api: AirflowApi, run: Run, colour: Colour, reason: str) -> None:
    """Clear a run, so that `colour` executes it; `colour` must own its DAG now."""
    api.clear(run)
    # Afterwards: a note must not say that a run was cleared when it was not.
    api.set_note(run, rerun_note(colour, reason))


def create_run(api: AirflowApi, run: Run, colour: Colour, reason: str) -> None:
    """Create a run here for the interval of the other side's `run`, unless there is one already."""
    if created_run(api, run) is not None:
        return
    try:
        api.create(run, rerun_note(colour, reason))
    except Refused:
        if created_run(api, run) is None:  # else somebody created it at the same moment
            raise


def created_run(api: AirflowApi, run: Run) -> Run | None:
    """The run that `create_run` created in the place of `run`; None if it did not."""
    return api.run(run.dag_id, AirflowApi.manual_id(run))
