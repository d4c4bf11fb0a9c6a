"""The notes that `mwaactl` leaves on runs, to recognize later what it did."""

from __future__ import annotations

from bluegreen.timeline import Colour

from mwaactl.airflow.models import Run

_COPIED = "mwaactl: executed on"
_COPYING = ", its states are being copied"  # while only some are
_RERUN = "mwaactl: run again on"


def copied_note(source: Colour) -> str:
    """For a mirror that has the final states of the run that `source` executed."""
    return f"{_COPIED} {source}"


def copying_note(source: Colour) -> str:
    """For a mirror while its states are being copied."""
    return copied_note(source) + _COPYING


def has_copied_states(run: Run) -> bool:
    """Whether the run's states come from the other side, and so do not prove that anything ran here."""
    return run.note is not None and run.note.startswith(_COPIED)


def copying_interrupted(run: Run) -> bool:
    """Whether the copying was interrupted: only some of its states may be the other side's."""
    return has_copied_states(run) and run.note is not None and run.note.endswith(_COPYING)


def rerun_note(side: Colour, reason: str) -> str:
    """For a run that was cleared or created on `side`, to execute what was not executed."""
    return f"{_RERUN} {side}: {reason}"


def was_rerun(run: Run) -> bool:
    """Whether such a run was cleared or created by `mwaactl`."""
    return run.note is not None and run.note.startswith(_RERUN)
