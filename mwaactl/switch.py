"""The switch as a Python API: look first (`plan`), then write (`carry_out`). Nothing here prints or asks.

stack = load("fullha")
made = plan(stack, Clients(stack.region), "green")
if made.ok:
    done = carry_out(made, reason="upgrade of blue")

`plan(..., dags=["daily"])` moves single DAGs by decisions of their own, `plan_rollback` all of them back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mwaactl import clock
from mwaactl.aws import Clients, aws_errors
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable, UsageError
from mwaactl.model import Instant, Model
from mwaactl.observe import observe
from mwaactl.ownership import Ownership, Snapshot, Turn, newest_owner, previous_owner, settled, turn
from mwaactl.preflight import Check, Sides, known, listed, run_checks
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
    dags: tuple[str, ...] = ()  # the DAGs to move alone; none: all move
    rollback: bool = False

    @property
    def already(self) -> bool:
        """Whether the target owns all work (that of `dags`), or is decided to."""
        return settled(self.before.timeline, self.target, self.dags)

    @property
    def moving(self) -> tuple[str, ...]:
        """Those of `dags` that the target does not own yet."""
        return tuple(dag for dag in self.dags if not settled(self.before.timeline, self.target, (dag,)))

    @property
    def ok(self) -> bool:
        return not any(check.stops for check in self.checks)

    @property
    def dag_id(self) -> str | None:
        """One of the DAGs that move alone, for what is the same for all of them; None if all DAGs move."""
        return next(iter(self.moving or self.dags), None)

    @property
    def current(self) -> Turn:
        return turn(self.before.timeline, self.now, self.dag_id)


class Switched(Model):
    """What a switch did (or, in a dry run, would do)."""

    target: Colour
    dags: tuple[str, ...] = ()  # the DAGs that moved alone (or were there already); none: all
    rollback: bool = False
    previous: Colour
    changed: bool
    dry_run: bool = False
    owns_from: Instant | None  # the instant from which the target owns; None in a dry run
    version: int  # of the ownership parameter
    lead_seconds: float
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


def plan(
    stack: Stack,
    clients: Clients,
    target: Colour,
    *,
    dags: Iterable[str] | None = None,
    lead: float | None = None,
    force: Collection[str] = (),
) -> Plan:
    """Read the ownership and run the checks; nothing is written.

    `dags` are the DAGs to move alone; None: all move. `lead` is in seconds, at least (and by default) the
    stack's switch_lead_seconds. `force` names checks to override.
    Raises UsageError if this stack has no such environment, a forced check does not exist or `dags` is empty.
    """
    chosen = tuple(dict.fromkeys(dags or ()))
    if dags is not None and not chosen:
        raise UsageError("dags is empty: name the DAGs to move alone, or leave it out to move all work")
    forced = known(force)
    stack.require(target)
    ownership = _ownership(stack, clients)
    return _plan(stack, ownership, ownership.read(), target, lead, forced, dags=chosen)


def plan_rollback(
    stack: Stack, clients: Clients, *, lead: float | None = None, force: Collection[str] = ()
) -> Plan:
    """Plan a switch of all work back to the environment that owned it before the newest owner.

    The rest is as for `plan`; also raises UsageError if there was no switch yet.
    """
    forced = known(force)
    ownership = _ownership(stack, clients)
    before = ownership.read()
    owner, previous = newest_owner(before.timeline), previous_owner(before.timeline)
    if previous is None:
        raise UsageError(
            f"there is no switch to roll back: the ownership timeline of stack {stack.stack} has no owner "
            f"before {owner}. DAGs that were moved alone come back with: "
            f"mwaactl switch {owner} -s {stack.stack}"
        )
    target = as_colour(previous)
    stack.require(target)
    return _plan(stack, ownership, before, target, lead, forced, rollback=True)


def _ownership(stack: Stack, clients: Clients) -> Ownership:
    return Ownership(clients, stack.ownership_parameter, timedelta(seconds=stack.switch_lead_seconds))


def _plan(
    stack: Stack,
    ownership: Ownership,
    before: Snapshot,
    target: Colour,
    lead: float | None,
    forced: Collection[str],
    *,
    dags: tuple[str, ...] = (),
    rollback: bool = False,
) -> Plan:
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
    if not settled(before.timeline, target, dags):
        seen = observe(stack, ownership.clients)
        source: Colour = "green" if target == "blue" else "blue"
        checks = run_checks(Sides(target=seen[target], source=seen.get(source), dags=dags), forced)
    return Plan(
        stack=stack,
        clients=ownership.clients,
        ownership=ownership,
        before=before,
        target=target,
        lead=wanted,
        checks=checks,
        notes=tuple(notes),
        now=aws_now(before, ownership.lead),
        dags=dags,
        rollback=rollback,
    )


def dry_run(made: Plan) -> Switched:
    """What `carry_out` would do."""
    return _report(made, made.before, changed=not made.already, dry_run=True)


def carry_out(made: Plan, *, reason: str = "") -> Switched:
    """Write the decision, then (if all work moves) the plain parameter. Nothing if the target owns already.

    Raises CheckFailed (nothing written), LostRace (also if someone wrote since the plan was made),
    Unfinished, Unreachable, UsageError (too many DAGs with decisions of their own; nothing written).
    """
    try:
        return _carry_out(made, reason)
    except (LostRace, Unfinished) as error:
        if not made.rollback:
            raise
        raise type(error)(
            f"{error}. To repeat this rollback say `mwaactl switch {made.target} -s {made.stack.stack}`: "
            "another rollback may lead forward again"
        ) from error


def _carry_out(made: Plan, reason: str) -> Switched:
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
    decided = before.timeline
    for dag_id in made.moving:
        decided = decided.dag_moved(dag_id, made.target, since, version)
    if not made.dags:
        decided = decided.switched(made.target, since, version)
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
        f"mwaactl {'rollback to' if made.rollback else 'switch'} {made.target}"
        + (f", only {listed(made.moving)}" if made.dags else "")
        + (f" [forced: {forced}]" if forced else "")
        + (f": {reason}" if reason else "")
    )


def _follow(made: Plan, snapshot: Snapshot) -> None:
    """Let the plain parameter say who owns. Each writer looks again after writing: the last mends it.

    It is about the work of all DAGs: one that moves single DAGs leaves it alone.
    """
    if made.dags:
        return
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
        timeline = after.timeline
        entries = timeline.owners if made.dag_id is None else timeline.dags.get(made.dag_id, ())
        owns_from = next((entry.since for entry in entries if entry.version == version), None)
        if after.reading.version != version:
            notes += (
                f"another writer has decided since: {newest_owner(timeline, made.dag_id)} owns the work next "
                f"(version {after.reading.version})",
            )
    elif not changed:
        turns = [turn(made.before.timeline, made.now, dag_id) for dag_id in made.dags or (None,)]
        begins = [one.since if one.owner == made.target else one.next_since for one in turns]
        owns_from = max((begin for begin in begins if begin is not None), default=None)
    return Switched(
        target=made.target,
        dags=made.dags,
        rollback=made.rollback,
        previous=as_colour(made.current.owner),
        changed=changed,
        dry_run=dry_run,
        owns_from=owns_from,
        version=after.reading.version if version is None else version,
        lead_seconds=made.lead.total_seconds(),
        checks=made.checks,
        notes=notes,
    )
