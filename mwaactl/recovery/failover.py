"""The emergency: take the work from an environment that may be dead, together with what was due lately.

made = plan(deployment, "green", since=now - timedelta(minutes=15))
done = carry_out(made, fence=True)

What of it the old side had completed is known only if it, or the lineage log, can still say so. All else is
executed on the target: at least once, not exactly once.

Each step can be repeated, so a command that was interrupted goes on when it is repeated:

1. the target owns what is due from now + lead on (a switch like any other);
2. the decision is written once more with an earlier instant. Readers hold the newest version's decisions back
   to its arrival, so that one write alone would change nothing that is past;
3. with `fence`, the old side's execution role is denied everything;
4. wait until no process can still judge by what it read before;
5. on the target, the mirrors of what is known as completed are made true, and the rest is cleared in the
   order of the due instants. A note tells what was cleared already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bluegreen.settings import Settings
from bluegreen.timeline import Colour, latest_valid, other_colour

from mwaactl import clock
from mwaactl.airflow.client import AirflowApi
from mwaactl.checks.fenced import is_fenced, judge
from mwaactl.checks.outcome import Check, listed
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable, UsageError
from mwaactl.json_model import Instant, Model, iso
from mwaactl.ownership.parameter import Ownership, Snapshot, aws_now
from mwaactl.ownership.reading import newest_owner
from mwaactl.recovery import rerun
from mwaactl.recovery.completed_by_lineage import LineageLog
from mwaactl.recovery.completed_runs import DueRun, OldSide, WindowReport, Witness, report_window
from mwaactl.recovery.fence import fence
from mwaactl.switching.active_parameter import write_active
from mwaactl.switching.mirrors import MirrorResult, UncopiedRun, copy_final_states

MAX_AGE = Settings.max_age  # what the program sets as bluegreen.max_age_seconds
DEFAULT_SINCE = timedelta(minutes=15)
TICK = 1.0  # seconds between two looks of the countdown
CHECKS = ("target-api", "fenced")
_DESCRIBED = re.compile(r"^mwaactl failover to (blue|green), since (\S+?Z)")


@dataclass(frozen=True)
class FailoverPlan:
    """What a failover would do, from one look at the stack."""

    deployment: Deployment
    before: Snapshot
    target: Colour
    source: Colour
    lead: timedelta
    since: datetime
    until: datetime | None  # the end of the window; None: the switch is not written yet
    now: datetime
    witnesses: Sequence[Witness]
    look: WindowReport | None  # None: the target does not answer
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return not any(check.stops for check in self.checks)


class FailoverResult(Model):
    """What a failover did (or, in a dry run, would do)."""

    target: Colour
    since: Instant
    until: Instant | None  # runs due in [since, until) were the old side's
    dry_run: bool = False
    version: int
    fenced: bool
    waited: bool  # until no process judges by what it read before
    look: WindowReport | None
    again: tuple[DueRun, ...]  # cleared now
    mirrored: MirrorResult | None
    left: tuple[UncopiedRun, ...]
    unknown: bool  # whether the old side may have completed runs that are executed again
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


def plan(
    deployment: Deployment,
    target: Colour,
    *,
    since: datetime | None = None,
    force: Collection[str] = (),
    witnesses: Sequence[Witness] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FailoverPlan:
    """Look at the ownership, the target and what was due lately; nothing is written.

    `since` None: where an interrupted failover to this target wanted to begin, else 15 minutes ago.
    `witnesses` None: the lineage log and the old side's REST API. `progress` is told how many events of the
    log are read, of how many. Raises UsageError (no such environment, check or past instant).
    """
    if unknown := sorted(set(force) - set(CHECKS)):
        raise UsageError(
            f"--force: failover has no check called {', '.join(unknown)}. Its checks: {', '.join(CHECKS)}"
        )
    environment = deployment.stack.require(target)
    source: Colour = other_colour(target)
    deployment.stack.require(source)
    ownership = deployment.ownership
    before = ownership.read()
    now = aws_now(before, ownership.lead)
    begun = _begun(ownership, before, target)
    if since is None:
        since = begun.since if begun and begun.since else now - DEFAULT_SINCE
    # As the history tells it: an instant a little earlier would be another decision when it is repeated.
    since = since.replace(microsecond=since.microsecond // 1000 * 1000)
    if since > now:
        raise UsageError(f"--since {iso(since)} is not past")
    until = begun.until if begun else None
    if witnesses is None:
        # In this order: what is completed in between is known to the second.
        log = LineageLog(deployment, source, progress)
        witnesses = (log, OldSide(deployment.airflow(source)))
    there = deployment.airflow(target)
    look: WindowReport | None = None
    try:
        look = report_window(there, witnesses, since, until or now)
        answers = Check(name="target-api", result="pass", detail=f"{environment.name} answers")
    except Unreachable as error:
        answers = Check(name="target-api", result="fail", detail=str(error), forced="target-api" in force)
    return FailoverPlan(
        deployment=deployment,
        before=before,
        target=target,
        source=source,
        lead=ownership.lead,
        since=since,
        until=until,
        now=now,
        witnesses=witnesses,
        look=look,
        checks=(answers, _fenced(deployment, target, force)),
    )


def dry_run(made: FailoverPlan) -> FailoverResult:
    """What `carry_out` would do."""
    again = made.look.having("again") if made.look else ()
    return _report(made, made.before, made.until, dry_run=True, look=made.look, again=again)


def carry_out(
    made: FailoverPlan,
    *,
    with_fence: bool = False,
    wait: bool = True,
    reason: str = "",
    on_wait: Callable[[float], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FailoverResult:
    """Do all steps that are not done yet.

    `wait` False: do not wait for processes that judge by what they read before; what they skip meanwhile on
    the target is lost until an audit, what they start on the old side is doubled. `on_wait` is called about
    every second with the seconds that remain.

    Raises CheckFailed (nothing written), LostRace, Unfinished, Unreachable: repeat the command.
    """
    if not made.ok:
        failed = ", ".join(check.name for check in made.checks if check.stops)
        raise CheckFailed(f"nothing was written: {failed} failed. Put it right, or add --force CHECK")
    snapshot, until = _switch(made, reason)
    snapshot = _back_date(made, snapshot, reason)
    write_active(made.deployment, snapshot)
    if with_fence:
        try:
            fence(made.deployment.clients, made.deployment.stack.require(made.source))
        except Unreachable as error:
            raise Unfinished(
                f"{made.target} owns what is due from {iso(made.since)} on, but nothing was executed again: "
                f"{error}. Repeat the command; without --fence it goes on without a fence"
            ) from error
    if wait:
        _wait(snapshot.reading.modified + MAX_AGE + made.lead, made, on_wait)
    there = made.deployment.airflow(made.target)
    try:
        look = report_window(there, made.witnesses, made.since, until)
        runs = {(run.dag_id, run.due): run for run in there.scheduled_runs(made.since, until)}
        paused = {dag.dag_id for dag in there.dags().values() if dag.paused}
    except Unreachable as error:
        raise Unfinished(
            f"{made.target} owns what is due from {iso(made.since)} on, but what was due before {iso(until)} "
            f"was not executed again: {error}. Repeat the command, it goes on from there"
        ) from error
    mirrored = _make_true(made, there, look, until)
    again: list[DueRun] = []
    left: list[UncopiedRun] = list(mirrored.left) if mirrored else []
    chosen = look.having("again")
    for count, one in enumerate(chosen, 1):
        try:
            rerun.run_again(
                there, runs[one.dag_id, one.due], made.target, f"failover since {iso(made.since)}"
            )
        except Unreachable as error:
            left.append(UncopiedRun(dag_id=one.dag_id, run_id=one.run_id, due=one.due, reason=str(error)))
        else:
            again.append(one)
        if progress is not None:
            progress(count, len(chosen))
    return _report(
        made,
        snapshot,
        until,
        fenced=with_fence,
        waited=wait,
        look=look,
        again=tuple(again),
        mirrored=mirrored,
        left=tuple(left),
        notes=_waiting(made, {one.dag_id for one in again} & paused),
    )


def _waiting(made: FailoverPlan, paused: Collection[str]) -> tuple[str, ...]:
    if not paused:
        return ()
    return (f"paused on {made.target}, so their runs wait there until you unpause them: {listed(paused)}",)


# --- the ownership ---


@dataclass(frozen=True)
class _Begun:
    """A failover to this target that was begun: the instant it was to begin at, and the switch's own."""

    since: datetime | None  # None: an ordinary switch to the target
    until: datetime


