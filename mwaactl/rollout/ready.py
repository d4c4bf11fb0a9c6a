"""Wait until the standby can take the work: as a switch would find it, and proven since its update."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from bluegreen.timeline import Colour, other_colour

from mwaactl import clock
from mwaactl.checks.observation import changed_at, describe
from mwaactl.checks.outcome import Check
from mwaactl.checks.probe import proof_of, read_probe
from mwaactl.deployment import Deployment
from mwaactl.errors import Unfinished, Unreachable
from mwaactl.json_model import iso
from mwaactl.ownership.parameter import aws_now
from mwaactl.switching.plan import SwitchPlan, plan

POLL = 15.0  # seconds between two looks; one of them takes dozens of calls
IN_MOTION = ("CREATING", "UPDATING", "CREATING_SNAPSHOT", "ROLLING_BACK", "MAINTENANCE", "PENDING")
# The side that is left still has the old files until it is the standby.
DIFFERS = "same-plugins"
SETTLED = timedelta(days=1)  # an update that began longer ago has ended


def await_settled(
    deployment: Deployment, colour: Colour, limit: timedelta, on_wait: Callable[[str], None]
) -> None:
    """Wait until Amazon is not at work on an environment: an update would be refused. Raises Unfinished."""
    environment, begun = deployment.stack.require(colour), clock.now()
    while True:
        try:
            status = str(describe(deployment.clients, environment).get("Status"))
        except Unreachable:
            return  # the engine says it better
        if status not in IN_MOTION:
            return
        on_wait(f"{environment.name} is {status}")
        _not_longer_than(limit, begun, f"{environment.name} is still {status}")
        clock.sleep(POLL)


def await_ready(
    deployment: Deployment,
    target: Colour,
    *,
    force: Collection[str],
    limit: timedelta,
    on_wait: Callable[[str], None],
) -> SwitchPlan:
    """The switch to `target`, planned once every check of it passes and its gate is proven since its update.

    Pause state and pools are copied to it. Raises Unfinished with what is missing after `limit`.
    """
    begun, since = clock.now(), None
    while True:
        try:
            if since is None:
                since = _changed(deployment, target)
            planned = plan(deployment, target, force={*force, DIFFERS}, sync=True)
            missing = _missing(deployment, planned, since)
        except Unreachable as error:
            planned, missing = None, str(error)
        if planned is not None and not missing:
            return planned
        on_wait(missing)
        _not_longer_than(limit, begun, missing)
        clock.sleep(POLL)


def _changed(deployment: Deployment, target: Colour) -> datetime | None:
    """From when on a proof of its gate counts: now, if Amazon has been at work on it lately."""
    amazons = describe(deployment.clients, deployment.stack.require(target))
    if amazons.get("Status") in IN_MOTION:
        raise Unreachable(f"{target} is {amazons['Status']}")
    newest = changed_at(amazons)
    now = aws_now(deployment.ownership.read(), deployment.ownership.lead)
    return now if newest is None or now - newest < SETTLED else newest


def _missing(deployment: Deployment, planned: SwitchPlan, since: datetime | None) -> str:
    """What stands in the way of the switch; empty if nothing does."""
    if planned.already:
        return ""
    stopping: list[Check] = [check for check in planned.checks if check.stops]
    if stopping:
        return "; ".join(f"{check.name}: {check.detail}" for check in stopping)
    target, source = planned.target, other_colour(planned.target)
    gate = next((check for check in planned.checks if check.name == "gate"), None)
    if since is None or source not in deployment.stack.airflow_environments or (gate and gate.forced):
        return ""
    timeline, now = planned.before.timeline, aws_now(planned.before, deployment.ownership.lead)
    period = deployment.stack.probe_period
    proof = proof_of(target, read_probe(deployment.airflow(target)), timeline, now, period)
    if proof.at is None or proof.wrong is not None:
        return f"the gate of {target} is not proven: {proof.wrong or proof.missing}"
    if proof.at < since:
        return (
            f"the gate of {target} is not proven since {iso(since)}: the newest proof is of {iso(proof.at)}"
        )
    return ""


def _not_longer_than(limit: timedelta, begun: datetime, why: str) -> None:
    if clock.now() - begun >= limit:
        raise Unfinished(f"not ready after {limit.total_seconds():g} s: {why}")
