"""Moving some DAGs first, watching them on the other side, and giving them back if they do badly.

It keeps no state: whose the DAGs are, and since when, is in the ownership timeline. The same command,
repeated after an interruption, goes on with the watch from where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bluegreen.proof import PROBE
from bluegreen.timeline import Colour, Timeline, other_colour

from mwaactl import clock
from mwaactl.airflow.models import Dag
from mwaactl.canary.away import Away, Step, beside, stands, way_back
from mwaactl.canary.record import BACK, FIRST
from mwaactl.canary.soak import History, Soak, history, look
from mwaactl.checks.evidence import dependencies
from mwaactl.checks.outcome import Dependency, checks_failed, listed
from mwaactl.checks.target import AVAILABLE_CHECK
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, ControlError, LostRace, Unfinished, Unreachable, UsageError
from mwaactl.ownership.parameter import Snapshot, aws_now
from mwaactl.ownership.reading import apart, newest_owner
from mwaactl.switching.bring_back import bring_back
from mwaactl.switching.drain import wait_until_drained
from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out

PERIOD = 30.0  # seconds between two looks
PATIENCE = 2  # looks in a row that find the side itself unwell, or do not reach it
BLIND = timedelta(minutes=10)  # without a look, since what it needs cannot be read
DRAIN = timedelta(minutes=10)  # for the drain of what is given back


@dataclass(frozen=True, kw_only=True)
class Canary:
    """What to move first. `dags` by name, or `percents` of the DAGs with a schedule, one step each."""

    dags: tuple[str, ...] = ()
    percents: tuple[int, ...] = ()
    soak: timedelta
    hold: tuple[str, ...] = ()  # DAGs that move only while they are idle
    lead: float | None = None  # seconds

    def __post_init__(self) -> None:
        if self.dags and self.percents:
            raise UsageError("--canary names the first DAGs, --canary-percent counts them: use one of both")
        if any(not 0 < each < 100 for each in self.percents) or [*self.percents] != sorted({*self.percents}):
            given = ",".join(map(str, self.percents))
            raise UsageError(f"--canary-percent must be ascending numbers from 1 to 99, not {given}")

    @property
    def options(self) -> list[str]:
        """As they are typed."""
        percents = ["--canary-percent", ",".join(map(str, self.percents))] if self.percents else []
        named = [word for dag in self.dags for word in ("--canary", dag)]
        return [*named, *percents, "--soak", f"{self.soak.total_seconds():.15g}s"]

    def steps(self, deployment: Deployment, target: Colour) -> Iterator[tuple[str, ...]]:
        """The DAGs that are to be on the target after each step, all of them. Raises Unreachable, UsageError.

        By percent, those whose next run is due first: they are the ones that a soak sees. What depends on
        each other goes together. What is there already, left by an interrupted command, is in each step.
        """
        timeline, home = deployment.ownership.read().timeline, other_colour(target)
        api = deployment.airflow(home)
        if self.dags:
            if moved_before(timeline, target, self) is None:
                _can_be_watched(self.dags, api.dags(), home)
            yield self.dags
            return
        known = api.dags()
        dues = {
            dag.dag_id: dag.next_due
            for dag in known.values()
            if dag.next_due is not None and not dag.paused and dag.dag_id != PROBE
        }
        if not dues:
            raise UsageError("no DAG has a next run to count percents of: name the first ones with --canary")
        there = [dag for dag in moved_alone(timeline, target) if dag in known]
        ordered = sorted(dues, key=lambda dag: (dag not in there, dues[dag], dag))
        together = groups(known, dependencies(api, known))
        for percent in self.percents:
            first = [*there, *ordered[: math.ceil(len(ordered) * percent / 100)]]
            yield tuple(dict.fromkeys(dag for each in first for dag in together[each]))


def _can_be_watched(dags: Sequence[str], known: Mapping[str, Dag], home: Colour) -> None:
    """Raise UsageError for DAGs that there are not, or if all are paused: they would move for nothing."""
    if unknown := sorted(set(dags) - known.keys()):
        raise UsageError(
            f"--canary: {home} has no DAG {', '.join(map(repr, unknown))}, but {listed(sorted(known))}"
        )
    if all(known[dag].paused for dag in dags):
        raise UsageError(
            f"--canary: paused on {home}, so no run would be seen: {listed(dags)}. Unpause one on both "
            "sides, or name a DAG that runs"
        )


def groups(dags: Collection[str], depending: Collection[Dependency]) -> dict[str, list[str]]:
    """Of each DAG: itself, and all that it depends on or that depends on it, directly or not."""
    linked: dict[str, set[str]] = {dag: set() for dag in dags}
    for each in depending:
        if each.dag_id in linked and each.other in linked:
            linked[each.dag_id].add(each.other)
            linked[each.other].add(each.dag_id)
    found = {}
    for dag in linked:
        group = [dag]
        for member in group:  # grows meanwhile
            group += sorted(linked[member].difference(group))
        found[dag] = group
    return found


def progress(
    deployment: Deployment,
    target: Colour,
    canary: Canary,
    *,
    force: Collection[str] = (),
    reason: str = "",
    on_look: Callable[[Soak, timedelta], None] = lambda _soak, _left: None,
) -> tuple[Step, ...]:
    """Move the DAGs of each step to `target` and watch them for `canary.soak`. All of them stay there.

    `on_look` is called with each look and the time that is left. Raises CheckFailed (a check failed and
    nothing was written, or they did badly and are given back: the message says why), LostRace, Away (ended
    otherwise while DAGs were there: the message says how to go on), Unfinished (not given back, or not
    drained); Unreachable, UsageError and Unusable as long as none is there. The error's `beside` has the
    steps.
    """
    reason = f"{FIRST}: {reason}" if reason else FIRST
    return _Progress(deployment, target, canary, force, reason, on_look).run()


class _Progress:
    def __init__(
        self,
        deployment: Deployment,
        target: Colour,
        canary: Canary,
        force: Collection[str],
        reason: str,
        on_look: Callable[[Soak, timedelta], None],
    ) -> None:
        self._deployment, self._target, self._home = deployment, target, other_colour(target)
        self._canary, self._force, self._reason, self._on_look = canary, force, reason, on_look
        snapshot = deployment.ownership.read()
        self._decided = _decided(snapshot)
        self._done: list[Step] = []
        # What is there beside: what an earlier command left there, then what the present step moves.
        self._step = moved_before(snapshot.timeline, target, canary)

    @property
    def _steps(self) -> list[Step]:
        return [*self._done, *([self._step] if self._step is not None else [])]

    def run(self) -> tuple[Step, ...]:
        for dags in self._canary.steps(self._deployment, self._target):
            try:
                self._move(dags)
                soak = self._watch(dags)
            except LostRace as error:
                raise LostRace(str(error), beside=beside(self._steps)) from error
            except (ControlError, KeyboardInterrupt) as error:
                if not self._steps:
                    raise
                why = str(error) or "interrupted"
                raise Away(why, self._deployment, self._target, self._steps, self._force) from error
            if soak.bad or soak.unseen:
                self._give_back(dags, soak)
            self._done.append(Step(dags=dags, on=self._target, soak=soak))
            self._step = None
        return tuple(self._done)

    def _move(self, dags: Sequence[str]) -> None:
        """Give the DAGs to the target; those that must not overlap themselves follow while it is watched."""
        canary = self._canary
        planned = plan(
            self._deployment,
            self._target,
            dags=dags,
            lead=canary.lead,
            force=self._force,
            hold=set(canary.hold).intersection(dags),
        )
        if not planned.already:
            if error := checks_failed(planned.checks, stands(self._steps)):
                raise error
            there, self._step = self._step, Step(dags=tuple(dags))
            try:
                carry_out(planned, reason=self._reason)
            except CheckFailed:  # nothing was written
                self._step = there
                raise
        self._step = Step(dags=tuple(dags), on=self._target)

    def _watch(self, dags: Sequence[str]) -> Soak:
        """The verdict at the end of the soak, or as soon as it is bad.

        Between two looks, the DAGs that were held move, and the books are closed. What cannot be reached is
        tried again. Raises LostRace, Unfinished, Unusable; Unreachable after BLIND without a look.
        """
        unwell, drained, begun = 0, False, clock.now()
        reached, left = begun, self._canary.soak
        moved: set[str] = set()
        before: History = {}
        while True:
            try:
                snapshot = self._deployment.ownership.read()
                moved = self._moved(snapshot, dags, moved)
                now = aws_now(snapshot, self._deployment.ownership.lead)
                if fresh := moved - before.keys():
                    before = {
                        **before,
                        **history(self._deployment, self._home, fresh, snapshot.timeline, now),
                    }
            except Unreachable as error:
                if clock.now() - reached >= BLIND:
                    raise
                self._on_look(self._unseen(f"cannot watch, trying again: {error}", clock.now()), left)
                drained = self._pause(dags, drained)
                continue
            reached = clock.now()
            soak = self._look(snapshot, before, now)
            self._step = Step(dags=tuple(dags), on=self._target, soak=soak)
            unwell = unwell + 1 if soak.problems else 0
            begin = max((snapshot.timeline.newest(dag).since for dag in moved), default=now)
            left = begin + self._canary.soak - now if len(moved) == len(dags) else self._canary.soak
            left = max(left, timedelta())
            self._on_look(soak, left)
            if any(dag.result == "bad" for dag in soak.dags) or unwell >= PATIENCE:
                return soak
            if not left and not unwell:
                return soak
            if len(moved) < len(dags) and clock.now() - begun > self._canary.soak:
                soak_time, busy = self._canary.soak.total_seconds(), listed(sorted(set(dags) - moved))
                raise Unfinished(f"not idle within {soak_time:g} s, so not moved: {busy}")
            drained = self._pause(dags, drained)

    def _moved(self, snapshot: Snapshot, dags: Sequence[str], before: set[str]) -> set[str]:
        """The DAGs that are the target's. Raises LostRace if somebody else has decided meanwhile."""
        timeline = snapshot.timeline
        moved = {dag for dag in dags if newest_owner(timeline, dag) == self._target}
        if taken := before - moved:
            raise LostRace(f"another operator has moved {listed(sorted(taken))} meanwhile: that stands")
        self._agree(snapshot)
        return moved

    def _agree(self, snapshot: Snapshot) -> None:
        """Raise LostRace if somebody has decided about all DAGs meanwhile."""
        if _decided(snapshot) != self._decided:
            raise LostRace(
                f"another operator has switched meanwhile: {newest_owner(snapshot.timeline)} owns the work. "
                f"That stands; see `mwaactl history -s {self._deployment.name}`"
            )

    def _look(self, snapshot: Snapshot, before: History, now: datetime) -> Soak:
        if not before:
            return self._unseen(None, now)
        try:
            return look(self._deployment, self._target, before, snapshot.timeline, now)
        except Unreachable as error:  # it is the target's Airflow
            return self._unseen(str(error), now)

    def _unseen(self, problem: str | None, now: datetime) -> Soak:
        problems = (problem,) if problem else ()
        return Soak(target=self._target, since=now, until=now, dags=(), problems=problems)

    def _pause(self, dags: Sequence[str], drained: bool) -> bool:
        """Until the next look. Whether the side that the DAGs have left is drained of them."""
        begun = clock.now()
        if not drained:
            drained = wait_until_drained(
                self._deployment,
                self._target,
                dags=dags,
                hold=set(self._canary.hold).intersection(dags),
                force=self._force,
                timeout=PERIOD,
                decided=self._decided,
                reason=self._reason,
            ).finished
        rest = PERIOD - (clock.now() - begun).total_seconds()
        if rest > 0:
            clock.sleep(rest)
        return drained

    def _give_back(self, dags: Sequence[str], soak: Soak) -> None:
        """Give the DAGs back, and raise CheckFailed with why. Raises Unfinished if that did not succeed."""
        why, again = str(soak), way_back(self._deployment.name, self._target, dags, self._force)
        dead = f"If {self._target} has died: mwaactl failover {self._home} -s {self._deployment.name}"
        hold, reason = set(self._canary.hold).intersection(dags), f"{BACK}: {why}"[:200]
        perhaps, back = (
            beside([step.model_copy(update={"on": on}) for step in self._steps]) for on in (None, self._home)
        )
        try:
            _, result, failed = bring_back(
                self._deployment,
                self._home,
                dags,
                reason=reason,
                hold=hold,
                agree=self._agree,
            )
            again = way_back(self._deployment.name, self._target, dags, {*self._force, *failed})
            drained = wait_until_drained(
                self._deployment,
                self._home,
                dags=dags,
                hold=hold,
                force={AVAILABLE_CHECK},  # they go back whatever the checks say
                timeout=DRAIN.total_seconds(),
                decided=self._decided,
                reason=reason,
            )
        except (Unreachable, CheckFailed, LostRace, Unfinished) as error:
            raise Unfinished(
                f"{why}. Giving {listed(dags)} back to {self._home} did not succeed: {error}. To repeat it: "
                f"{again}. {dead}",
                beside=perhaps,
            ) from error
        except KeyboardInterrupt as error:
            raise Unfinished(
                f"{why}. Interrupted while giving {listed(dags)} back: {again}", beside=perhaps
            ) from error
        if held := {dag.dag_id for dag in result.held} - drained.moved.keys():
            given = sorted(set(dags).difference(held))
            raise Unfinished(
                f"{why}. Still at work on {self._target} after {DRAIN.total_seconds():g} s, so not given "
                f"back: {listed(held)}"
                + (f"; given back to {self._home}: {listed(given)}" if given else "")
                + f". To go on: {again}. {dead}",
                beside=perhaps,
            )
        if not drained.finished:
            raise Unfinished(
                f"{why}. Given back to {self._home}: {listed(dags)}; {self._target} has not drained within "
                f"{DRAIN.total_seconds():g} s. To wait for it: {again}. {dead}",
                beside=back,
            )
        raise CheckFailed(
            f"{why}. Given back to {self._home}: {listed(dags)}. No other DAG has moved", beside=back
        )


def moved_alone(timeline: Timeline, target: Colour) -> list[str]:
    """The DAGs that are the target's before the rest is. The gate probe is moved by rehearsals."""
    return [dag for dag in apart(timeline, target) if dag != PROBE]


def moved_before(timeline: Timeline, target: Colour, canary: Canary) -> Step | None:
    """Those of the first DAGs that an earlier command left on `target`; None: none of them."""
    moved = moved_alone(timeline, target)
    there = tuple(dag for dag in canary.dags or moved if dag in moved)
    return Step(dags=there, on=target) if there else None


def _decided(snapshot: Snapshot) -> int:
    """The version of the newest decision about all DAGs."""
    return snapshot.timeline.owners[-1].version
