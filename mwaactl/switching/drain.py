"""After a switch: move the held DAGs as they become idle, wait until the old side is drained, and copy its
final states to the new owner's mirrors.

It keeps no state of its own: after any interruption (Ctrl-C, a timeout, a crash), the same call continues
from the ownership parameter and both Airflows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from bluegreen.timeline import Colour, Timeline, from_the_beginning, other_colour
from pydantic import Field

from mwaactl import clock
from mwaactl.airflow.models import Run
from mwaactl.checks.outcome import listed
from mwaactl.deployment import Deployment
from mwaactl.errors import LostRace, Unfinished, Unreachable, UsageError
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import Snapshot, aws_now
from mwaactl.ownership.reading import newest_owner, turn
from mwaactl.switching import held_dags
from mwaactl.switching.held_dags import Activity, HeldDag, Watch
from mwaactl.switching.mirrors import MirrorResult, copy_final_states
from mwaactl.switching.write import SwitchResult

POLL = 1.0  # seconds between two rounds: a serial DAG may be idle for a few seconds only
# Seconds before the second attempt at the mirrors: the target may still be creating the last of them.
MIRROR_PAUSE = 3.0
WINDOW = timedelta(days=1)  # mirrors of runs due earlier are left unchanged


class DrainProgress(Model):
    """How far the work has moved to the target."""

    target: Colour
    source: Colour
    dags: tuple[str, ...] = ()  # the DAGs to follow; empty: all
    finished: bool = False  # drained, and the mirrors have their final states
    drained: bool = False  # the source has finished everything that it owned
    # serial DAGs that have moved in the meantime, and from when the target owns them
    moved: dict[str, Instant] = Field(default_factory=dict)
    held: tuple[HeldDag, ...] = ()  # serial DAGs that the source still owns
    draining: dict[str, int] = Field(default_factory=dict)  # by DAG: the source's own unfinished runs
    # DAGs with a run that the source has yet to create, and when it is due (None: not planned yet)
    due: dict[str, Instant | None] = Field(default_factory=dict)
    mirrors: MirrorResult | None = None
    mirroring: tuple[int, int] | None = None  # mirrors done, and their total
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
    timeout: float | None = None,
    on_change: Callable[[DrainProgress], None] | None = None,
) -> DrainProgress:
    """Wait until the other side has finished what it owned, moving held DAGs to `target` as they become idle.

    `dags`: wait for these alone, and move them if the target does not own them yet. `timeout` is in seconds
    (None: no limit); after it, the result is not `finished`, and the same call continues later.
    `on_change` is called with each new state. What cannot be reached is retried (`trouble`).
    Raises LostRace if another operator gives work back in the meantime; UsageError if the target does not own
    the work, the parameter has no room for another move today or the stack has no such environment; Unusable.
    """
    return _Drain(deployment, target, tuple(dict.fromkeys(dags)), on_change).run(timeout)


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
        on_change: Callable[[DrainProgress], None] | None,
    ) -> None:
        self._target, self._source = target, other_colour(target)
        self._target_api = deployment.airflow(target)
        self._watch = Watch(deployment.airflow(self._source), self._target_api)
        self._ownership, self._lead = deployment.ownership, deployment.ownership.lead
        self._name, self._dags, self._on_change = deployment.name, dags, on_change
        self._waited_for: frozenset[str] | None = None  # the DAGs that the target did not own at first
        self._apart: frozenset[str] = frozenset()  # those that it still does not own
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
        held = self._move_idle(snapshot, activity)
        if len(held) < len(self._apart):
            self._change(held=held)
            return  # something moved, or another writer interfered: observe again
        timeline, now = snapshot.timeline, aws_now(snapshot, self._lead)
        draining = self._unfinished(timeline, activity)
        due = self._still_to_start(timeline, activity, held)
        begun = all(timeline.owner(now, line) == self._target for line in self._lines(timeline))
        drained = begun and not (draining or due)
        self._change(drained=drained, held=held, draining=draining, due=due, trouble=None)
        if drained:
            self._copy_final_states(timeline, now)

    # --- what the source still has to do ---

    def _unfinished(self, timeline: Timeline, activity: Activity) -> dict[str, int]:
        """The number of unfinished runs that the source executes, by DAG."""
        counts = {
            dag_id: sum(executes(self._source, timeline, run) for run in runs)
            for dag_id, runs in sorted(activity.unfinished.items())
            if self._concerns(dag_id)
        }
        return {dag_id: count for dag_id, count in counts.items() if count}

    def _still_to_start(
        self, timeline: Timeline, activity: Activity, held: tuple[HeldDag, ...]
    ) -> dict[str, datetime | None]:
        """The due instant of the next run that the source owns, by DAG; None: not planned yet."""
        waiting = {dag.dag_id for dag in held}
        due: dict[str, datetime | None] = {}
        for dag_id in sorted(activity.dags):
            if not self._concerns(dag_id) or dag_id in waiting:
                continue
            at = activity.next_due(dag_id)
            own = at is not None and timeline.owner(at, dag_id) == self._source
            if own or dag_id in activity.unclear:
                due[dag_id] = at
        return due

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
        apart = {line for line in self._lines(timeline) if newest_owner(timeline, line) != self._target}
        if self._waited_for is None:
            if None in apart:
                raise UsageError(
                    f"{self._target} does not own the work, so there is nothing to wait for. "
                    f"To switch and wait: mwaactl switch {self._target} --wait -s {self._name}"
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
            moved[dag_id] = line.since if line.owner == self._target else line.next_since or line.since
        held = tuple(dag for dag in self._state.held if dag.dag_id in self._apart)
        self._change(moved=moved, held=held)

    def _move_idle(self, snapshot: Snapshot, activity: Activity) -> tuple[HeldDag, ...]:
        """Move the DAGs that are idle on the source to the target, and return the others."""
        timeline, version = snapshot.timeline, snapshot.top + 1
        since = aws_now(snapshot, self._lead) + self._lead
        if not self._dags:  # not before the switch itself takes effect
            since = max(since, timeline.owners[-1].since)
        owned = [dag_id for dag_id in self._apart if timeline.owner(since, dag_id) == self._source]
        held = self._watch.held(activity, owned, since + held_dags.MARGIN)
        idle = sorted(self._apart - {dag.dag_id for dag in held})
        decided = timeline
        for dag_id in idle:
            decided = decided.dag_moved(dag_id, self._target, since, version)
        if decided is not timeline:
            description = f"mwaactl switch {self._target}, only {listed(idle)}, once idle"
            try:
                self._ownership.write(snapshot, decided, description, since)
            except Unfinished:
                self._unanswered = snapshot
            except LostRace:
                pass  # the next round reads the decision that stands
        return held

    def _sealed(self, snapshot: Snapshot) -> Snapshot:
        """Prevent an unanswered put of ours from taking effect late: its DAGs may no longer be idle."""
        if self._unanswered is not None and snapshot.top == self._unanswered.top:
            snapshot = self._ownership.seal(snapshot)
        if self._unanswered is not None and snapshot.top > self._unanswered.top:
            self._unanswered = None
        return snapshot

    # --- mirrors ---

    def _copy_final_states(self, timeline: Timeline, now: datetime) -> None:
        """Copy the states of all runs due in the source's last turn (a day of it at most), and finish."""
        begins = {line: turn(timeline, now, line).since for line in self._lines(timeline)}
        switched = {line: begin for line, begin in begins.items() if not from_the_beginning(begin)}
        mirrors = MirrorResult(copied=0, already=0, left=())
        if switched:
            until = max(switched.values())
            before = timedelta(microseconds=1)
            starts = (turn(timeline, begin - before, line).since for line, begin in switched.items())
            since = max(min(starts), until - WINDOW)
            mirrors = self._mirror(timeline, since, until)
            if mirrors.left:
                clock.sleep(MIRROR_PAUSE)
                again = self._mirror(timeline, since, until)
                mirrors = MirrorResult(
                    copied=mirrors.copied + again.copied,
                    already=again.already - mirrors.copied,
                    left=again.left,
                )
        self._change(finished=True, mirrors=mirrors, mirroring=None)

    def _mirror(self, timeline: Timeline, since: datetime, until: datetime) -> MirrorResult:
        return copy_final_states(
            self._watch.api,
            self._target_api,
            source_colour=self._source,
            since=since,
            until=until,
            owned=lambda run: self._concerns(run.dag_id) and executes(self._source, timeline, run),
            progress=lambda done, total: self._change(mirroring=(done, total)),
        )
