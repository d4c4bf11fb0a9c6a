"""Where `--return` takes the work: to where the rollout began, also if it was interrupted on its way.

The reason of the switch says that the work is to return. That counts until a rollout has ended, or somebody
decides about all DAGs.
"""

from __future__ import annotations

from dataclasses import replace

from bluegreen.timeline import Colour

from mwaactl.errors import LostRace
from mwaactl.ownership.parameter import Ownership

REASON = "rollout"
RETURNS = f"{REASON}, and back"  # in the history: a rollout that is to return the work
STAYS = "mwaactl: a rollout has ended, and the work stays on"
ATTEMPTS = 5  # at a record that other writers are faster than


def is_to_return(ownership: Ownership, decided: int) -> bool:
    """Whether the decision of this version was the way out of a rollout that has not ended yet.

    Of the 100 versions that SSM keeps; a decision that is older than these counts as one that has ended.
    """
    for version in ownership.versions():  # newest first
        if version.description.startswith(STAYS):
            return False
        if version.number == decided:
            return f": {RETURNS}" in version.description
    return False


def record_that_it_stays(ownership: Ownership, decided: int, owner: Colour) -> None:
    """Put the standing decisions on top again, with the record that nothing is to return any more.

    Raises LostRace, Unfinished, Unreachable.
    """
    for attempt in range(ATTEMPTS):
        before = ownership.read()
        if before.timeline.owners[-1].version != decided:
            return  # somebody has decided anew: that has no way back
        try:
            ownership.write(before, replace(before.timeline, base_version=before.top), f"{STAYS} {owner}")
            return
        except LostRace:
            if attempt == ATTEMPTS - 1:
                raise
