"""After a switch: move the held DAGs as they become idle, copy the final states of what has ended to its
mirrors, wait until the old side is drained, and close its books.

It keeps no state of its own: after any interruption (Ctrl-C, a timeout, a crash), the same call continues
from the ownership parameter and both Airflows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from bluegreen.settings import RECENT
from bluegreen.timeline import Colour, Timeline, other_colour
from pydantic import Field

from mwaactl import clock
from mwaactl.airflow.models import Run
from mwaactl.checks.outcome import listed
from mwaactl.checks.target import status_against
from mwaactl.checks.waiting_assets import unmet_conditions, waiting_asset_events
from mwaactl.deployment import Deployment
from mwaactl.errors import LostRace, Unfinished, Unreachable, UsageError
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import Snapshot, aws_now
from mwaactl.ownership.reading import newest_owner, turn
from mwaactl.switching import held_dags
from mwaactl.switching.books import Books
from mwaactl.switching.final_states import FinalStates
from mwaactl.switching.held_dags import Activity, HeldDag, Watch
from mwaactl.switching.known import with_appeared
from mwaactl.switching.mirrors import TRIES, MirrorResult
from mwaactl.switching.write import SwitchResult

POLL = 1.0  # seconds between two rounds: a serial DAG may be idle for a few seconds only
# Seconds before another attempt at the mirrors: the target may still be creating the last of them.
MIRROR_PAUSE = 3.0
SURVEY = timedelta(minutes=1)  # between two listings of what has ended on both sides
FEW, MANY = 5, 50  # mirrors in one round, while DAGs wait for their move and otherwise


class DrainProgress(Model):
    """How far the work has moved to the target."""

    target: Colour
    source: Colour
    dags: tuple[str, ...] = ()  # the DAGs to follow; empty: all
    finished: bool = False  # drained, the mirrors have their final states, and the books are closed
    drained: bool = False  # the source has finished everything that it owned
    # serial DAGs that have moved in the meantime, and from when the target owns them
    moved: dict[str, Instant] = Field(default_factory=dict)
    held: tuple[HeldDag, ...] = ()  # serial DAGs that the source still owns
    draining: dict[str, int] = Field(default_factory=dict)  # by DAG: the source's own unfinished runs
    # DAGs with a run that the source has yet to create, and when it is due (None: not planned yet)
    due: dict[str, Instant | None] = Field(default_factory=dict)
    mirrors: MirrorResult | None = None
    mirroring: tuple[int, int] | None = None  # mirrors done, and their total
    closing: float | None = None  # seconds until the books can be closed; None: not yet, or they are closed
    executed: int = 0  # runs that the source had left and the target executes now
    # what waits on the source, by DAG, for the rest of its asset condition, which may arrive on the target
    waiting_assets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    seconds: float = 0.0
    trouble: str | None = None  # what cannot be reached at the moment; it is retried


class SwitchAndDrainResult(SwitchResult):
    """What `mwaactl switch --wait --json` prints."""

    drain: DrainProgress


def wait_until_drained(
    deployment: Deployment,
    target: Colour,
    *,
    dags: Iterable[str] = (),
    hold: Iterable[str] = (),
    force: Collection[str] = (),
    timeout: float | None = None,
    decided: int | None = None,
    reason: str = "",
    on_change: Callable[[DrainProgress], None] | None = None,
) -> DrainProgress:
    """Wait until the other side has finished what it owned, moving held DAGs to `target` as they become idle.

    `dags`: wait for these alone, and move them if the target does not own them yet. `hold`: DAGs that move
    only while they are idle. `force`: the checks that the switch overrode; without `target-available`, DAGs
    move only to a target that is. `timeout` is in seconds (None: no limit); after it, the result is not
    `finished`, and the same call continues later. `decided`: give up once a decision about all DAGs is newer
    than this version (LostRace), instead of moving `dags` against it. `reason`: for the history.
    `on_change` is called with each new state. What cannot be reached is retried (`trouble`).
    Raises LostRace if another operator gives work back in the meantime; UsageError if the target does not own
    the work or the stack has no such environment; Unusable.
    """
    chosen = tuple(dict.fromkeys(dags))
    return _Drain(deployment, target, chosen, hold, force, on_change, decided, reason).run(timeout)


def executes(colour: Colour, timeline: Timeline, run: Run) -> bool:
    """Whether the side that has this run executes it. An unscheduled run is executed where it was created."""
    if run.type != "scheduled" or run.due is None:
        return True
    return timeline.owner(run.due, run.dag_id) == colour


class _Drain:
    """Observes the source and moves what is idle, round by round; each round reads everything again."""

    def __init__(
        self,
        deployment: Deployment,
        target: Colour,
        dags: tuple[str, ...],
        hold: Iterable[str],
        force: Collection[str],
        on_change: Callable[[DrainProgress], None] | None,
        decided: int | None = None,
        reason: str = "",
    ) -> None:
        self._deployment, self._force = deployment, force
        self._target, self._source = target, other_colour(target)
        self._watch = Watch(deployment.airflow(self._source), deployment.airflow(target), hold=hold)
        apis = {colour: deployment.airflow(colour) for colour in (self._source, target)}
        self._final_states = FinalStates(apis, self._concerns, {self._source: self._watch.past.attempts})
        self._unfinished_before: dict[tuple[str, str], Run] = {}
        self._next_survey = clock.now()
        self._ownership, self._lead = deployment.ownership, deployment.ownership.lead
        self._books, self._copied = Books(deployment.ownership, target, dags), False
        self._dags, self._on_change = dags, on_change
        self._decided, self._reason = decided, reason
        self._waited_for: frozenset[str] | None = None  # the DAGs that the target did not own at first
        self._apart: frozenset[str] = frozenset()  # those that it still does not own
        self._last = False  # whether nothing is left but what is held
        self._unanswered: Snapshot | None = None  # the basis of a put that may still arrive
        self._state = DrainProgress(target=target, source=self._source, dags=dags)
        self._started = clock.now()

    def run(self, timeout: float | None) -> DrainProgress:
        while True:
            try:
                self._round()
            except Unreachable as error:
                self._change(trouble=str(error))
            spent = (clock.now() - self._started).total_seconds()
            if self._state.finished or (timeout is not None and spent >= timeout):
                return self._state
            clock.sleep(POLL if timeout is None else min(POLL, timeout - spent))

    def _change(self, **fields: object) -> None:
        before = self._state
        seconds = round((clock.now() - self._started).total_seconds(), 1)
        self._state = before.model_copy(update={**fields, "seconds": seconds})
        if self._on_change and self._state != before.model_copy(update={"seconds": seconds}):
            self._on_change(self._state)

    def _round(self) -> None:
        """Observe once, move what is idle, and finish if nothing is left."""
        snapshot = self._sealed(self._ownership.read())
        self._note_owners(snapshot)
        activity = self._watch.look()
        if self._appeared(snapshot, activity):
            return
        timeline = snapshot.timeline
        self._note_ended(timeline, activity)
        held = self._move_idle(snapshot, activity)
        if len(held) < len(self._apart):
            self._change(held=held)
            return  # something moved, or another writer interfered: observe again
        now = aws_now(snapshot, self._lead)
        draining = self._unfinished(timeline, activity)
        due = self._still_to_start(timeline, activity, held)
        begun = all(timeline.owner(now, line) == self._target for line in self._lines(timeline))
        if not self._dags:  # not before every process of the source knows (`_appeared`)
            begun = begun and now >= timeline.owners[-1].since + RECENT
        # The paused DAGs that have runs to catch up on move last: their books close right after.
        self._last = not (draining or due)
        drained = begun and not (draining or due)
        self._change(drained=drained, held=held, draining=draining, due=due, trouble=None)
        if not drained:
            self._copied = False
            self._copy_meanwhile(timeline, now)
        elif not self._copied:
            self._copy_the_rest(timeline, now)
            self._copied = True
            self._round()  # that took time: observe again before the books are closed
            return
        self._close_books(snapshot, activity, drained=drained)

    def _appeared(self, snapshot: Snapshot, activity: Activity) -> bool:
        """Record DAGs that appeared while the switch was written; whether there was anything to record."""
        now = aws_now(snapshot, self._lead)
        known = with_appeared(snapshot, activity.dags.keys(), now)
        if known is None or now < snapshot.timeline.owners[-1].since + RECENT:
            return False
        with suppress(LostRace, Unfinished):  # the next round reads what stands
            self._ownership.write(snapshot, known, "mwaactl: DAGs appeared during the switch")
        return True

    def _close_books(self, snapshot: Snapshot, activity: Activity, *, drained: bool) -> None:
        """Go a step on with the source's books; finish once they are closed."""
        try:
            wait = self._books.step(snapshot, activity.dags, drained=drained)
        except (LostRace, Unfinished):
            return  # the next round reads what stands
        self._change(closing=wait.total_seconds() if wait is not None else None)
        if not drained or wait is not None:
            return
        assets, on_their_way = self._waiting_assets(activity)
        timeline = self._ownership.read().timeline
        if not on_their_way and self._books.closed(timeline):  # a read may lag behind our own write
            left = self._books.execute_left(timeline, self._watch.other)
            self._change(finished=True, executed=left, waiting_assets=assets)

    def _waiting_assets(self, activity: Activity) -> tuple[dict[str, tuple[str, ...]], bool]:
        """The asset events on the source that wait for others, and whether some are about to start a run."""
        waiting = waiting_asset_events(self._watch.api, activity.dags.values())
        unmet = unmet_conditions(self._watch.api, activity.dags.values()) if waiting else {}
        concerned = {dag_id: events for dag_id, events in unmet.items() if self._concerns(dag_id)}
        return concerned, any(map(self._concerns, waiting.keys() - unmet.keys()))

    # --- what the source still has to do ---

    def _unfinished(self, timeline: Timeline, activity: Activity) -> dict[str, int]:
        """The number of unfinished runs that the source executes, by DAG."""
        own: Counter[str] = Counter()
        others: list[Run] = []
        for dag_id, runs in activity.unfinished.items():
            for run in runs if self._concerns(dag_id) else ():
                if executes(self._source, timeline, run):
                    own[dag_id] += 1
                else:
                    others.append(run)
        own.update(run.dag_id for run in self._asked_for(timeline, others))
        return dict(sorted(own.items()))

    def _asked_for(self, timeline: Timeline, runs: list[Run]) -> list[Run]:
        """Those of the target's runs that the source may execute, as they were cleared there while it owned
        the work: they have begun since, or are queued and had begun before.

        A mirror that began then, too, is skipped and ends at once.
        """
        again = self._watch.api.begun([run for run in runs if run.state == "queued"])
        return [
            run
            for run in runs
            if run.key in again
            or (
                run.start is not None  # else it is queued
                and timeline.in_force(run.start, run.dag_id).owner == self._source
            )
        ]

    def _still_to_start(
        self, timeline: Timeline, activity: Activity, held: tuple[HeldDag, ...]
    ) -> dict[str, datetime | None]:
        """The due instant of the next run on the source, by DAG, if one of its own may follow; None: not
        planned yet.

        The next one may be the target's: if the source's scheduler is behind, own ones come after it.
        """
        waiting = {dag.dag_id for dag in held}
        due: dict[str, datetime | None] = {}
        for dag_id in sorted(activity.dags):
            if not self._concerns(dag_id) or dag_id in waiting:
                continue
            at = activity.next_due(dag_id)
            if dag_id in activity.unclear or (at is not None and self._comes_first(timeline, dag_id, at)):
                due[dag_id] = at
        return due

    def _comes_first(self, timeline: Timeline, dag_id: str, at: datetime) -> bool:
        """Whether what is due at `at` is the source's own, or is followed by what is."""
        later = [entry.since for entry in timeline.line(dag_id) if entry.since > at]
        return any(timeline.owner(instant, dag_id) == self._source for instant in (at, *later))

    def _concerns(self, dag_id: str) -> bool:
        return not self._dags or dag_id in self._dags

    def _lines(self, timeline: Timeline) -> tuple[str | None, ...]:
        """The lines of ownership to follow: those of single DAGs, and None for the common line."""
        return self._dags or (None, *timeline.dags)

    # --- ownership ---

    def _note_owners(self, snapshot: Snapshot) -> None:
        """Record which DAGs are not the target's yet, and which have moved.

        Raises LostRace if the target has lost one: two operators must not take a DAG from each other forever.
        """
        timeline = snapshot.timeline
        if self._decided is not None and timeline.owners[-1].version != self._decided:
            raise LostRace(f"another operator has moved all work (version {snapshot.reading.version})")
        apart = {line for line in self._lines(timeline) if newest_owner(timeline, line) != self._target}
        if self._waited_for is None:
            if None in apart:
                raise UsageError(
                    f"{self._target} does not own the work, so there is nothing to wait for. "
                    f"To switch and wait: mwaactl switch {self._target} --wait -s {self._deployment.name}"
                )
            self._waited_for = self._apart = frozenset(line for line in apart if line is not None)
        if lost := apart - self._apart:
            names = "the work" if None in lost else listed({line for line in lost if line is not None})
            raise LostRace(
                f"another operator has given {names} back to {self._source} (version "
                f"{snapshot.reading.version}; see `mwaactl history`). That decision stands, so this command "
                f"no longer waits for {self._source} to drain"
            )
        self._apart = frozenset(line for line in apart if line is not None)
        now = aws_now(snapshot, self._lead)
        moved = {}
        for dag_id in sorted(self._waited_for - self._apart):
            line = turn(timeline, now, dag_id)
            moved[dag_id] = line.next_since or line.since
        held = tuple(dag for dag in self._state.held if dag.dag_id in self._apart)
        self._change(moved=moved, held=held)

    def _move_idle(self, snapshot: Snapshot, activity: Activity) -> tuple[HeldDag, ...]:
        """Move the DAGs that are idle on the source to the target, and return the others."""
        timeline, version = snapshot.timeline, snapshot.top + 1
        busy, _ = self._held(snapshot, activity, past=False)
        idle = self._apart - {dag.dag_id for dag in busy}
        if idle and self._watch.past.settle(timeline, self._source, idle):
            return self._held(snapshot, activity)[0]  # that took time: look again before they move
        held, since = self._held(snapshot, activity)
        idle = self._apart - {dag.dag_id for dag in held}
        if idle and (status := status_against(self._deployment, self._target, self._force)):
            name = self._deployment.stack.require(self._target).name
            why = f"it is idle, but {name} is {status}"  # an update has begun since the switch
            return (*held, *(HeldDag(dag_id=dag_id, reason=why) for dag_id in sorted(idle)))
        if idle:
            decided = timeline.dags_moved(idle, self._target, since, version)
            description = f"mwaactl switch {self._target}, only {listed(idle)}, once idle"
            description += f": {self._reason}" if self._reason else ""
            try:
                self._ownership.write(snapshot, decided, description, since)
            except Unfinished:
                self._unanswered = snapshot
            except LostRace:
                pass  # the next round reads the decision that stands
        return held

    def _held(
        self, snapshot: Snapshot, activity: Activity, *, past: bool = True
    ) -> tuple[tuple[HeldDag, ...], datetime]:
        """The DAGs that cannot move now, and the instant from which the target would own the others."""
        timeline = snapshot.timeline
        since = aws_now(snapshot, self._lead) + self._lead
        if not self._dags:  # not before the switch itself takes effect
            since = max(since, timeline.owners[-1].since)
        owned = [dag_id for dag_id in self._apart if timeline.owner(since, dag_id) == self._source]
        kept = held_dags.held_by_switch(timeline)
        until, behind = since + held_dags.MARGIN, not self._last
        return self._watch.held(activity, owned, until, kept=kept, past=past, behind=behind), since

    def _sealed(self, snapshot: Snapshot) -> Snapshot:
        """Prevent an unanswered put of ours from taking effect late: its DAGs may no longer be idle."""
        if self._unanswered is not None and snapshot.top == self._unanswered.top:
            snapshot = self._ownership.seal(snapshot)
        return snapshot

    # --- final states ---

    def _note_ended(self, timeline: Timeline, activity: Activity) -> None:
        """Note the source's own runs that have ended since the last look."""
        now = {run.key: run for runs in activity.unfinished.values() for run in runs}
        ended = [run for key, run in self._unfinished_before.items() if key not in now]
        self._final_states.ended(
            self._source,
            (r for r in ended if self._concerns(r.dag_id) and executes(self._source, timeline, r)),
        )
        self._unfinished_before = now

    def _copy_meanwhile(self, timeline: Timeline, now: datetime) -> None:
        """Copy some of what has ended while the rest is still at work."""
        begun = clock.now()
        if begun >= self._next_survey and self._final_states.survey(timeline, self._target, self._dags, now):
            self._next_survey = clock.now() + max(SURVEY, 10 * (clock.now() - begun))
        self._final_states.copy(timeline, FEW if self._apart else MANY)
        self._change(mirrors=self._final_states.result)

    def _copy_the_rest(self, timeline: Timeline, now: datetime) -> None:
        """Once the source is drained: copy all that is left. What cannot be copied is in `mirrors.left`."""
        for attempt in range(TRIES):
            if attempt:
                clock.sleep(MIRROR_PAUSE)
            self._final_states.survey(timeline, self._target, self._dags, now)
            if waiting := self._final_states.waiting:
                self._final_states.copy(
                    timeline, waiting, lambda done, total: self._change(mirroring=(done, total))
                )
            if not self._final_states.retry:
                break
        self._change(mirrors=self._final_states.result, mirroring=None)
