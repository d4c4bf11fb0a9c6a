"""The switch as a Python API: look first (`plan`), then write (`carry_out`). Nothing here prints or asks.

stack = load("fullha")
made = plan(stack, Clients(stack.region), "green")
if made.ok:
    done = carry_out(made, reason="upgrade of blue")
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from mwaactl import clock
from mwaactl.aws import Clients, aws_errors
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable
from mwaactl.model import Instant, Model
from mwaactl.observe import observe
from mwaactl.ownership import Ownership, Snapshot, Turn, newest_owner, settled, turn
from mwaactl.preflight import Check, Sides, known, run_checks
from mwaactl.stack import Colour, Stack, as_colour

FOLLOWS = 3  # times the plain parameter is written until it agrees with the ownership


@dataclass(frozen=True)
class Plan:
    """What a switch would do, from one look at the stack."""

    stack: Stack
    clients: Clients
    ownership: Ownership
    before: Snapshot
    target: Colour
    lead: timedelta
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    now: datetime  # by AWS's clock

    @property
    def already(self) -> bool:
        """Whether the target owns all work, or is decided to."""
        return settled(self.before.timeline, self.target)

    @property
    def ok(self) -> bool:
        return not any(check.stops for check in self.checks)

    @property
    def current(self) -> Turn:
        return turn(self.before.timeline, self.now)


class Switched(Model):
    """What a switch did (or, in a dry run, would do)."""

    target: Colour
    previous: Colour
    changed: bool
    dry_run: bool = False
    owns_from: Instant | None  # the instant from which the target owns; None in a dry run
    version: int  # of the ownership parameter
    lead_seconds: float
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


def plan(
    stack: Stack, clients: Clients, target: Colour, *, lead: float | None = None, force: Collection[str] = ()
) -> Plan:
    """Read the ownership and run the checks; nothing is written.

    `lead` is in seconds, at least (and by default) the stack's switch_lead_seconds. `force` names checks to
    override.
    Raises UsageError if this stack has no such environment or a forced check does not exist.
    """
    forced = known(force)
    stack.require(target)
    ownership = Ownership(clients, stack.ownership_parameter, timedelta(seconds=stack.switch_lead_seconds))
    before = ownership.read()
    notes: list[str] = []
    wanted = timedelta(seconds=stack.switch_lead_seconds if lead is None else lead)
    if wanted < ownership.lead:
        notes.append(f"lead raised to {ownership.lead.total_seconds():g} s, which is what the readers apply")
        wanted = ownership.lead
    if before.skew is None:
        notes.append("this machine's clock was not compared with AWS's")
    elif _too_far(before, ownership.lead):
        notes.append(
            f"this machine's clock is {abs(before.skew.sure.total_seconds()):.0f} s "
            f"{'behind' if before.skew.sure > timedelta(0) else 'ahead of'} AWS's: AWS's time is used"
        )
    if before.covered:
        notes.append(
            f"version {before.top} of {stack.ownership_parameter} is invalid (see `mwaactl history`); "
            f"version {before.reading.version} stands and will be put on top again"
        )
    checks: tuple[Check, ...] = ()
    if not settled(before.timeline, target):
        seen = observe(stack, clients)
        source: Colour = "green" if target == "blue" else "blue"
        checks = run_checks(Sides(target=seen[target], source=seen.get(source)), forced)
    return Plan(
        stack=stack,
        clients=clients,
        ownership=ownership,
        before=before,
        target=target,
        lead=wanted,
        checks=checks,
        notes=tuple(notes),
        now=aws_now(before, ownership.lead),
    )


def dry_run(made: Plan) -> Switched:
    """What `carry_out` would do."""
    return _report(made, made.before, changed=not made.already, dry_run=True)


def carry_out(made: Plan, *, reason: str = "") -> Switched:
    """Write the decision, then the plain parameter. Nothing to write if the target owns already.

    Raises CheckFailed (nothing written), LostRace (also if someone wrote since the plan was made),
    Unfinished, Unreachable.
    """
    if not made.ok:
        failed = ", ".join(check.name for check in made.checks if check.stops)
        raise CheckFailed(f"nothing was written: {failed} failed. Put it right, or add --force CHECK")
    if made.already:
        after = made.ownership.uncover(made.before)
        _follow(made, after)
        return _report(made, after, changed=False)
    before = made.ownership.read()
    if before.top != made.before.top:
        raise LostRace(
            f"someone else wrote version {before.top} of {made.stack.ownership_parameter} since the checks: "
            f"{newest_owner(before.timeline)} owns the work. Nothing was written; see `mwaactl history`"
        )
    version = before.top + 1
    since = aws_now(before, made.ownership.lead) + made.lead
    decided = before.timeline.switched(made.target, since, version)
    after = made.ownership.write(before, decided, _description(made, reason))
    _follow(made, after)
    return _report(made, after, changed=True, version=version)


def aws_now(snapshot: Snapshot, lead: timedelta) -> datetime:
    """This machine's time, corrected to AWS's if the two surely differ by more than half a lead."""
    now = clock.now()
    # The later end of what AWS's clock may show: a decision must not begin before it can be read.
    return now + snapshot.skew.most if snapshot.skew is not None and _too_far(snapshot, lead) else now


def _too_far(snapshot: Snapshot, lead: timedelta) -> bool:
    return snapshot.skew is not None and abs(snapshot.skew.sure) > lead / 2


def _description(made: Plan, reason: str) -> str:
    forced = ", ".join(check.name for check in made.checks if check.forced)
    return (
        f"mwaactl switch {made.target}"
        + (f" [forced: {forced}]" if forced else "")
        + (f": {reason}" if reason else "")
    )


def _follow(made: Plan, snapshot: Snapshot) -> None:
    """Let the plain parameter say who owns. Each writer looks again after writing: the last mends it."""
    name, ssm = made.stack.active_environment_parameter, made.clients.ssm
    try:
        with aws_errors(f"write {name}"):
            for _ in range(FOLLOWS):
                owner = newest_owner(snapshot.timeline)
                if _plain_value(made) != owner:
                    ssm.put_parameter(Name=name, Value=owner, Type="String", Overwrite=True)
                snapshot = made.ownership.read()
                if newest_owner(snapshot.timeline) == owner:
                    return
            raise Unreachable("others keep switching")
    except Unreachable as error:
        raise Unfinished(
            f"{newest_owner(snapshot.timeline)} owns the work, but the plain parameter for other systems "
            f"does not say so yet: {error}. Repeat the command: it writes what is missing"
        ) from error


def _plain_value(made: Plan) -> str | None:
    ssm = made.clients.ssm
    try:
        return ssm.get_parameter(Name=made.stack.active_environment_parameter)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return None


def _report(
    made: Plan, after: Snapshot, *, changed: bool, dry_run: bool = False, version: int | None = None
) -> Switched:
    notes, owns_from = made.notes, None
    if version is not None:
        owns_from = next((entry.since for entry in after.timeline.owners if entry.version == version), None)
        if after.reading.version != version:
            notes += (
                f"another writer has decided since: {newest_owner(after.timeline)} owns the work next "
                f"(version {after.reading.version})",
            )
    elif not changed:
        current = made.current
        owns_from = current.since if current.owner == made.target else current.next_since
    return Switched(
        target=made.target,
        previous=as_colour(made.current.owner),
        changed=changed,
        dry_run=dry_run,
        owns_from=owns_from,
        version=after.reading.version if version is None else version,
        lead_seconds=made.lead.total_seconds(),
        checks=made.checks,
        notes=notes,
    )
