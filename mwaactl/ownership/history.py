"""The history of the ownership parameter in words: who decided what, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bluegreen.document import Fetch, latest_valid, parse
from bluegreen.timeline import COLOURS, Colour, Timeline, TimelineError, from_the_beginning, valid

from mwaactl.errors import ControlError
from mwaactl.json_model import Instant, Model, iso


@dataclass(frozen=True)
class Version:
    """One version of the parameter, as SSM records it."""

    number: int
    value: str
    modified: datetime
    user: str
    description: str


class HistoryEntry(Model):
    """One version of the ownership parameter."""

    version: int
    when: Instant
    who: str  # ARN of the AWS principal
    why: str  # the description given with the write
    valid: bool  # False: a lost race or a stale value; it never took effect
    change: str


class History(Model):
    """What `mwaactl history` shows: newest first, as far back as SSM keeps it (100 versions)."""

    parameter: str
    versions: tuple[HistoryEntry, ...]


def describe_history(parameter: str, versions: Sequence[Version], fetch: Fetch | None = None) -> History:
    """The history of `versions`, newest first."""
    entries = []
    stood: Timeline | None = None
    for version in reversed(versions):
        counts, change = describe_version(version, fetch, stood)
        if counts:
            record = (version.value, version.number, version.modified)
            stood = latest_valid([record], fetch).effective()
        entries.append(
            HistoryEntry(
                version=version.number,
                when=version.modified,
                who=version.user,
                why=version.description,
                valid=counts,
                change=change,
            )
        )
    return History(parameter=parameter, versions=tuple(reversed(entries)))


def describe_version(
    version: Version, fetch: Fetch | None = None, before: Timeline | None = None
) -> tuple[bool, str]:
    """Whether a version is valid, and what it decided (or tried to decide) in words.

    `before` is the timeline in force when it was written, as readers applied it: a failover back-dates a
    decision of that timeline.
    """
    try:
        timeline = parse(version.value, fetch)
    except (TimelineError, ControlError) as error:
        return False, str(error)
    counts = valid(timeline, version.number)
    own = timeline.base_version + 1
    common = [f"{e.owner} from {_begin(e.since)}" for e in timeline.owners if e.version == own]
    single: dict[str, list[str]] = {}
    for dag_id, line in timeline.dags.items():
        for entry in (entry for entry in line if entry.version == own):
            single.setdefault(f"{entry.owner} from {_begin(entry.since)}", []).append(dag_id)
    stood = {entry.version: entry.since for entry in before.owners} if before is not None else {}
    common += [
        f"{e.owner} from {_begin(e.since)}, back-dated"
        for e in timeline.owners
        if e.version != own and e.since < stood.get(e.version, e.since)
    ]
    apart = [f"{', '.join(ids)}: {decided}" for decided, ids in single.items()]
    change = (
        "; ".join(common + apart + _closed(timeline, before)) or "the standing decisions, put back on top"
    )
    if counts:
        return True, change
    return False, f"lost: based on version {timeline.base_version}, not {version.number - 1} ({change})"


def _closed(timeline: Timeline, before: Timeline | None) -> list[str]:
    """The sides whose books this version closed, or which it lets be closing."""
    if before is None:
        return []

    def closing(each: Timeline, colour: Colour) -> bool:
        return any(book.entry.left is not None and not book.entry.closed for book in each.books(colour))

    return [
        f"{colour}'s books are closed"
        for colour in COLOURS
        if before.open_books(colour) and not timeline.open_books(colour)
    ] + [
        f"{colour}'s books are {'closing' if now else 'open again'}"
        for colour in COLOURS
        if (now := closing(timeline, colour)) != closing(before, colour) and timeline.open_books(colour)
    ]


def _begin(since: datetime) -> str:
    return "the beginning" if from_the_beginning(since) else iso(since)