def _begun(ownership: Ownership, before: Snapshot, target: Colour) -> _Begun | None:
    """What earlier commands did to let the target own the work; None if it is not decided that it does."""
    newest = before.timeline.owners[-1]
    lines = before.timeline.dags.values()
    if newest.owner != target or any(line[-1].version >= newest.version for line in lines):
        return None
    for version in ownership.versions():
        if version.number != newest.version:
            continue
        said = _DESCRIBED.match(version.description)
        first = latest_valid([(version.value, version.number, version.modified)]).effective(ownership.lead)
        since = datetime.fromisoformat(said[2]) if said and said[1] == target else None
        return _Begun(since=since, until=first.owners[-1].since)
    return _Begun(since=None, until=newest.since)  # longer ago than the history remembers


def _switch(made: FailoverPlan, reason: str) -> tuple[Snapshot, datetime]:
    """Step 1. Returns what stands and the instant from which the target owns by it."""
    if made.until is not None:
        return made.deployment.ownership.uncover(made.before), made.until
    before = made.deployment.ownership.read()
    if before.top != made.before.top:
        raise LostRace(
            f"someone else wrote version {before.top} of {made.deployment.ownership.name} since the look: "
            f"{newest_owner(before.timeline)} owns the work. Nothing was written; see `mwaactl history`"
        )
    since, version = aws_now(before, made.lead) + made.lead, before.top + 1
    after = made.deployment.ownership.write(
        before, before.timeline.switched(made.target, since, version), _description(made, reason)
    )
    return after, after.timeline.owners[-1].since


