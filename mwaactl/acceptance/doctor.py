"""The doctor: after a deployment, everything about it that only AWS can show, a line each.

What it cannot know is "unknown", with the reason: never "pass". It reads, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from bluegreen.timeline import Timeline

from mwaactl import clock
from mwaactl.acceptance.airflows import lines_of
from mwaactl.acceptance.identity import identity
from mwaactl.acceptance.line import Line
from mwaactl.acceptance.lineage import lineage
from mwaactl.aws import aws_errors
from mwaactl.checks.observation import observe
from mwaactl.checks.outcome import listed
from mwaactl.checks.ungated import ungated_executions
from mwaactl.deployment import Deployment
from mwaactl.errors import ControlError, Unreachable
from mwaactl.json_model import Model
from mwaactl.ownership.parameter import Snapshot, aws_now
from mwaactl.ownership.reading import named, newest_owner
from mwaactl.switching.active_parameter import read_active

ENVIRONMENTS = "Environments"  # how the name of Amazon MWAA's quota of environments begins
ROOM = 2  # environments that should still find room: an upgrade or a second stack needs them


class Diagnosis(Model):
    """What `mwaactl doctor` shows."""

    stack: str
    mode: str
    lines: tuple[Line, ...]

    @property
    def wrong(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.result == "fail")


def examine(deployment: Deployment, *, to: str | None = None) -> Diagnosis:
    """Look at everything once. `to`: the root URL at which Marquez can be reached from here.

    What does not answer is a line. Raises UsageError if `to` is not a URL.
    """
    lines = identity(deployment)
    snapshot, parameters = _parameters(deployment)
    timeline, now = None, clock.now()
    if snapshot is not None:
        timeline, now = snapshot.timeline, aws_now(snapshot, deployment.ownership.lead)
    sides = observe(deployment)
    for side in sides.values():
        lines += lines_of(deployment, side, timeline, now)
    lines += parameters
    if timeline is not None:
        lines.append(_books(deployment, timeline))
    lines.append(_ungated(deployment, now))
    lines += lineage(deployment, sides, to, now)
    lines.append(_quota(deployment))
    return Diagnosis(stack=deployment.name, mode=deployment.stack.mode, lines=tuple(lines))


def _parameters(deployment: Deployment) -> tuple[Snapshot | None, list[Line]]:
    """The ownership, and the lines about both parameters."""
    name = deployment.name
    try:
        snapshot = deployment.ownership.read()
    except ControlError as error:
        mend = f"pulumi refresh -s {name} && pulumi up -s {name}"
        return None, [Line(name="ownership", result="fail", detail=str(error), mend=mend)]
    owner = newest_owner(snapshot.timeline)
    switch = f"mwaactl switch {owner or 'blue'} -s {name}"
    detail = f"{named(owner)} owns the work (version {snapshot.reading.version})"
    line = Line(name="ownership", result="pass", detail=detail)
    if owner is None:
        line = Line(name="ownership", result="fail", detail=detail, mend=switch)
    elif snapshot.covered:
        text = f"{detail}; the invalid version {snapshot.top} is on top of it, without effect"
        line = Line(name="ownership", result="warn", detail=text, mend=switch)
    return snapshot, [line, _active(deployment, owner, switch)]


def _active(deployment: Deployment, owner: str | None, switch: str) -> Line:
    parameter = deployment.stack.active_environment_parameter
    try:
        plain = read_active(deployment)
    except Unreachable as error:
        return Line(name="active-environment", result="fail", detail=str(error))
    if plain == owner:
        return Line(name="active-environment", result="pass", detail=f"{parameter} names {plain}")
    detail = f"{parameter} {'names ' + plain if plain else 'does not exist'}, and {named(None)} owns the work"
    if owner is not None:
        detail = f"{parameter} {'names ' + plain if plain else 'does not exist'}, and {owner} owns the work"
    return Line(name="active-environment", result="fail", detail=detail, mend=switch)


def _books(deployment: Deployment, timeline: Timeline) -> Line:
    colours = deployment.stack.airflow_environments
    open_ones = {colour: command for colour in colours if (command := timeline.closed_by(colour))}
    if not open_ones:
        return Line(name="books", result="pass", detail="closed: `pulumi up` may update either side")
    mend = f"mwaactl switch {next(iter(open_ones.values()))} --wait -s {deployment.name}"
    detail = f"those of {' and '.join(open_ones)} are open, so `pulumi up` does not touch it"
    return Line(name="books", result="warn", detail=detail, mend=mend)


def _ungated(deployment: Deployment, now: datetime) -> Line:
    try:
        found = ungated_executions(deployment, now - timedelta(days=1))
    except Unreachable as error:
        return Line(name="ungated", result="unknown", detail=str(error))
    if found:
        return Line(
            name="ungated",
            result="fail",
            detail=f"executed without the gate in the last day: {listed([str(each) for each in found])}",
            mend=f"mwaactl audit --since 24h -s {deployment.name}",
        )
    return Line(name="ungated", result="pass", detail="nothing was executed without the gate in the last day")


def _quota(deployment: Deployment) -> Line:
    """How many more environments the region has room for."""
    region = deployment.stack.region
    try:
        allowed, used = _allowed(deployment), _used(deployment)
    except Unreachable as error:
        return Line(name="quotas", result="unknown", detail=str(error))
    if allowed is None:
        detail = f"Service Quotas lists no quota of environments in {region}"
        return Line(name="quotas", result="unknown", detail=detail)
    detail = f"{used} of {allowed:g} MWAA environments in {region}"
    if used + ROOM <= allowed:
        return Line(name="quotas", result="pass", detail=detail)
    mend = f"aws service-quotas list-service-quotas --service-code airflow --region {region}"
    return Line(name="quotas", result="warn", detail=f"{detail}: ask for more in time", mend=mend)


def _allowed(deployment: Deployment) -> float | None:
    with aws_errors("read the quotas of Amazon MWAA (servicequotas:ListServiceQuotas)"):
        client = deployment.clients.service_quotas
        pages = client.get_paginator("list_service_quotas").paginate(ServiceCode="airflow")
        quotas = [quota for page in pages for quota in page["Quotas"]]
    return next((float(each["Value"]) for each in quotas if each["QuotaName"].startswith(ENVIRONMENTS)), None)


def _used(deployment: Deployment) -> int:
    def names() -> Iterator[str]:
        for page in deployment.clients.mwaa.get_paginator("list_environments").paginate():
            yield from page["Environments"]

    with aws_errors("count the MWAA environments of the region (airflow:ListEnvironments)"):
        return sum(1 for _ in names())
