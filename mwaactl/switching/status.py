"""The status: who owns what, how both sides are doing, and whether a switch would pass its checks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import partial

from bluegreen.timeline import Colour

from mwaactl import clock
from mwaactl.airflow.models import Run
from mwaactl.checks.evidence import proof_by_probe
from mwaactl.checks.observation import Observation, observe
from mwaactl.checks.outcome import Check
from mwaactl.checks.probe import SideProof
from mwaactl.checks.registry import observe_sides, run_checks
from mwaactl.checks.ungated import UngatedExecution, ungated_executions
from mwaactl.deployment import Deployment
from mwaactl.errors import ControlError, Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import Snapshot, aws_now
from mwaactl.ownership.reading import Turn, moved_apart, newest_owner, turn
from mwaactl.switching.active_parameter import read_active
from mwaactl.switching.drain import executes


class OwnershipLine(Model):
    """The owner of the runs that are due now, since when, and the next owner (None: no change is decided).

    `owner` None: an environment that has been replaced or removed; nothing executes these runs.
    """

    owner: Colour | None
    since: Instant
    next_owner: Colour | None
    next_since: Instant | None

    @classmethod
    def of(cls, turn: Turn) -> OwnershipLine:
        return cls(
            owner=turn.owner,
            since=turn.since,
            next_owner=turn.next_owner if turn.next_owner else None,
            next_since=turn.next_since,
        )


class Status(Model):
    """What `mwaactl status` shows. `not_checked` has the reason for each missing field."""

    at: Instant  # this machine's time when the observation ended
    stack: str
    name: str
    mode: str
    region: str
    ownership: OwnershipLine | None
    dags: dict[str, OwnershipLine]  # the DAGs whose ownership differs from the common line
    version: int | None  # the valid version of the ownership parameter
    invalid_version: int | None  # an invalid one above it
    active_environment: str | None  # the plain parameter
    environments: dict[Colour, Observation]
    # Environments whose drain is not recorded, so that `pulumi up` does not touch them, with the arguments of
    # `mwaactl switch ... --wait` that end it.
    open_books: dict[Colour, str]
    draining: dict[Colour, tuple[Run, ...]]  # unfinished runs of work that is, or will be, the other side's
    switch_target: Colour | None  # the environment that does not own the work
    switch_checks: tuple[Check, ...]
    gates: dict[Colour, SideProof]  # whether each side's gate is proven to work
    ungated: tuple[UngatedExecution, ...]  # executions of the last day that no gate judged
    not_checked: dict[str, str]


def status(deployment: Deployment) -> Status:
    """Observe everything once. What cannot be reached is not an error: `not_checked` has the reason."""
    not_checked: dict[str, str] = {}
    ownership, line, dags = None, None, {}
    lead = deployment.ownership.lead
    try:
        ownership = deployment.ownership.read()
    except ControlError as error:
        not_checked["ownership"] = str(error)
    else:
        now = aws_now(ownership, lead)
        line = OwnershipLine.of(turn(ownership.timeline, now))
        dags = {dag_id: OwnershipLine.of(own) for dag_id, own in moved_apart(ownership.timeline, now).items()}
    plain = _active_environment(deployment, not_checked)
    observations = observe(deployment)
    for colour, observation in observations.items():
        not_checked |= {f"{colour}.{field}": why for field, why in observation.not_checked.items()}
    gates = _gates(deployment, ownership, observations)
    day_before = clock.now() - timedelta(days=1)
    ungated = _ungated(deployment, day_before, not_checked)
    target = _standby(line, observations)
    checks: tuple[Check, ...] = ()
    if target is not None and ownership is not None:
        sides = observe_sides(
            deployment,
            target,
            ownership.timeline,
            now=partial(aws_now, ownership, lead),
            observations=observations,
            thorough=False,
            gated_since=day_before if ungated == () else None,
        )
        checks = run_checks(sides)
    return Status(
        at=clock.now(),
        stack=deployment.name,
        name=deployment.stack.name,
        mode=deployment.stack.mode,
        region=deployment.stack.region,
        ownership=line,
        dags=dags,
        version=ownership.reading.version if ownership else None,
        invalid_version=ownership.top if ownership and ownership.covered else None,
        active_environment=plain,
        environments=observations,
        open_books={
            colour: command
            for colour in observations
            if ownership and (command := ownership.timeline.closed_by(colour))
        },
        draining=_draining(ownership, observations),
        switch_target=target,
        switch_checks=checks,
        gates=gates,
        ungated=ungated or (),
        not_checked=not_checked,
    )


def _active_environment(deployment: Deployment, not_checked: dict[str, str]) -> str | None:
    try:
        plain = read_active(deployment)
    except Unreachable as error:
        not_checked["active_environment"] = str(error)
        return None
    if plain is None:
        name = deployment.stack.active_environment_parameter
        not_checked["active_environment"] = f"the parameter {name} does not exist. The next switch creates it"
    return plain


def _gates(
    deployment: Deployment, ownership: Snapshot | None, observations: Mapping[Colour, Observation]
) -> dict[Colour, SideProof]:
    """What the probe of each side proves; empty if the ownership cannot be read."""
    if ownership is None:
        return {}
    now, period = aws_now(ownership, deployment.ownership.lead), deployment.stack.probe_period
    return {
        colour: proof_by_probe(side, ownership.timeline, now, period) for colour, side in observations.items()
    }


def _ungated(
    deployment: Deployment, since: datetime, not_checked: dict[str, str]
) -> tuple[UngatedExecution, ...] | None:
    """What was executed since then that no gate judged; None if that is not known."""
    try:
        return ungated_executions(deployment, since)
    except Unreachable as error:
        not_checked["ungated"] = str(error)
        return None


def _standby(line: OwnershipLine | None, observations: Collection[Colour]) -> Colour | None:
    if line is None:
        return None
    owner_next = line.next_owner or line.owner
    return next((colour for colour in observations if colour != owner_next), None)


def _draining(
    ownership: Snapshot | None, observations: Mapping[Colour, Observation]
) -> dict[Colour, tuple[Run, ...]]:
    """Each side's unfinished runs of DAGs that it will not own, without those that it only skips."""
    if ownership is None:
        return {}
    timeline = ownership.timeline
    unfinished = {
        colour: tuple(
            run
            for run in observation.in_flight or ()
            if newest_owner(timeline, run.dag_id) != colour and executes(colour, timeline, run)
        )
        for colour, observation in observations.items()
    }
    return {colour: runs for colour, runs in unfinished.items() if runs}