def _back_date(made: FailoverPlan, before: Snapshot, reason: str) -> Snapshot:
    """Step 2: the target's decision again, from an earlier instant on. Nothing if it is early enough."""
    newest = before.timeline.owners[-1]
    if newest.owner != made.target:
        raise LostRace(
            f"another writer has decided since: {newest.owner} owns the work (version "
            f"{before.reading.version}); see `mwaactl history`, then repeat the command if it is still wanted"
        )
    if newest.since <= made.since:
        return before
    earlier = replace(newest, since=made.since)
    decided = replace(
        before.timeline, base_version=before.top, owners=(*before.timeline.owners[:-1], earlier)
    )
    return made.deployment.ownership.write(before, decided, _description(made, reason))


def _description(made: FailoverPlan, reason: str) -> str:
    forced = ", ".join(check.name for check in made.checks if check.forced)
    return (
        f"mwaactl failover to {made.target}, since {iso(made.since)}"
        + (f" [forced: {forced}]" if forced else "")
        + (f": {reason}" if reason else "")
    )


def _wait(until: datetime, made: FailoverPlan, on_wait: Callable[[float], None] | None) -> None:
    """Step 4, by AWS's clock."""
    while (remaining := (until - aws_now(made.before, made.lead)).total_seconds()) > 0:
        if on_wait is not None:
            on_wait(remaining)
        clock.sleep(min(remaining, TICK))


# --- the runs ---


def _make_true(
    made: FailoverPlan, there: AirflowApi, look: WindowReport, until: datetime
) -> MirrorResult | None:
    """Give the mirrors of what was completed their states; None if there are none."""
    known = {(one.dag_id, one.due) for one in look.having("completed")}
    if not known:
        return None
    old = made.deployment.airflow(made.source)
    try:
        return copy_final_states(
            old,
            there,
            source_colour=made.source,
            since=made.since,
            until=until,
            owned=lambda run: (run.dag_id, run.due) in known,
            per_dag=None,
        )
    except Unreachable as error:
        why = f"completed on {made.source}, but its states cannot be read: {error}"
        left = [
            UncopiedRun(dag_id=one.dag_id, run_id=one.run_id, due=one.due, reason=why)
            for one in look.having("completed")
        ]
        return MirrorResult(copied=0, already=0, left=tuple(left))


def _fenced(deployment: Deployment, target: Colour, force: Collection[str]) -> Check:
    environment, fenced, why_not = deployment.stack.require(target), None, ""
    try:
        fenced = is_fenced(deployment.clients, environment)
    except Unreachable as error:
        why_not = str(error)
    result, detail = judge(fenced, environment.name, target, why_not)
    return Check(name="fenced", result=result, detail=detail, forced=result == "fail" and "fenced" in force)


def _report(
    made: FailoverPlan,
    after: Snapshot,
    until: datetime | None,
    *,
    dry_run: bool = False,
    fenced: bool = False,
    waited: bool = False,
    look: WindowReport | None = None,
    again: tuple[DueRun, ...] = (),
    mirrored: MirrorResult | None = None,
    left: tuple[UncopiedRun, ...] = (),
    notes: tuple[str, ...] = (),
) -> FailoverResult:
    return FailoverResult(
        target=made.target,
        since=made.since,
        until=until,
        dry_run=dry_run,
        version=after.reading.version,
        fenced=fenced,
        waited=waited,
        look=look,
        again=again,
        mirrored=mirrored,
        left=left,
        unknown=look is None or look.unknown,
        checks=made.checks,
        notes=notes,
    )
