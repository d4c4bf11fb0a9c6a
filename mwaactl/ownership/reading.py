"""Reading a timeline: who owns the work, since when, and who is next."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from bluegreen.timeline import Colour, Timeline


def newest_owner(timeline: Timeline, dag_id: str | None = None) -> Colour | None:
    """The owner once all decisions have taken effect: of one DAG, or of the common line.

    None: an environment that has been replaced or removed since.
    """
    newest = timeline.newest(dag_id)
    return newest.owner if timeline.lives_on(newest) else None


def named(owner: Colour | None) -> str:
    """An owner, for a person."""
    return owner or "an environment that no longer exists"


def previous_owner(timeline: Timeline) -> Colour | None:
    """The owner of the work of all DAGs before the newest one; None if there has been no other."""
    *earlier, newest = timeline.line()
    return next((entry.owner for entry in reversed(earlier) if entry.owner != newest.owner), None)


def settled(timeline: Timeline, target: str, dags: Collection[str] = ()) -> bool:
    """Whether `target` owns the work of these DAGs (empty: of every DAG), or will by a decision."""
    concerned: Collection[str | None] = dags or (None, *timeline.dags)
    return all(newest_owner(timeline, dag_id) == target for dag_id in concerned)


def apart(timeline: Timeline, standby: Colour) -> list[str]:
    """The DAGs that are the standby's, or will be by a decision, while the other side owns the rest."""
    if newest_owner(timeline) == standby:
        return []
    return [dag for dag in sorted(timeline.dags) if newest_owner(timeline, dag) == standby]


@dataclass(frozen=True)
class Turn:
    """The owner at an instant, since when, and the next owner."""

    owner: Colour | None  # None: an environment that no longer exists
    since: datetime
    next_owner: Colour | None
    next_since: datetime | None


def turn(timeline: Timeline, now: datetime, dag_id: str | None = None) -> Turn:
    """The line of ownership around `now`, of one DAG or of those without entries of their own."""
    entries = (*timeline.owners, *(timeline.dags.get(dag_id, ()) if dag_id is not None else ()))
    marks = sorted({entry.since for entry in entries})
    owner = timeline.owner(now, dag_id)
    since = marks[0]
    for mark in (mark for mark in reversed(marks) if mark <= now):
        if timeline.owner(mark, dag_id) != owner:
            break
        since = mark
    change = next((mark for mark in marks if mark > now and timeline.owner(mark, dag_id) != owner), None)
    return Turn(owner, since, timeline.owner(change, dag_id) if change else None, change)


def moved_apart(timeline: Timeline, now: datetime) -> dict[str, Turn]:
    """The DAGs whose ownership differs from the common line, now or by a decision."""
    common = turn(timeline, now)
    turns = {dag_id: turn(timeline, now, dag_id) for dag_id in sorted(timeline.dags)}
    return {
        dag_id: own
        for dag_id, own in turns.items()
        if (own.owner, own.next_owner, own.next_since) != (common.owner, common.next_owner, common.next_since)
    }
