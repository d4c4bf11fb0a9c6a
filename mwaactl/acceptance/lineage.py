"""The doctor's lines about lineage: an event of the probe on its whole way, and who carries it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any

from bluegreen.proof import FACET, PROBE
from bluegreen.timeline import Colour

from lineage_log.event import Event, UnreadableError
from lineage_log.log import Log, key_at
from mwaactl.acceptance.line import Line
from mwaactl.aws import aws_errors
from mwaactl.checks.observation import Observation
from mwaactl.deployment import Deployment
from mwaactl.errors import ControlError, Unreachable
from mwaactl.json_model import iso
from mwaactl.lineage.status import HEALTH_TIMEOUT, LineageStatus, health, open_hint, server, status

JOB = f"{PROBE}.report"
READ = 300  # events that are looked through for the probe's
SLOW = 300.0  # seconds of lag that are worth a word


def lineage(
    deployment: Deployment, sides: dict[Colour, Observation], to: str | None, now: datetime
) -> Iterator[Line]:
    """The lines `lineage-log`, `forwarder`, `set-aside` and `marquez`, of what the stack has."""
    stack = deployment.stack
    if stack.lineage == "none":
        yield Line(name="lineage-log", result="pass", detail=f"{stack.lacks}: there is nothing to examine")
        return
    event, line = _logged(deployment, sides, now)
    yield line
    if stack.lineage == "log":
        yield Line(name="marquez", result="pass", detail=f"{stack.lacks}: there is nothing to examine")
        return
    name = deployment.name
    try:
        seen = status(deployment, hours=1, to=to)
    except ControlError as error:
        mend = f"mwaactl lineage status -s {name}"
        yield from (
            Line(name=each, result="unknown", detail=str(error), mend=mend)
            for each in ("forwarder", "set-aside", "marquez")
        )
        return
    yield _forwarder(deployment, seen)
    for sink in stack.lineage_sinks:
        yield _forwarder(deployment, seen, sink)
    if seen.set_aside:
        detail = f"Marquez refused {seen.set_aside} events for good"
        mend = f"mwaactl lineage set-aside list -s {name}"
        yield Line(name="set-aside", result="warn", detail=detail, mend=mend)
    else:
        yield Line(name="set-aside", result="pass", detail="no event")
    for sink, count in seen.set_aside_by_sink.items():
        detail = f"{count} events that the sink {sink} refused for good lie below sinks/{sink}/"
        mend = f"aws s3 ls --recursive s3://{seen.bucket}/sinks/{sink}/"
        yield Line(name=f"set-aside-{sink}", result="warn", detail=detail, mend=mend)
    yield _marquez(deployment, event, to)


def _logged(
    deployment: Deployment, sides: dict[Colour, Observation], now: datetime
) -> tuple[Event | None, Line]:
    """An event of the newest execution of the probe, in the log."""
    executed = [
        (run.due, colour)
        for colour, side in sides.items()
        for run in side.probe or ()
        if run.report is not None and run.state == "success"
    ]
    if not executed:
        detail = f"no run of {PROBE} was executed lately, so none may have emitted lineage"
        return None, Line(name="lineage-log", result="unknown", detail=detail)
    due, colour = max(executed)
    environment, bucket = deployment.stack.require(colour), deployment.stack.lineage_log_bucket
    until = min(now, due + deployment.stack.probe_period)
    try:
        with aws_errors(f"read the lineage log s3://{bucket}"):
            event, everything = _find(
                Log(deployment.clients.s3, bucket), due, until, environment.lineage_namespace
            )
    except Unreachable as error:
        return None, Line(name="lineage-log", result="fail", detail=str(error))
    run = f"the probe's run due {iso(due)} on {colour}"
    if event is not None:
        judged = "with" if FACET in (_fields(event)["run"].get("facets") or {}) else "without"
        return event, Line(
            name="lineage-log",
            result="pass" if judged == "with" else "warn",
            detail=f"an event of {run} is there, {judged} the gate's facet",
        )
    if now - due < timedelta(minutes=1) or not everything:
        detail = f"no event of {run} is among the first {READ} since then, or not yet"
        return None, Line(name="lineage-log", result="unknown", detail=detail)
    region = deployment.stack.region
    return None, Line(
        name="lineage-log",
        result="fail",
        detail=f"no event of {run} is in s3://{bucket}: OpenLineage emits none there, or cannot write",
        mend=f"aws logs tail airflow-{environment.name}-Task --filter-pattern lineage --since 1h "
        f"--region {region}",
    )


def _find(log: Log, since: datetime, until: datetime, namespace: str) -> tuple[Event | None, bool]:
    """The probe's first event in a window, and whether all of the window was looked through."""
    listed = chain.from_iterable(log.pages(key_at(since), key_at(until)))
    count = 0
    for count, each in enumerate(islice(listed, READ), 1):  # noqa: B007 - used below
        try:
            event = log.read(each.key)
        except UnreadableError:
            continue
        if event is not None and event.namespace == namespace and _job(event) == JOB:
            return event, True
    return None, count < READ


def _fields(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(event.text)
    return fields


def _job(event: Event) -> str | None:
    return (_fields(event).get("job") or {}).get("name")


def _forwarder(deployment: Deployment, seen: LineageStatus, sink: str | None = None) -> Line:
    """To Marquez, or to a further sink."""
    mend, name = f"mwaactl lineage status -s {deployment.name}", f"forwarder-{sink}" if sink else "forwarder"
    checkpoints = [each for each in seen.checkpoints if each.sink == sink]
    if not checkpoints:
        detail = f"no forwarder has ever carried lineage from the log to {sink or 'Marquez'}: is its node up?"
        return Line(name=name, result="fail", detail=detail, mend=mend)
    newest = max(checkpoints, key=lambda each: (each.saved_at is not None, each.saved_at or seen.since))
    if newest.silent or newest.holder is None:
        saved = iso(newest.saved_at) if newest.saved_at else "never"
        detail = f"none is at work: {newest.key} was last saved {saved}, and {newest.waiting} events wait"
        return Line(name=name, result="fail", detail=detail, mend=mend)
    shown = f"{newest.holder} is at work, {newest.lag_seconds:g} s behind"
    return Line(
        name=name,
        result="warn" if newest.lag_seconds > SLOW else "pass",
        detail=shown,
        mend=mend if newest.lag_seconds > SLOW else "",
    )


def _marquez(deployment: Deployment, event: Event | None, to: str | None) -> Line:
    url = deployment.stack.marquez(to)
    back_end = server(url, timeout=HEALTH_TIMEOUT)
    try:
        known = back_end.run(run_id) if event is not None and (run_id := event.run_in_marquez) else None
    finally:
        back_end.close()
    state = health(server(url, timeout=HEALTH_TIMEOUT), url)
    open_command = f"pulumi stack output lineage_open_command -s {deployment.name}"
    if state.healthy is None:
        return Line(name="marquez", result="unknown", detail=f"{url}: {state.detail}", mend=open_command)
    if not state.healthy:
        return Line(name="marquez", result="fail", detail=f"{url}: {state.detail}", mend=open_command)
    if known is None:
        return Line(
            name="marquez", result="unknown", detail=f"{url} answers; no event of the probe to look for"
        )
    if known.delivered:
        return Line(name="marquez", result="pass", detail=f"{url} knows the probe's run")
    if known.status == 404:
        detail = f"{url} answers, and does not know the probe's run"
        return Line(
            name="marquez", result="fail", detail=detail, mend=f"mwaactl lineage status -s {deployment.name}"
        )
    return Line(name="marquez", result="unknown", detail=f"{url}: {known}. {open_hint()}", mend=open_command)
