"""The first half of a switch: what it would do, and whether the checks allow it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bluegreen.timeline import DAG_ID, Colour, Timeline, other_colour

from mwaactl.checks.outcome import Check, listed
from mwaactl.checks.registry import forced_checks, observe_sides, run_checks
from mwaactl.deployment import Deployment
from mwaactl.errors import UsageError
from mwaactl.ownership.parameter import Ownership, Snapshot, aws_now, too_far
from mwaactl.ownership.reading import Turn, newest_owner, previous_owner, settled, turn
from mwaactl.switching import held_dags
from mwaactl.switching.copy_settings import copy_settings
from mwaactl.switching.held_dags import CROSS_DAG, Activity, Watch
from mwaactl.switching.known import known_dags


@dataclass(frozen=True)
class SwitchPlan:
    """What a switch would do, from one observation of the stack."""

    deployment: Deployment
    before: Snapshot
    target: Colour
    lead: timedelta
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    now: datetime  # by AWS's clock
    dags: tuple[str, ...] = ()  # the DAGs to move alone; none: all move
    rollback: bool = False
    watch: Watch | None = None  # on the source; None: it does not answer, or is not needed
    activity: Activity | None = None  # of the source at the time of the checks
    forced: frozenset[str] = frozenset()
    hold: tuple[str, ...] = ()  # DAGs that move only while they are idle, because the operator says so
    known: frozenset[str] | None = None  # the DAGs that exist, or did; None: neither side reports them

    @property
    def already(self) -> bool:
        """Whether the target owns all work (that of `dags`), or will by a decision."""
        return settled(self.before.timeline, self.target, self.dags)

    @property
    def continues(self) -> bool:
        """Whether the target already owns the common line, so that only DAGs with own lines are left."""
        return not self.dags and newest_owner(self.before.timeline) == self.target

    @property
    def moving(self) -> tuple[str, ...]:
        """The DAGs to move by decisions of their own: those of `dags`, or with own lines, not yet moved."""
        timeline = self.before.timeline
        concerned = tuple(sorted(timeline.dags)) if self.continues else self.dags
        return tuple(dag for dag in concerned if newest_owner(timeline, dag) != self.target)

    @property
    def source(self) -> Colour:
        return other_colour(self.target)

    @property
    def ok(self) -> bool:
        return not any(check.stops for check in self.checks)

    @property
    def dag_id(self) -> str | None:
        """One of the DAGs that move alone, to stand for all of them; None if all DAGs move."""
        return next(iter(self.moving or self.dags), None)

    @property
    def current(self) -> Turn:
        return turn(self.before.timeline, self.now, self.dag_id)

    def candidates(self, timeline: Timeline, activity: Activity, since: datetime) -> list[str]:
        """The DAGs that would change sides at `since`: those that the source owns until then."""
        concerned = self.moving if self.dags or self.continues else activity.dags
        return [dag_id for dag_id in concerned if timeline.owner(since, dag_id) == self.source]


def plan(
    deployment: Deployment,
    target: Colour,
    *,
    dags: Iterable[str] | None = None,
    lead: float | None = None,
    force: Collection[str] = (),
    hold: Iterable[str] = (),
    sync: bool = False,
) -> SwitchPlan:
    """Read the ownership and run the checks; the ownership does not change.

    `dags` are the DAGs to move alone; None: all move, or, if the target already owns the common line, those
    that differ from it. `lead` is in seconds, at least (and by default) the stack's switch_lead_seconds.
    `force` names checks to override. `hold` names DAGs that move only while they are idle. `sync` first
    copies pause state and pools to the target, unless the target already owns the work.
    Raises Unreachable and Unusable; UsageError if the stack has no such environment, a forced check does not
    exist, a DAG to hold is not on the source, or `dags` is empty or has an invalid DAG id.
    """
    chosen = tuple(dict.fromkeys(dags or ()))
    if dags is not None and not chosen:
        raise UsageError("dags is empty: name the DAGs to move alone, or omit it to move all work")
    if wrong := [dag_id for dag_id in chosen if not DAG_ID.fullmatch(dag_id)]:
        raise UsageError(f"not a valid DAG id: {', '.join(map(repr, wrong))}. Repeat --dag for each DAG")
    forced = forced_checks(force)
    deployment.stack.require(target)
    before = deployment.ownership.read()
    notes = _copy_settings(deployment, before, target) if sync else ()
    return _plan(deployment, before, target, lead, forced, dags=chosen, hold=hold, notes=notes)


def plan_rollback(
    deployment: Deployment, *, lead: float | None = None, force: Collection[str] = ()
) -> SwitchPlan:
    """Plan a switch of all work back to the environment that owned it before the newest owner.

    Otherwise like `plan`; also raises UsageError if there has been no switch yet.
    """
    forced = forced_checks(force)
    before = deployment.ownership.read()
    owner, previous = before.timeline.newest().owner, previous_owner(before.timeline)
    if previous is None:
        raise UsageError(
            f"there is no switch to roll back: the ownership timeline of stack {deployment.name} has no "
            f"owner before {owner}. To bring back DAGs that were moved alone: "
            f"mwaactl switch {owner} -s {deployment.name}"
        )
    deployment.stack.require(previous)
    return _plan(deployment, before, previous, lead, forced, rollback=True)


def _copy_settings(deployment: Deployment, before: Snapshot, target: Colour) -> tuple[str, ...]:
    if newest_owner(before.timeline) == target:
        return (
            f"nothing was copied to {target}: it owns the work, so it keeps its own pause state and pools",
        )
    source = other_colour(target)
    result = copy_settings(deployment, source, target)
    parts = [
        f"{what} {listed(names)}"
        for what, names in (("paused", result.paused), ("unpaused", result.unpaused), ("pools", result.pools))
        if names
    ]
    note = f"copied from {source} to {target}: {'; '.join(parts) or 'nothing'}"
    if not result.kept_paused:
        return (note,)
    kept = (
        f"{listed(result.kept_paused)} stay paused on {target}, whose gate is not proven: {result.unproven}"
    )
    return note, kept


def _plan(
    deployment: Deployment,
    before: Snapshot,
    target: Colour,
    lead: float | None,
    forced: Collection[str],
    *,
    dags: tuple[str, ...] = (),
    hold: Iterable[str] = (),
    rollback: bool = False,
    notes: tuple[str, ...] = (),
) -> SwitchPlan:
    ownership = deployment.ownership
    wanted = ownership.lead if lead is None else timedelta(seconds=lead)
    if wanted < ownership.lead:
        notes += (f"lead raised to {ownership.lead.total_seconds():g} s, the minimum that the readers apply",)
        wanted = ownership.lead
    plan = SwitchPlan(
        deployment=deployment,
        before=before,
        target=target,
        lead=wanted,
        checks=(),
        notes=(*notes, *_notes(before, ownership)),
        now=aws_now(before, ownership.lead),
        dags=dags,
        rollback=rollback,
        forced=frozenset(forced),
        hold=tuple(dict.fromkeys(hold)),
    )
    return plan if plan.already else _checked(plan)


def _notes(before: Snapshot, ownership: Ownership) -> Iterator[str]:
    if before.skew is None:
        yield "this machine's clock was not compared with AWS's"
    elif too_far(before, ownership.lead):
        yield (
            f"this machine's clock is {abs(before.skew.sure.total_seconds()):.0f} s "
            f"{'behind' if before.skew.sure > timedelta(0) else 'ahead of'} AWS's: AWS's time is used"
        )
    if before.covered:
        yield (
            f"version {before.top} of {ownership.name} is invalid (see `mwaactl history`); "
            f"version {before.reading.version} stands and will be put back on top"
        )


def _checked(plan: SwitchPlan) -> SwitchPlan:
    """The plan with the outcomes of its checks and the source's activity at that time."""
    timeline, apis = plan.before.timeline, plan.deployment.airflows
    sides = observe_sides(
        plan.deployment,
        plan.target,
        timeline,
        dags=plan.dags,
        now=lambda: aws_now(plan.before, plan.deployment.ownership.lead),
    )
    watch, activity, source, likely = None, None, sides.source, set[str]()
    if source is not None and source.dags is not None and source.in_flight is not None:
        if unknown := sorted(set(plan.hold) - source.dags.keys()):
            raise UsageError(f"--hold: {plan.source} has no DAG {', '.join(map(repr, unknown))}")
        across = CROSS_DAG not in plan.forced
        watch = Watch(apis[plan.source], apis[plan.target], hold=plan.hold, across=across)
        activity = held_dags.activity(source.dags, source.in_flight, lambda: sides.target.dags or {})
        soon = plan.now + plan.lead + held_dags.SOON
        candidates = plan.candidates(timeline, activity, soon)
        likely = {dag_id for dag_id in candidates if activity.may_run(dag_id, soon)}
    sides = held_dags.known_by_tasks(sides, watch, apis[plan.target], likely)
    return replace(
        plan,
        checks=run_checks(sides, plan.forced),
        watch=watch,
        activity=activity,
        known=known_dags(apis.get(plan.source), apis[plan.target]),
    )
