"""What a report tells: read once, then only drawn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Literal

from bluegreen.timeline import Colour, Timeline

from mwaactl.airflow.models import Run
from mwaactl.airflow.notes import has_copied_states, was_rerun
from mwaactl.airflow.rerun import Progress
from mwaactl.deployment import Deployment
from mwaactl.errors import ControlError
from mwaactl.lineage.status import LineageStatus
from mwaactl.lineage.status import status as lineage_status
from mwaactl.ownership.history import HistoryEntry
from mwaactl.recovery.audit import Audit, audit_with_records
from mwaactl.recovery.records import Records, SideRecords
from mwaactl.switching.status import Status
from mwaactl.switching.status import status as present_status

AROUND = timedelta(minutes=30)  # before and after a switch
_FORCED = re.compile(r"\[forced: ([^]]*)\]")

Outcome = Literal["executed", "retried", "failed", "skipped mirror", "unfinished"]


@dataclass(frozen=True)
class Band:
    """Who owned the runs due in [begin, end). `owner` None: nobody that exists."""

    owner: Colour | None
    begin: datetime
    end: datetime


@dataclass(frozen=True)
class Bar:
    """A run of a DAG on a side, from its start to its end (or to now)."""

    dag_id: str
    side: Colour
    due: datetime
    begin: datetime
    end: datetime
    outcome: Outcome
    finding: str | None  # of the audit, with the reason


@dataclass(frozen=True)
class Scene:
    """The runs that were at work in [begin, end), around the switches in it, if there are any."""

    begin: datetime
    end: datetime
    switches: tuple[datetime, ...]
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Decision:
    """A version of the ownership parameter, and the checks that were forced for it."""

    entry: HistoryEntry
    forced: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """All that the page shows. `missing`: what could not be read, and why."""

    since: datetime
    until: datetime
    status: Status
    versions: Mapping[str, Mapping[str, str]]  # by side or program: what, which
    common: tuple[Band, ...]
    single: Mapping[str, tuple[Band, ...]]  # the DAGs that were apart from the others in the window
    scenes: tuple[Scene, ...]
    audit: Audit | None
    decisions: tuple[Decision, ...]
    lineage: LineageStatus | None
    missing: tuple[str, ...]


def gather(
    deployment: Deployment, since: datetime, until: datetime, progress: Progress | None = None
) -> Facts:
    """Read all that there is. Raises what reading the ownership raises; all else may be missing."""
    missing: list[str] = []
    timeline = deployment.ownership.read().timeline
    history = deployment.ownership.history()
    status = present_status(deployment)
    audited: tuple[Audit, Records] | None = None
    try:
        audited = audit_with_records(deployment, since=since, until=until, lineage=True, progress=progress)
    except ControlError as error:
        missing.append(f"the runs and the audit: {error}")
    lineage: LineageStatus | None = None
    try:
        lineage = lineage_status(deployment)
    except ControlError as error:
        missing.append(f"the lineage log: {error}")
    missing += [f"{field}: {why}" for field, why in status.not_checked.items()]
    common = bands(timeline, since, until)
    single = {dag_id: bands(timeline, since, until, dag_id) for dag_id in sorted(timeline.dags)}
    bars = tuple(_bars(audited[1], audited[0], until)) if audited else ()
    return Facts(
        since=since,
        until=until,
        status=status,
        versions=_versions(deployment, status),
        common=common,
        single={dag_id: own for dag_id, own in single.items() if own != common},
        scenes=tuple(scenes([band.begin for band in common[1:]], bars, since, until)),
        audit=audited[0] if audited else None,
        decisions=tuple(
            Decision(entry, forced_in(entry.why)) for entry in history.versions if entry.when >= since
        ),
        lineage=lineage,
        missing=tuple(missing),
    )


def bands(
    timeline: Timeline, since: datetime, until: datetime, dag_id: str | None = None
) -> tuple[Band, ...]:
    """Who owned the work in [since, until), one band after the other, each with another owner."""
    entries = (*timeline.owners, *(timeline.dags.get(dag_id, ()) if dag_id is not None else ()))
    marks = [since, *sorted({entry.since for entry in entries if since < entry.since < until}), until]
    result: list[Band] = []
    for begin, end in pairwise(marks):
        owner = timeline.owner(begin, dag_id)
        if result and result[-1].owner == owner:
            result[-1] = Band(owner, result[-1].begin, end)
        else:
            result.append(Band(owner, begin, end))
    return tuple(result)


def scenes(
    switches: Sequence[datetime], bars: Iterable[Bar], since: datetime, until: datetime
) -> Iterable[Scene]:
    """A scene around each switch; those that would overlap are one. Without a switch, the window's end."""
    spans: list[tuple[datetime, datetime, list[datetime]]] = []
    for at in sorted(switches):
        begin, end = max(since, at - AROUND), min(until, at + AROUND)
        if spans and begin <= spans[-1][1]:
            spans[-1] = spans[-1][0], end, [*spans[-1][2], at]
        else:
            spans.append((begin, end, [at]))
    bars = tuple(bars)
    for begin, end, inside in spans or [(max(since, until - 2 * AROUND), until, [])]:
        shown = tuple(bar for bar in bars if bar.begin < end and bar.end >= begin)
        yield Scene(begin, end, tuple(inside), shown)


def forced_in(why: str) -> tuple[str, ...]:
    """The checks that were forced, by the description of a version."""
    match = _FORCED.search(why)
    return tuple(match[1].split(", ")) if match else ()


def _bars(records: Records, audit: Audit, now: datetime) -> Iterable[Bar]:
    found = {finding.key: f"{finding.kind}: {finding.detail}" for finding in audit.findings}
    for colour, side in records.sides.items():
        for key, run in side.runs.items():
            begin = run.start or key[1]
            yield Bar(
                dag_id=run.dag_id,
                side=colour,
                due=key[1],
                begin=begin,
                end=max(begin, run.end or (begin if run.finished else now)),
                outcome=_outcome(side, run),
                finding=found.get(key),
            )


def _outcome(side: SideRecords, run: Run) -> Outcome:
    if not run.finished:
        return "unfinished"
    tasks = side.tasks.get(run.key, ())
    if not side.from_lineage and (
        has_copied_states(run) or (run.state == "success" and not any(task.executed for task in tasks))
    ):
        return "skipped mirror"
    if run.state == "failed":
        return "failed"
    return "retried" if was_rerun(run) or any(task.tries > 1 for task in tasks) else "executed"


def _versions(deployment: Deployment, status: Status) -> dict[str, dict[str, str]]:
    try:
        own = version("mwaa-openlineage")
    except PackageNotFoundError:
        own = "unknown"
    versions = {"mwaactl": {"version": own}}
    for colour, environment in deployment.stack.airflow_environments.items():
        seen = status.environments[colour]
        versions[colour] = {
            "environment": environment.name,
            "Airflow": seen.airflow_version,
            "class": seen.environment_class,
            "status": seen.status or "not known",
            **{name: value[:19] for name, value in sorted(environment.deployed.items()) if "." in name},
        }
    return versions
