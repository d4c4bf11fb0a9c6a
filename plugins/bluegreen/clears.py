"""Runs that a person has cleared, in the scheduler, where no policy is asked about them: for a listener.

Nothing here raises: in Airflow 2, an error in a listener ends the scheduler.
"""

from __future__ import annotations

import logging
from typing import Any

from bluegreen import settings, store
from bluegreen.gate import Gate, describe

log = logging.getLogger("bluegreen")

NOTE = "blue/green gate: "
NOTE_LENGTH = 1000  # of Airflow's database


def run_starts(dag_run: Any) -> None:
    """Let a cleared run that waited while the work was switched start with the time of its clear."""
    if not _was_cleared(dag_run):
        return
    try:
        if _gate().keep_time_of_clear(dag_run):
            log.info("blue/green gate: %s was cleared before a switch: that decides", dag_run.run_id)
    except store.OwnershipUnknown as error:
        log.warning("blue/green gate: %s is judged by its new start: %s", dag_run.run_id, error)
    except Exception:
        log.exception("blue/green gate: %s is judged by its new start", dag_run)


def run_ends(dag_run: Any, *, succeeded: bool) -> None:
    """Let a run that was cleared on the wrong side end as failed, with a note that says what to do.

    Its tasks fail, but Airflow would call it a success if all that was cleared starts no process (trigger
    rules, empty operators) or if other tasks are the last ones.
    """
    if not _was_cleared(dag_run):
        return
    try:
        verdict = _gate().verdict(describe(dag_run), wait=0)
        if not verdict.refused:
            return
        if succeeded:
            dag_run.state = "failed"
        others = [line for line in (dag_run.note or "").splitlines() if not line.startswith(NOTE)]
        dag_run.note = "\n".join([*others, NOTE + verdict.reason])[:NOTE_LENGTH]
    except store.OwnershipUnknown as error:
        log.warning("blue/green gate: %s was cleared; where, is not known: %s", dag_run.run_id, error)
    except Exception:
        log.exception("blue/green gate: the end of %s stays as it is", dag_run)


def _was_cleared(dag_run: Any) -> bool:
    return bool(getattr(dag_run, "clear_number", 0))


def _gate() -> Gate:
    chosen = settings.load()
    return Gate(chosen, store.store(chosen))
