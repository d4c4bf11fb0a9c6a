"""The failover: take the work, and what was due recently, from an environment that may be dead.

    failover = plan_failover(deployment, "green", since=now - timedelta(minutes=15))
    result = carry_out_failover(failover, with_fence=True)

Which of these runs the old side completed is known only if that side or the lineage log can still report it.
Everything else is executed on the target: at least once, not exactly once.

Each step can be repeated, so the same command continues one that was interrupted:

1. the target owns what is due from now + lead on (a switch like any other);
2. the same decision is written again with an earlier instant. Readers apply a decision of the newest
   version no earlier than its arrival, so a single write would not change the past. By its books the old
   side has then done with everything due before: if it comes back, it does not go on with that;
3. with `with_fence`, the old side's execution role is denied everything;
4. wait until no process acts on an older ownership that it has cached;
5. on the target (`take_over`), the mirrors of runs known as completed receive their final states; what was at
   work on the old side, whenever it was due, and the other runs are executed again, in the order of their due
   instants. A note records which runs have been cleared or created;
6. the old side's books are closed. If it still answers, what it had not created is the target's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bluegreen.document import latest_valid
from bluegreen.settings import MAX_AGE
from bluegreen.timeline import Colour, Timeline, other_colour

from mwaactl import clock
from mwaactl.airflow.models import Run
from mwaactl.airflow.rerun import Progress
from mwaactl.checks.fenced import is_fenced, judge
from mwaactl.checks.outcome import Check, checks_failed, counted
from mwaactl.deployment import Deployment
from mwaactl.errors import LostRace, Unfinished, Unreachable, UsageError
from mwaactl.json_model import Instant, Model, iso
from mwaactl.ownership.parameter import Ownership, Snapshot, aws_now
from mwaactl.ownership.reading import newest_owner
from mwaactl.recovery.at_work import AtWork, AtWorkReport
from mwaactl.recovery.completed_by_lineage import LineageLog
from mwaactl.recovery.completed_runs import DueRun, RestApiWitness, WindowReport, Witness
from mwaactl.recovery.failover_description import FailoverDescription
from mwaactl.recovery.fence import fence
from mwaactl.recovery.take_over import Taken, TakeOver
from mwaactl.switching.active_parameter import write_active
from mwaactl.switching.books import Books, not_created
from mwaactl.switching.known import known_dags
from mwaactl.switching.mirrors import MirrorResult, UncopiedRun

DEFAULT_SINCE = timedelta(minutes=15)
LOOK_BACK = timedelta(hours=24)  # before `since`: what was at work then may still have been when it failed
TICK = 1.0  # seconds between two updates of the countdown
CHECKS = ("target-api", "fenced")


@dataclass(frozen=True)
class FailoverPlan:
    """What a failover would do, from one observation of the stack."""

    deployment: Deployment
    before: Snapshot
    target: Colour
    since: datetime
    until: datetime | None  # the end of the window; None: the switch has yet to be written
    witnesses: Sequence[Witness]
    look_back: timedelta  # before `since`: in that time, the lineage log shows what was at work
    window: WindowReport | None  # None: the target does not answer
    at_work: AtWorkReport | None
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return not any(check.stops for check in self.checks)

    @property
    def source(self) -> Colour:
        """The side that loses the work."""
        return other_colour(self.target)

    @property
    def lead(self) -> timedelta:
        return self.deployment.ownership.lead


class FailoverResult(Model):
    """What a failover did (or, in a dry run, would do)."""

    target: Colour
    since: Instant
    until: Instant | None  # the old side owned the runs due in [since, until)
    dry_run: bool = False
    version: int
    fenced: bool = False
    waited: bool = False  # until no process acts on an older ownership
    window: WindowReport | None
    at_work: AtWorkReport | None  # what the old side had at work beside the window
    rerun: tuple[DueRun, ...]  # cleared by this command
    rerun_at_work: tuple[AtWork, ...] = ()  # cleared or created by this command
    mirrored: MirrorResult | None = None
    left: tuple[UncopiedRun, ...] = ()
    completion_uncertain: bool  # whether the old side may have completed runs that are rerun
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()


# --- the plan ---


def plan_failover(
    deployment: Deployment,
    target: Colour,
    *,
    since: datetime | None = None,
    force: Collection[str] = (),
    witnesses: Sequence[Witness] | None = None,
    look_back: timedelta = LOOK_BACK,
    progress: Progress | None = None,
) -> FailoverPlan:
    """Read the ownership, the target, what was due recently and what was at work; nothing is written.

    `since` None: that of an interrupted failover to this target, else 15 minutes ago. `witnesses` None: the
    lineage log and the old side's REST API. `progress` follows the reading of the log. Raises UsageError (no
    such environment or check, or `since` is in the future).
    """
    if unknown := sorted(set(force) - set(CHECKS)):
        raise UsageError(
            f"--force: failover has no check {', '.join(unknown)}. Its checks are {', '.join(CHECKS)}"
        )
    source = other_colour(target)
    for colour in (target, source):
        deployment.stack.require(colour)
    before = deployment.ownership.read()
    now = aws_now(before, deployment.ownership.lead)
    earlier = _earlier_switch(deployment.ownership, before, target)
    since = _begin(since, earlier, now, before.timeline)
    until = earlier.until if earlier else None
    if witnesses is None:
        # In this order: the REST API also reports what is completed while the log is read.
        log = LineageLog(deployment, source, progress)
        witnesses = (log, RestApiWitness(deployment.airflow(source)))
    plan = FailoverPlan(
        deployment=deployment,
        before=before,
        target=target,
        since=since,
        until=until,
        witnesses=witnesses,
        look_back=look_back,
        window=None,
        at_work=None,
        checks=(),
    )
    window, at_work, answers = _preview(plan, until or now, force)
    checks = (answers, _fenced(deployment, target, force))
    return replace(plan, window=window, at_work=at_work, checks=checks)


@dataclass(frozen=True)
class _EarlierSwitch:
    """A switch of all work to the target that has already been written."""

    since: datetime | None  # the failover's `since`; None: an ordinary switch
    until: datetime  # from then on the target owns the work, even without back-dating


def _earlier_switch(ownership: Ownership, before: Snapshot, target: Colour) -> _EarlierSwitch | None:
    """The switch that gave all work to the target; None if no decision did."""
    newest = before.timeline.owners[-1]
    lines = before.timeline.dags.values()
    if newest.owner != target or any(line[-1].version >= newest.version for line in lines):
        return None
    version = next((version for version in ownership.versions() if version.number == newest.version), None)
    if version is None:  # older than SSM's history
        return _EarlierSwitch(since=None, until=newest.since)
    description = FailoverDescription.parse(version.description)
    first = latest_valid([(version.value, version.number, version.modified)], ownership.fetch).effective()
    return _EarlierSwitch(
        since=description.since if description and description.target == target else None,
        until=first.owners[-1].since,
    )


def _begin(
    since: datetime | None, earlier: _EarlierSwitch | None, now: datetime, timeline: Timeline
) -> datetime:
    """The begin of the window; UsageError if it is in the future, or before what the timeline remembers."""
    if since is None:
        since = earlier.since if earlier and earlier.since else now - DEFAULT_SINCE
    # To the millisecond, as the history records it: otherwise a repeated command would decide again.
    since = since.replace(microsecond=since.microsecond // 1000 * 1000)
    if since > now:
        raise UsageError(f"--since {iso(since)} is in the future")
    if since < (remembered := timeline.owners[0].since):
        raise UsageError(
            f"--since {iso(since)}: nobody knows any more who owned what was due before {iso(remembered)}. "
            f"Fail over with --since {iso(remembered)}, and clear what is older by hand"
        )
    return since


def _preview(
    failover: FailoverPlan, until: datetime, force: Collection[str]
) -> tuple[WindowReport | None, AtWorkReport | None, Check]:
    """The fates of the runs, and the check that the target answers."""
    try:
        window, unfinished = _take_over(failover, until).look()
    except Unreachable as error:
        forced = "target-api" in force
        return None, None, Check(name="target-api", result="fail", detail=str(error), forced=forced)
    name = failover.deployment.stack.require(failover.target).name
    return window, unfinished.report, Check(name="target-api", result="pass", detail=f"{name} answers")


def _take_over(failover: FailoverPlan, until: datetime) -> TakeOver:
    deployment, timeline = failover.deployment, failover.before.timeline

    def owned(run: Run) -> bool:
        return run.due is not None and timeline.owner(run.due, run.dag_id) == failover.source

    return TakeOver(
        source_api=deployment.airflow(failover.source),
        target_api=deployment.airflow(failover.target),
        target=failover.target,
        witnesses=failover.witnesses,
        since=failover.since,
        until=until,
        at_work_since=failover.since - failover.look_back,
        owned=owned,
    )


def _fenced(deployment: Deployment, target: Colour, force: Collection[str]) -> Check:
    environment, fenced, why_not = deployment.stack.require(target), None, ""
    try:
        fenced = is_fenced(deployment.clients, environment)
    except Unreachable as error:
        why_not = str(error)
    result, detail = judge(fenced, environment.name, target, why_not)
    return Check(name="fenced", result=result, detail=detail, forced=result == "fail" and "fenced" in force)


# --- carrying it out ---


def dry_run_failover(failover: FailoverPlan) -> FailoverResult:
    """What `carry_out_failover` would do."""
    window = failover.window
    return FailoverResult(
        target=failover.target,
        since=failover.since,
        until=failover.until,
        dry_run=True,
        version=failover.before.reading.version,
        window=window,
        at_work=failover.at_work,
        rerun=window.having("rerun") if window else (),
        rerun_at_work=failover.at_work.having("rerun") if failover.at_work else (),
        completion_uncertain=window is None or window.completion_uncertain,
        checks=failover.checks,
    )


def carry_out_failover(
    failover: FailoverPlan,
    *,
    with_fence: bool = False,
    wait: bool = True,
    reason: str = "",
    on_wait: Callable[[float], None] | None = None,
    progress: Progress | None = None,
) -> FailoverResult:
    """Carry out the steps that have not been carried out yet.

    `wait` False: do not wait for processes that still act on an older ownership. What they skip on the target
    is not executed unless an audit backfills it; what they start on the old side is executed twice.
    `on_wait` is called about every second with the seconds that remain.

    Raises CheckFailed (nothing written), LostRace, Unfinished, Unreachable: repeat the command.
    """
    if error := checks_failed(failover.checks):
        raise error
    snapshot, until = _switch(failover, reason)
    snapshot = _back_date(failover, snapshot, reason)
    write_active(failover.deployment, snapshot)
    if with_fence:
        _fence_source(failover)
    if wait and not snapshot.timeline.owners[-1].closed:  # else an earlier command came to the end
        _wait(failover, snapshot.reading.modified + MAX_AGE + failover.lead, on_wait)
    taken = _carry_on(failover, until, progress)
    notes = (*taken.notes, *_close_books(failover))
    return FailoverResult(
        target=failover.target,
        since=failover.since,
        until=until,
        version=snapshot.reading.version,
        fenced=with_fence,
        waited=wait,
        window=taken.window,
        at_work=taken.unfinished.report,
        rerun=taken.rerun,
        rerun_at_work=taken.rerun_at_work,
        mirrored=taken.mirrored,
        left=taken.left,
        completion_uncertain=taken.window.completion_uncertain,
        checks=failover.checks,
        notes=notes,
    )


def _close_books(failover: FailoverPlan) -> Iterator[str]:
    """The last step: the old side may be replaced, and the target executes what that had not created."""
    ownership, source = failover.deployment.ownership, failover.source
    try:
        before = ownership.read()
        if before.timeline.newest().owner != failover.target:
            return
        if before.timeline.open_books(source):
            left = _left(failover, before.timeline)
            closed = before.timeline.with_books(source, left, before.top + 1, closed=True)
            before = ownership.write(before, closed, f"mwaactl: {source}'s books are closed by the failover")
        books = Books(ownership, failover.target)
        api = failover.deployment.airflow(failover.target)
        if executed := books.execute_left(before.timeline, api):
            yield f"{source} had not created {counted(executed, 'run')} due earlier: {failover.target} does"
    except (LostRace, Unfinished, Unreachable) as error:
        yield f"{source}'s books are still open, so pulumi up would not touch it: {error}. Repeat the command"


def _left(failover: FailoverPlan, timeline: Timeline) -> Mapping[str, datetime]:
    """What the old side had not created, if it can still be asked, or a drain that had begun has noted it."""
    try:
        return not_created(failover.deployment.airflow(failover.source).dags())
    except Unreachable:
        return timeline.owners[-1].left or {}


def _switch(failover: FailoverPlan, reason: str) -> tuple[Snapshot, datetime]:
    """Step 1. Return the ownership and the instant from which the target owns by this switch."""
    ownership = failover.deployment.ownership
    if failover.until is not None:
        return ownership.uncover(failover.before), failover.until
    apis = failover.deployment.airflows
    # Also what only the old side has: the target would execute all of its past once it can import it.
    known = known_dags(apis[failover.target], apis[failover.source])
    before = ownership.read()
    if before.top != failover.before.top:
        raise LostRace(
            f"another writer wrote version {before.top} of {ownership.name} in the meantime: "
            f"{newest_owner(before.timeline)} owns the work. Nothing was written; see `mwaactl history`"
        )
    since, version = aws_now(before, failover.lead) + failover.lead, before.top + 1
    switched = before.timeline.switched(failover.target, since, version, known=known)
    after = ownership.write(before, switched, _description(failover, reason))
    return after, after.timeline.owners[-1].since


def _back_date(failover: FailoverPlan, before: Snapshot, reason: str) -> Snapshot:
    """Step 2: write the target's decision again with an earlier instant, unless it is early enough, and so
    that the old side has done with what was due before: it does not go on with it when it comes back."""
    newest = before.timeline.owners[-1]
    if newest.owner != failover.target:
        raise LostRace(
            f"another writer made a decision in the meantime: {newest.owner} owns the work (version "
            f"{before.reading.version}). See `mwaactl history`, then repeat the command if you still want it"
        )
    timeline, source = before.timeline, failover.source
    if newest.since <= failover.since and all(book.entry.left is not None for book in timeline.books(source)):
        return before
    dated = replace(newest, since=min(newest.since, failover.since), left=None, closed=False)
    timeline = replace(timeline, owners=(*timeline.owners[:-1], dated))
    taken = timeline.with_books(source, newest.left or {}, before.top + 1, closed=False)
    return failover.deployment.ownership.write(before, taken, _description(failover, reason))


def _description(failover: FailoverPlan, reason: str) -> str:
    forced = tuple(check.name for check in failover.checks if check.forced)
    return FailoverDescription(failover.target, failover.since, forced, reason).text()


def _fence_source(failover: FailoverPlan) -> None:
    """Step 3: fence the source."""
    deployment = failover.deployment
    try:
        fence(deployment.clients, deployment.stack.require(failover.source))
    except Unreachable as error:
        raise Unfinished(
            f"{failover.target} owns what is due from {iso(failover.since)} on, but nothing has been rerun "
            f"yet: {error}. Repeat the command; without --fence it continues without a fence"
        ) from error


def _wait(failover: FailoverPlan, until: datetime, on_wait: Callable[[float], None] | None) -> None:
    """Step 4: wait, by AWS's clock."""
    while (remaining := (until - aws_now(failover.before, failover.lead)).total_seconds()) > 0:
        if on_wait is not None:
            on_wait(remaining)
        clock.sleep(min(remaining, TICK))


def _carry_on(failover: FailoverPlan, until: datetime, progress: Progress | None) -> Taken:
    """Step 5: execute on the target what was not completed."""
    try:
        return _take_over(failover, until).carry_out(progress)
    except Unreachable as error:
        raise Unfinished(
            f"{failover.target} owns what is due from {iso(failover.since)} on, but what was due before "
            f"{iso(until)} has not been rerun yet: {error}. Repeat the command: it continues from there"
        ) from error
