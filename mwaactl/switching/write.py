"""The switch as a Python API: plan it (`plan`), then write it (`carry_out`). Nothing here prints or asks.

    from mwaactl import Deployment, carry_out, plan, wait_until_drained

    deployment = Deployment.open("fullha")
    switch = plan(deployment, "green")
    if switch.ok:
        carry_out(switch, reason="upgrade of blue")
        wait_until_drained(deployment, "green", timeout=3600)

`plan(..., dags=["daily"])` moves single DAGs by decisions of their own, `plan_rollback` all of them back.
Serial DAGs move only while they are idle (`switching.held_dags`): `SwitchResult.held` names those that were
busy, and another `plan` and `carry_out` move them later.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bluegreen.timeline import Colour, Timeline

from mwaactl.checks.outcome import Check, checks_failed, listed
from mwaactl.checks.serial import CHECK as SERIAL_CHECK
from mwaactl.checks.target import status_against
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import Snapshot, aws_now
from mwaactl.ownership.reading import named, newest_owner, turn
from mwaactl.switching import held_dags
from mwaactl.switching.active_parameter import write_active
from mwaactl.switching.held_dags import Activity, HeldDag
from mwaactl.switching.plan import SwitchPlan


class SwitchResult(Model):
    """What a switch did (or, in a dry run, would do)."""

    target: Colour
    dags: tuple[str, ...] = ()  # the DAGs that moved alone (or were there already); none: all
    moved: tuple[str, ...] = ()  # the DAGs that moved by decisions of their own
    held: tuple[HeldDag, ...] = ()  # the DAGs that stay on the other side until they are idle
    rollback: bool = False
    previous: Colour | None  # None: an environment that no longer exists
    changed: bool
    dry_run: bool = False
    owns_from: Instant | None  # the instant from which the target owns; None in a dry run
    version: int  # of the ownership parameter
    lead_seconds: float
    checks: tuple[Check, ...]
    forced: tuple[str, ...] = ()  # the checks that were overridden by name, whether they failed or not
    hold: tuple[str, ...] = ()  # the DAGs that move only while they are idle, because the operator says so
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Decision:
    """What to write, with effect from `since`; `timeline` is None if there is nothing to decide now."""

    timeline: Timeline | None = None
    since: datetime | None = None
    moved: tuple[str, ...] = ()
    held: tuple[HeldDag, ...] = ()


def dry_run(plan: SwitchPlan) -> SwitchResult:
    """What `carry_out` would do."""
    activity = plan.activity if plan.ok else None
    decision = _decide(plan, plan.before, activity, plan.now + plan.lead)
    changed = decision.timeline is not None
    return _result(
        plan,
        decision,
        changed=changed,
        dry_run=True,
        version=plan.before.reading.version,
        owns_from=None if changed else _owned_since(plan, decision),
    )


def carry_out(plan: SwitchPlan, *, reason: str = "") -> SwitchResult:
    """Write the decision, then (if all work moves) the plain parameter. Write nothing if the target already
    owns the work, or if everything that has yet to move is busy.

    Raises CheckFailed (nothing written; also if the source no longer answers, or the target is not available
    any more), LostRace (also if someone wrote since the plan was made), Unfinished, Unreachable.
    """
    try:
        return _carry_out(plan, reason)
    except (LostRace, Unfinished) as error:
        if not plan.rollback:
            raise
        raise type(error)(
            f"{error}. Repeat this rollback with `mwaactl switch {plan.target} -s {plan.deployment.name}`; "
            "another rollback might switch forward again"
        ) from error


def _carry_out(plan: SwitchPlan, reason: str) -> SwitchResult:
    if error := checks_failed(plan.checks):
        raise error
    if plan.already:
        return _leave(plan, _Decision())
    ownership = plan.deployment.ownership
    clients = plan.deployment.clients
    _ = clients.mwaa  # here, for boto3 sessions are not thread-safe
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="activity") as pool:
        looking, standing = pool.submit(_look_again, plan), pool.submit(_still_available, plan)
        before = ownership.read()
        standing.result()
        activity = looking.result()
    if before.top != plan.before.top:
        raise LostRace(
            f"another writer wrote version {before.top} of {ownership.name} since the checks: "
            f"{named(newest_owner(before.timeline))} owns the work. Nothing was written; see "
            "`mwaactl history`"
        )
    since = aws_now(before, ownership.lead) + plan.lead
    decision = _decide(plan, before, activity, since)
    if decision.timeline is None:
        return _leave(plan, decision)
    description = _description(plan, decision, reason)
    after = ownership.write(before, decision.timeline, description, since)
    _write_active(plan, after)
    version = before.top + 1
    return _result(
        plan,
        decision,
        changed=True,
        version=version,
        owns_from=_begin(after.timeline, version, decision),
        notes=_notes(after, version, decision),
    )


def _leave(plan: SwitchPlan, decision: _Decision) -> SwitchResult:
    """Decide nothing, but complete what an earlier command left undone."""
    after = plan.deployment.ownership.uncover(plan.before)
    _write_active(plan, after)
    owns_from = _owned_since(plan, decision)
    return _result(plan, decision, changed=False, version=after.reading.version, owns_from=owns_from)


def _write_active(plan: SwitchPlan, snapshot: Snapshot) -> None:
    if not plan.dags:  # the parameter names the owner of all work
        write_active(plan.deployment, snapshot)


def _look_again(plan: SwitchPlan) -> Activity | None:
    """The source's activity just before the write: minutes may have passed since the checks.

    Afterwards nothing is asked: there is no time between the decision and its write.
    """
    if plan.watch is None or SERIAL_CHECK in plan.forced:
        return None
    try:
        timeline, soon = plan.before.timeline, aws_now(plan.before, plan.lead) + plan.lead + held_dags.SOON
        moving = partial(plan.candidates, timeline, since=soon)
        return plan.watch.ready(timeline, plan.source, moving, soon)
    except Unreachable as error:
        raise CheckFailed(
            f"nothing was written: {plan.source} no longer reports which DAGs are busy, or {plan.target} "
            f"does not answer ({error}). If nothing runs on {plan.source}, repeat the command with --force "
            f"{SERIAL_CHECK}"
        ) from error


def _still_available(plan: SwitchPlan) -> None:
    """Raise CheckFailed if an update of the target has begun since the checks: a rollout's, or Amazon's."""
    try:
        status = status_against(plan.deployment, plan.target, plan.forced)
    except Unreachable as error:
        raise CheckFailed(f"nothing was written: {error}") from error
    if status is not None:
        name = plan.deployment.stack.require(plan.target).name
        raise CheckFailed(
            f"nothing was written: since the checks, {name} has become {status}. Wait until it is AVAILABLE"
        )


def _decide(plan: SwitchPlan, before: Snapshot, activity: Activity | None, since: datetime) -> _Decision:
    """The decision about all DAGs, or about those of `plan.moving`; busy serial DAGs stay."""
    timeline, version = before.timeline, before.top + 1
    if plan.continues:  # not before the switch itself takes effect
        since = max(since, timeline.owners[-1].since)
    held: tuple[HeldDag, ...] = ()
    if activity is not None and plan.watch is not None and SERIAL_CHECK not in plan.forced:
        candidates = plan.candidates(timeline, activity, since)
        kept = held_dags.held_by_switch(timeline)
        held = plan.watch.held(activity, candidates, since + held_dags.MARGIN, kept=kept)
    stay = {dag.dag_id for dag in held}
    moved = tuple(dag_id for dag_id in plan.moving if dag_id not in stay)
    decided = timeline
    if plan.dags or plan.continues:
        if moved:
            decided = decided.dags_moved(moved, plan.target, since, version)
    else:
        known = None if plan.known is None else plan.known | set(activity.dags if activity else ())
        decided = decided.switched(plan.target, since, version, known=known)
        if stay:
            decided = decided.dags_moved(stay, plan.source, since, version)
    return _Decision(None if decided is timeline else decided, since, moved, held)


def _description(plan: SwitchPlan, decision: _Decision, reason: str) -> str:
    # No check fails for what is held, but forcing these moves it.
    overridden = {SERIAL_CHECK, held_dags.CROSS_DAG} & plan.forced
    forced = ", ".join(sorted({check.name for check in plan.checks if check.forced} | overridden))
    return (
        f"mwaactl {'rollback to' if plan.rollback else 'switch'} {plan.target}"
        + (f", only {listed(decision.moved)}" if decision.moved else "")
        + (f" [forced: {forced}]" if forced else "")
        + (f": {reason}" if reason else "")
    )


def _begin(timeline: Timeline, version: int, decision: _Decision) -> datetime | None:
    """When the decision of `version` takes effect; None if another writer has replaced it."""
    entries = timeline.dags.get(decision.moved[0], ()) if decision.moved else timeline.owners
    return next((entry.since for entry in entries if entry.version == version), None)


def _owned_since(plan: SwitchPlan, decision: _Decision) -> datetime | None:
    """The instant from which the target owns, or will own, the work to move."""
    held = {dag.dag_id for dag in decision.held}
    alone = [dag_id for dag_id in plan.dags if dag_id not in held]
    turns = [turn(plan.before.timeline, plan.now, dag_id) for dag_id in alone or (None,)]
    begins = [line.since if line.owner == plan.target else line.next_since for line in turns]
    return max((begin for begin in begins if begin is not None), default=None)


def _notes(after: Snapshot, version: int, decision: _Decision) -> tuple[str, ...]:
    """The notes on a write, for the operator."""
    notes: tuple[str, ...] = ()
    timeline, dag_id = after.timeline, next(iter(decision.moved), None)
    begin = _begin(timeline, version, decision)
    if max(line[-1].version for line in (timeline.owners, *timeline.dags.values())) > version:
        notes += (
            f"another writer has made a newer decision: {named(newest_owner(timeline, dag_id))} owns the "
            f"work next (version {after.reading.version})",
        )
    if begin and decision.since and begin > decision.since + held_dags.MARGIN:
        late = (begin - decision.since).total_seconds()
        notes += (
            f"the write arrived {late:.1f} s late: a serial DAG with a run due in the meantime may overlap "
            "itself once",
        )
    return notes


def _result(
    plan: SwitchPlan,
    decision: _Decision,
    *,
    changed: bool,
    version: int,
    dry_run: bool = False,
    owns_from: datetime | None = None,
    notes: tuple[str, ...] = (),
) -> SwitchResult:
    return SwitchResult(
        target=plan.target,
        dags=plan.dags,
        moved=decision.moved,
        held=decision.held,
        rollback=plan.rollback,
        previous=plan.current.owner,
        changed=changed,
        dry_run=dry_run,
        owns_from=owns_from,
        version=version,
        lead_seconds=plan.lead.total_seconds(),
        checks=plan.checks,
        forced=tuple(sorted(plan.forced)),
        hold=plan.hold,
        notes=(*plan.notes, *notes),
    )
