"""What the history tells of the first DAGs: that they moved, and that they went back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from bluegreen.timeline import Colour, Timeline, other_colour

from mwaactl.canary.away import way_back
from mwaactl.checks.outcome import listed
from mwaactl.json_model import iso
from mwaactl.ownership.history import Version
from mwaactl.ownership.reading import apart

FIRST = "canary"  # begins the reason of their move
BACK = f"{FIRST}, back"  # and that of their way back


def doubt(
    versions: Iterable[Version], timeline: Timeline, target: Colour, updated: datetime | None, stack: str
) -> str | None:
    """Why nobody should give all work to `target` unasked: its first DAGs are watched there, or did badly.

    `versions`: newest first; `updated`: when the last update of `target` began. A newer decision about all
    DAGs ends the doubt, and so does an update.
    """
    watched, went_back = (_move(target, FIRST), _move(other_colour(target), BACK))
    for version in versions:
        if version.number <= timeline.owners[-1].version:
            return None
        if went_back.match(version.description) and (updated is None or version.modified > updated):
            return (
                f"the first DAGs did badly on {target} and went back at {iso(version.modified)}, and "
                f"{target} has not been updated since (see `mwaactl history -s {stack}`). Mend it, or move "
                f"the work all the same: mwaactl switch {target} --wait -s {stack}"
            )
        if watched.match(version.description) and (there := apart(timeline, target)):
            return (
                f"{listed(there)} went first to {target}, and may be watched there. If nobody does, bring "
                f"them back: {way_back(stack, target, there)}"
            )
    return None


def _move(target: Colour, reason: str) -> re.Pattern[str]:
    return re.compile(rf"mwaactl switch {target}, only .*: {reason}(:|$)")
