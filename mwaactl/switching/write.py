"""The switch as a Python API: look first (`plan`), then write (`carry_out`). Nothing here prints or asks.

    deployment = Deployment.open("fullha")
    switch = plan(deployment, "green")
    if switch.ok:
        carry_out(switch, reason="upgrade of blue")
        wait_until_drained(deployment, "green", timeout=3600)  # mwaactl.switching.drain

`plan(..., dags=["daily"])` moves single DAGs by decisions of their own, `plan_rollback` all of them back.
Serial DAGs move only while they are idle (`mwaactl.switching.serial`): `SwitchResult.held` names those that
were busy, and the same plan made again moves them later.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from bluegreen.timeline import Colour, Timeline

from mwaactl.checks.outcome import Check, listed
from mwaactl.checks.serial import CHECK as SERIAL_CHECK
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import Snapshot, aws_now
from mwaactl.ownership.reading import newest_owner, turn
from mwaactl.switching import serial
from mwaactl.switching.active_parameter import write_active
from mwaactl.switching.plan import SwitchPlan, plan, plan_rollback
from mwaactl.switching.serial import Activity, HeldDag

__all__ = ["SwitchPlan", "SwitchResult", "aws_now", "carry_out", "dry_run", "plan", "plan_rollback"]


class SwitchResult(Model):
    """What a switch did (or, in a dry run, would do)."""

    target: Colour
    dags: tuple[str, ...] = ()  # the DAGs that moved alone (or were there already); none: all
    moved: tuple[str, ...] = ()  # the DAGs that moved by decisions of their own
    held: tuple[HeldDag, ...] = ()  # the DAGs that stay on the other side until they are idle
    rollback: bool = False
    previous: Colour
    changed: bool
    dry_run: bool = False
    owns_from: Instant | None  # the instant from which the target owns; None in a dry run
    version: int  # of the ownership parameter
    lead_seconds: float
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


def dry_run(made: SwitchPlan) -> SwitchResult:
    """What `carry_out` would do. UsageError if the parameter has no room for it."""
    since = made.now + made.lead
    choice = _choose(made, made.before, made.seen if made.ok else None, since)
    if choice.decided is not None:
        made.deployment.ownership.value(made.before, choice.decided)
    return _report(made, made.before, choice, changed=choice.decided is not None, dry_run=True)


def carry_out(made: SwitchPlan, *, reason: str = "") -> SwitchResult:
    """Write the decision, then (if all work moves) the plain parameter. Nothing if the target owns already,
    or if all that is left to move is busy.

    Raises CheckFailed (nothing written; also if the side that the work leaves answers no more), LostRace
    (also if someone wrote since the plan was made), Unfinished, Unreachable, UsageError (too many DAGs with
    decisions of their own; nothing written).
    """
    try:
        return _carry_out(made, reason)
    except (LostRace, Unfinished) as error:
        if not made.rollback:
            raise
        raise type(error)(
            f"{error}. To repeat this rollback say `mwaactl switch {made.target} -s {made.deployment.name}`: "
            "another rollback may lead forward again"
        ) from error


def _carry_out(made: SwitchPlan, reason: str) -> SwitchResult:
    if not made.ok:
        failed = ", ".join(check.name for check in made.checks if check.stops)
        raise CheckFailed(f"nothing was written: {failed} failed. Put it right, or add --force CHECK")
    if made.already:
        return _unchanged(made, _Choice())
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="look") as pool:
        now_seen = pool.submit(_look_again, made)
        before = made.deployment.ownership.read()
        seen = now_seen.result()
    if before.top != made.before.top:
        raise LostRace(
            f"someone else wrote version {before.top} of {made.deployment.ownership.name} since the checks: "
            f"{newest_owner(before.timeline)} owns the work. Nothing was written; see `mwaactl history`"
        )
    since = aws_now(before, made.deployment.ownership.lead) + made.lead
    choice = _choose(made, before, seen, since)
    if choice.decided is None:
        return _unchanged(made, choice)
    after = made.deployment.ownership.write(before, choice.decided, _description(made, choice, reason), since)
    if not made.dags:  # it is about the work of all DAGs
        write_active(made.deployment, after)
    return _report(made, after, choice, changed=True, version=before.top + 1)


def _unchanged(made: SwitchPlan, choice: _Choice) -> SwitchResult:
    after = made.deployment.ownership.uncover(made.before)
    if not made.dags:  # it is about the work of all DAGs
        write_active(made.deployment, after)
    return _report(made, after, choice, changed=False)


@dataclass(frozen=True)
class _Choice:
    """What is written: None if nothing is left to decide now."""

    decided: Timeline | None = None
    since: datetime | None = None
    moved: tuple[str, ...] = ()
    held: tuple[HeldDag, ...] = ()


def _look_again(made: SwitchPlan) -> Activity | None:
    """The side that the work leaves, just before the write: minutes may have passed since the checks."""
    if made.watch is None or SERIAL_CHECK in made.forced:
        return None
    try:
        seen = made.watch.look()
        # Ask about the tasks of those that matter now: between the decision and its write there is no time.
        soon = aws_now(made.before, made.lead) + made.lead + serial.SOON
        made.watch.held(seen, made.candidates(made.before.timeline, seen, soon), soon)
        return seen
    except Unreachable as error:
        raise CheckFailed(
            f"nothing was written: {made.source} cannot be asked any more which DAGs are busy ({error}). If "
            f"nothing runs there, repeat the command with --force {SERIAL_CHECK}"
        ) from error


def _choose(made: SwitchPlan, before: Snapshot, seen: Activity | None, since: datetime) -> _Choice:
    """The decision about all DAGs, or about those of `made.moving`; serial ones that are busy stay."""
    timeline, version = before.timeline, before.top + 1
    if made.continues:  # none of them goes ahead of the others
        since = max(since, timeline.owners[-1].since)
    held: tuple[HeldDag, ...] = ()
    if seen is not None and made.watch is not None and SERIAL_CHECK not in made.forced:
        candidates = made.candidates(timeline, seen, since)
        held = made.watch.held(seen, candidates, since + serial.MARGIN)
    stay = {one.dag_id for one in held}
    decided, moved = timeline, tuple(dag_id for dag_id in made.moving if dag_id not in stay)
    if made.dags or made.continues:
        for dag_id in moved:
            decided = decided.dag_moved(dag_id, made.target, since, version)
    else:
        decided = decided.switched(made.target, since, version)
        for dag_id in stay:
            decided = decided.dag_moved(dag_id, made.source, since, version)
    return _Choice(None if decided is timeline else decided, since, moved, held)


def _description(made: SwitchPlan, choice: _Choice, reason: str) -> str:
    # A serial DAG that is busy makes no check fail, but forcing that check moves it.
    overridden = {SERIAL_CHECK} & made.forced
    forced = ", ".join(c.name for c in made.checks if c.forced or c.name in overridden)
    return (
        f"mwaactl {'rollback to' if made.rollback else 'switch'} {made.target}"
        + (f", only {listed(choice.moved)}" if choice.moved else "")
        + (f" [forced: {forced}]" if forced else "")
        + (f": {reason}" if reason else "")
    )


def _report(
    made: SwitchPlan,
    after: Snapshot,
    choice: _Choice,
    *,
    changed: bool,
    dry_run: bool = False,
    version: int | None = None,
) -> SwitchResult:
    notes, owns_from = made.notes, None
    if version is not None:
        timeline, dag_id = after.timeline, next(iter(choice.moved), None)
        entries = timeline.owners if dag_id is None else timeline.dags.get(dag_id, ())
        owns_from = next((entry.since for entry in entries if entry.version == version), None)
        if max(line[-1].version for line in (timeline.owners, *timeline.dags.values())) > version:
            notes += (
                f"another writer has decided since: {newest_owner(timeline, dag_id)} owns the work next "
                f"(version {after.reading.version})",
            )
        if owns_from and choice.since and owns_from > choice.since + serial.MARGIN:
            notes += (
                f"the write arrived {(owns_from - choice.since).total_seconds():.1f} s later than planned: a "
                f"DAG that must not overlap itself may do so once if it had a run due in that time",
            )
    elif not changed:
        alone = [dag_id for dag_id in made.dags if dag_id not in {one.dag_id for one in choice.held}]
        turns = [turn(made.before.timeline, made.now, dag_id) for dag_id in alone or (None,)]
        begins = [one.since if one.owner == made.target else one.next_since for one in turns]
        owns_from = max((begin for begin in begins if begin is not None), default=None)
    return SwitchResult(
        target=made.target,
        dags=made.dags,
        moved=choice.moved,
        held=choice.held,
        rollback=made.rollback,
        previous=made.current.owner,
        changed=changed,
        dry_run=dry_run,
        owns_from=owns_from,
        version=after.reading.version if version is None else version,
        lead_seconds=made.lead.total_seconds(),
        checks=made.checks,
        notes=notes,
    )
