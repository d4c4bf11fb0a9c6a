"""DAGs that the standby owns alone: moved by hand, or first by a rollout that watches them or was killed.

They forbid an update of the standby. And they are not moved on with the rest by a rollout that would not have
moved them first itself: somebody may be watching them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bluegreen.timeline import Colour, Timeline

from mwaactl.canary.away import way_back
from mwaactl.canary.progressive import Canary
from mwaactl.checks.outcome import listed
from mwaactl.errors import LostRace, UsageError
from mwaactl.ownership.reading import apart
from mwaactl.rollout.ready import DIFFERS


def refuse_update(standby: Colour, dags: Sequence[str], stack: str) -> UsageError:
    """Why the standby is not updated."""
    return UsageError(
        f"{standby} owns {', '.join(dags)}, so it cannot be updated. If nobody watches that there (another "
        f"rollout with --canary), bring it back first: {way_back(stack, standby, force=(DIFFERS,))}"
    )


def refuse_to_follow(timeline: Timeline, standby: Colour, canary: Canary | None, stack: str) -> None:
    """Raise LostRace if the standby owns DAGs that this rollout has not moved first.

    With percents, what has moved counts as the first: it is watched as they are.
    """
    own: Collection[str] = () if canary is None else canary.dags
    others = [dag for dag in apart(timeline, standby) if dag not in own]
    if not others or (canary is not None and canary.percents):
        return
    raise LostRace(
        f"{standby} owns {listed(others)} already: somebody has moved that first, and may be watching it. To "
        "go on with a rollout that was interrupted, repeat it with its own options (--canary). If there is "
        f"none, bring it back first: {way_back(stack, standby, force=(DIFFERS,))}"
    )
