"""The checks before the probe leaves home: those of a switch, and what only a rehearsal needs."""

from __future__ import annotations

from collections.abc import Iterator

from bluegreen.proof import PROBE

from mwaactl.checks.observation import status_of
from mwaactl.checks.outcome import Check, Outcome
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import iso
from mwaactl.ownership.reading import turn
from mwaactl.switching.plan import SwitchPlan


def readiness(deployment: Deployment, planned: SwitchPlan) -> tuple[Check, ...]:
    """The checks of `planned`, a move of the probe, and those of its own. None of these can be forced."""
    own = {
        "home-available": _home_available(deployment, planned),
        "no-open-switch": _no_open_switch(deployment, planned),
    }
    mine = (Check(name=name, result=result, detail=detail) for name, (result, detail) in own.items())
    return (*mine, *planned.checks)


def _home_available(deployment: Deployment, planned: SwitchPlan) -> Outcome:
    """A switch may leave a broken side; a rehearsal must be able to come back."""
    environment = deployment.stack.require(planned.source)
    try:
        status = status_of(deployment.clients, environment)
    except Unreachable as error:
        return "fail", str(error)
    if status != "AVAILABLE":
        return "fail", f"{environment.name} is {status}: wait until it is AVAILABLE"
    return "pass", f"{environment.name} is AVAILABLE"


def _no_open_switch(deployment: Deployment, planned: SwitchPlan) -> Outcome:
    """Beside an unfinished switch a rehearsal would open books again that are closing."""
    if (first := next(_open(deployment, planned), None)) is not None:
        return "fail", first
    return "pass", "no switch is under way, and all books are closed"


def _open(deployment: Deployment, planned: SwitchPlan) -> Iterator[str]:
    timeline, name = planned.before.timeline, deployment.name
    line = turn(timeline, planned.now)
    if line.next_owner is not None and line.next_since is not None:
        yield f"a switch to {line.next_owner} takes effect at {iso(line.next_since)}: wait until it has"
    for colour in deployment.stack.airflow_environments:
        # The probe's own books are of an interrupted rehearsal: this one closes them.
        if (owner := timeline.closed_by(colour, but=PROBE)) is not None:
            yield f"{colour} has not drained. To wait for it: mwaactl switch {owner} --wait -s {name}"
