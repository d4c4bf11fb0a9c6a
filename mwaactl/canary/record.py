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

    `updated`: when Amazon last began to create or update `target`. A newer decision about all DAGs ends the
    doubt, and so does an update.
    """
    since = timeline.owners[-1].version
    newer = {version.number: version for version in versions if version.number > since}
    first, went_back = _move(target, FIRST), _move(other_colour(target), BACK)

    def moved_by(dag: str) -> str:
        version = newer.get(timeline.newest(dag).version)
        return version.description if version is not None else ""

    if watched := [dag for dag in apart(timeline, target) if first.match(moved_by(dag))]:
        return (
            f"{listed(watched)} went first to {target}, and may be watched there. If nobody does, bring "
            f"them back: {way_back(stack, target, watched)}"
        )
    bad = [version.modified for version in newer.values() if went_back.match(version.description)]
    if bad and (updated is None or max(bad) > updated):
        return (
            f"the first DAGs did badly on {target} and went back at {iso(max(bad))}, and {target} has not "
            f"been updated since (see `mwaactl history -s {stack}`). Update it: mwaactl rollout -s {stack}. "
            f"Or, if it is well, move the work yourself: mwaactl switch {target} --wait -s {stack}"
        )
    return None


def _move(target: Colour, reason: str) -> re.Pattern[str]:
    forced = r"(?: \[forced: [^\]]*\])?"
    return re.compile(rf"mwaactl switch {target}, only [^:\[]*{forced}: {reason}(?:$|: )")
