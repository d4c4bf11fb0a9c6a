"""Letting an environment execute what was not executed, for `failover` and `audit --backfill`, and how they
know again what they did: nothing is started twice."""

from __future__ import annotations

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi, Refused
from mwaactl.airflow.models import Run
from mwaactl.airflow.notes import rerun_note


def run_again(api: AirflowApi, run: Run, colour: Colour, why: str) -> None:
    """Clear a run: it is executed by `colour` if that owns its DAG now."""
    api.clear(run)
    # Afterwards: a note must not say that a run was cleared when it was not.
    api.set_note(run, rerun_note(colour, why))


def make(api: AirflowApi, run: Run, colour: Colour, why: str) -> bool:
    """Make a run here for the interval of the other side's `run`; False if it is there already."""
    if made(api, run) is not None:
        return False
    try:
        api.create(run, rerun_note(colour, why))
    except Refused:
        if made(api, run) is None:
            raise
        return False  # somebody else did it at the same moment
    return True


def made(api: AirflowApi, run: Run) -> Run | None:
    """The run that `make` made in place of `run`, if it did."""
    return api.run(run.dag_id, AirflowApi.manual_id(run))
