"""The rollout as a Python API. It keeps no state of its own.

What remains is what the engine's preview says; who owns the work is what the ownership timeline says; whether
the other side may be touched is what its books say. So a rollout that was killed goes on where it was when it
is repeated. Nothing here prints or asks.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Literal

from bluegreen.timeline import Colour, Timeline, other_colour

from mwaactl import clock
from mwaactl.canary.away import Away
from mwaactl.canary.away import Step as CanaryStep
from mwaactl.canary.progressive import Canary, progress
from mwaactl.canary.soak import Soak
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, ControlError, LostRace, Unfinished, Unusable, UsageError
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import Snapshot
from mwaactl.ownership.reading import apart, named, newest_owner
from mwaactl.rollout.apart import refuse_to_follow, refuse_update
from mwaactl.rollout.engine import Change, Engine
from mwaactl.rollout.home import REASON, RETURNS, is_to_return, record_that_it_stays
from mwaactl.rollout.how import How
from mwaactl.rollout.plan import Plan, Step, plan
from mwaactl.rollout.ready import DIFFERS, await_ready, await_settled
from mwaactl.switching.drain import DrainProgress, wait_until_drained
from mwaactl.switching.plan import SwitchPlan
from mwaactl.switching.write import carry_out

Stage = Literal["plan", "apply", "step", "wait", "ready", "canary", "switch", "drain", "done"]


class Event(Model):
    """What has begun or happened; `steps` with "plan" alone."""

    at: Instant
    stage: Stage
    text: str
    owner: Colour | None = None
    steps: tuple[Step, ...] = ()


class CanaryFailed(CheckFailed):
    """The first DAGs did badly and are back, or could not be moved: what stands is said."""


def look(deployment: Deployment, engine: Engine, how: How) -> Plan:
    """What a rollout would do now; nothing is touched.

    Raises UsageError (one environment only, or a wrong option), CheckFailed (it cannot be rolled out, or the
    program refuses it), Unreachable, LostRace, Unusable.
    """
    how.check(deployment, _owner(deployment))
    return _planned(deployment, engine)


def _planned(deployment: Deployment, engine: Engine) -> Plan:
    owner = _owner(deployment)
    return plan(engine.preview(), owner, engine.needs(), deployment.name)


def _owner(deployment: Deployment) -> Colour:
    """The owner, beside which there is a standby."""
    name = deployment.name
    if len(deployment.stack.airflow_environments) == 1:
        raise UsageError(
            f"stack {name} has one environment: a rollout needs two. `pulumi up` updates the only one, and "
            "interrupts its work. To add another, before you change anything else: pulumi config set "
            f"enable_blue_green true -s {name} && pulumi up -s {name}"
        )
    owner = newest_owner(deployment.ownership.read().timeline)
    if owner is None:
        raise Unusable(
            f"{named(None)} owns the work: name the one that is to own it: mwaactl switch blue -s {name}"
        )
    return owner


def event_of(planned: Plan) -> Event:
    """The plan, as the first event tells it."""
    return Event(
        at=clock.now(), stage="plan", text=_summary(planned), owner=planned.owner, steps=planned.steps
    )


def roll_out(
    opened: Callable[[], Deployment],
    engine: Engine,
    how: How,
    *,
    on_event: Callable[[Event], None] = lambda _: None,
    on_plan: Callable[[Plan], None] = lambda _: None,
) -> None:
    """Apply what the stack's configuration and the program ask for; the owner is touched by nothing.

    `opened` reads the stack's outputs anew. `on_plan` is called once, before anything is touched, and may
    raise. Raises as `look`, and Unfinished or LostRace: then the message says what stands and how to go on.
    """
    _Rollout(opened, engine, how, on_event, on_plan).run()


class _Rollout:
    def __init__(
        self,
        opened: Callable[[], Deployment],
        engine: Engine,
        how: How,
        on_event: Callable[[Event], None],
        on_plan: Callable[[Plan], None],
    ) -> None:
        self._opened, self._engine, self._how = opened, engine, how
        self._on_event, self._on_plan = on_event, on_plan
        self._deployment = opened()
        self._decided = 0  # the version of the newest decision about all DAGs, as far as it is ours
        self._owner: Colour | None = None
        self._applied: set[Colour] = set()  # the owners beside whom the rest was brought up to date
        self._home: Colour | None = None  # where --return takes the work
        self._first: Colour | None = None  # whose the DAGs of --canary may be, until the rest follows
        self._moved: Sequence[CanaryStep] = ()  # them, once they have done well
        self._waiting = ""
        self._begun = False
        self._touched = False  # whether this command has changed anything

    def run(self) -> None:
        try:
            self._run()
        except KeyboardInterrupt as error:
            raise self._explained(self._unwatched(Unfinished("interrupted"))) from error
        except CanaryFailed:
            raise
        except LostRace as error:
            if not self._touched:
                raise
            stands = f"{error}. What this rollout has done until then stands"
            raise LostRace(stands, beside=error.beside) from error
        except ControlError as error:
            # Before anything is touched, a wrong option or an unusable stack is no half-done rollout.
            if not self._touched and (not self._begun or isinstance(error, (UsageError, Unusable))):
                raise
            raise self._explained(self._unwatched(error)) from error

    def _run(self) -> None:
        # Before the preview, which takes minutes: a switch meanwhile is seen.
        began = self._decided = self._deployment.ownership.read().timeline.owners[-1].version
        planned = look(self._deployment, self._engine, self._how)
        self._read()
        self._owner = self._home = planned.owner
        # What changes the owner begins anew; an interrupted rollout has left the owner up to date.
        returning = is_to_return(self._deployment.ownership, began)
        if returning and self._how.back and not planned.rest:
            self._home = planned.standby
        self._on_event(event_of(planned))
        self._on_plan(planned)
        self._begun = True
        while not self._pass(planned):
            planned = _planned(self._deployment, self._engine)
        if self._how.back and self._owner != self._home:
            self._switch(self._home)
        elif returning:
            record_that_it_stays(self._deployment.ownership, began, self._owner)
        self._say("done", f"everything is applied, and {self._owner} owns the work")

    def _pass(self, planned: Plan) -> bool:
        """Go one part further; whether that was the last."""
        self._close_books(planned)
        if planned.first and planned.owner not in self._applied:
            self._apply(planned, whole=not planned.rest)
            return not planned.rest
        if planned.rest:
            if len(self._applied) > 1:
                names = ", ".join(map(str, planned.rest))
                raise Unfinished(f"these steps come back in each preview: {names}")
            self._applied.add(planned.owner)
            self._switch(planned.standby)
            return False
        self._apply(planned, whole=True)  # of the outputs: an earlier one may have been cut short
        return True

    # --- the parts ---

    def _close_books(self, planned: Plan) -> None:
        """End a switch that somebody (or a rollout that was killed) has left unfinished."""
        timeline, standby = self._read().timeline, planned.standby
        books = timeline.drains(standby)
        updated = any(step.side == "standby" for step in planned.first)
        if not any(book.dag_id is None for book in books):  # of a switch of all DAGs: held ones follow
            if updated and (alone := apart(timeline, standby)):
                raise refuse_update(standby, alone, self._deployment.name)
            if planned.rest:
                self._refuse_to_follow(timeline, standby)
        if books:
            # Of single DAGs, no other moves: somebody may be watching what the standby owns.
            single = [book.dag_id for book in books if book.dag_id is not None]
            self._drain(planned.owner, single if len(single) == len(books) else ())
        if updated and (open_books := self._read().timeline.drains(planned.owner)):
            alone = sorted(book.dag_id for book in open_books if book.dag_id)
            raise refuse_update(standby, alone, self._deployment.name)

    def _refuse_to_follow(self, timeline: Timeline, target: Colour) -> None:
        refuse_to_follow(timeline, target, self._first_of(target), self._deployment.name)

    def _first_of(self, target: Colour) -> Canary | None:
        """What moves to this side before the rest: nothing, if that is the return."""
        return None if self._how.back and target == self._home else self._how.canary

    def _apply(self, planned: Plan, *, whole: bool) -> None:
        standby, steps = planned.standby, planned.first
        await_settled(self._deployment, standby, self._how.limit, self._wait)
        self._read()
        what = f"{_counted(steps)}" if steps else "the outputs"
        left = "" if whole else f", without {planned.owner}"
        self._say("apply", f"pulumi up: {what}{left}")
        self._applied.add(planned.owner)
        self._touched = True

        def begun(change: Change) -> None:
            self._say("step", f"{change.action} {change.type.rpartition(':')[2]} {change.name}")

        alone = () if whole else (planned.owner,)
        try:
            self._engine.update(alone, planned.owners if alone else (), begun)
        except Unfinished:
            self._read()  # the guard may have refused it because of a switch: then that is what to tell
            raise
        self._deployment = self._opened()

    def _switch(self, target: Colour) -> None:
        """Wait until `target` can take the work, give it, and wait until the other side has drained."""
        switch = self._ready(target)
        self._say("ready", f"{target} passes {len(switch.checks)} checks, and its gate is proven")
        # Of the plan's own snapshot: what is written is based on it, or loses the race.
        self._refuse_to_follow(switch.before.timeline, target)
        first = self._first_of(target)
        if first is not None and not switch.continues:
            self._go_first(target, first)
            switch = self._ready(target)
            self._refuse_to_follow(switch.before.timeline, target)
        self._read()
        reason = RETURNS if self._how.back and target != self._home else REASON
        if self._how.reason:
            reason += f": {self._how.reason}"
        result = carry_out(switch, reason=reason)
        if result.changed and not switch.continues:
            self._decided = result.version
        self._owner, self._first, self._touched = target, None, True
        held = f"; held until idle: {', '.join(dag.dag_id for dag in result.held)}" if result.held else ""
        self._say("switch", f"{target} owns what is due from now on (version {result.version}){held}")
        self._drain(target)

    def _ready(self, target: Colour) -> SwitchPlan:
        self._wait(f"until {target} is ready to take the work")
        return await_ready(
            self._deployment, target, force=self._how.force, limit=self._how.limit, on_wait=self._wait
        )

    def _go_first(self, target: Colour, canary: Canary) -> None:
        """Move some DAGs and watch them; returns if all may follow."""

        def note(soak: Soak, left: timedelta) -> None:
            self._say("canary", f"{soak}; {left.total_seconds():.0f} s left")

        self._read()
        self._first, self._touched = target, True
        try:
            self._moved = progress(
                self._deployment,
                target,
                canary,
                force=self._forced,
                reason=f"{REASON}: {self._how.reason}" if self._how.reason else REASON,
                on_look=note,
            )
        except CheckFailed as error:
            home = other_colour(target)
            raise CanaryFailed(
                f"{error}. {target} is up to date, and {home} owns the work as before. Mend it, or undo the "
                f"change, then: {self._again}",
                beside=error.beside,
            ) from error
        self._read()

    def _drain(self, target: Colour, dags: Sequence[str] = ()) -> None:
        source = other_colour(target)

        def report(progress: DrainProgress) -> None:
            if progress.trouble:
                self._wait(f"{source} to drain: {progress.trouble}")
                return
            count = sum(progress.draining.values())
            self._wait(f"{source} to drain: {count} unfinished, {len(progress.held)} held")

        limit = self._how.drain
        done = wait_until_drained(
            self._deployment,
            target,
            dags=dags,
            force=self._how.force,
            timeout=None if limit is None else limit.total_seconds(),
            decided=self._decided,
            on_change=report,
        )
        if not done.finished:
            raise Unfinished(f"{source} has not drained")
        self._say("drain", f"{source} has drained, and its books are closed")

    # --- what stands ---

    def _read(self) -> Snapshot:
        """The ownership. Raises LostRace if somebody else has decided about all DAGs meanwhile."""
        snapshot = self._deployment.ownership.read()
        if snapshot.timeline.owners[-1].version != self._decided:
            owns = named(newest_owner(snapshot.timeline))
            raise LostRace(
                f"another operator, or another rollout, has switched meanwhile: {owns} owns the work. Look "
                f"(mwaactl history -s {self._deployment.name}), then repeat: {self._again}"
            )
        return snapshot

    @property
    def _forced(self) -> frozenset[str]:
        """The checks that do not stop the first DAGs, nor their way back."""
        return frozenset({*self._how.force, DIFFERS})

    @property
    def _again(self) -> str:
        """The command that goes on, with all that the outcome depends on."""
        config = self._engine.config_file
        options = [*(["--config-file", config] if config else []), *self._how.options]
        return shlex.join(["mwaactl", "rollout", *options, "-s", self._deployment.name])

    def _unwatched(self, error: ControlError) -> ControlError:
        """The error; with the first DAGs, if they have done well and the rest has not followed."""
        if self._first is None or not self._moved or isinstance(error, Away):
            return error
        return Away(str(error), self._deployment, self._first, self._moved, self._forced)

    def _explained(self, error: ControlError) -> Unfinished:
        why = str(error)
        if not self._begun:
            return Unfinished(f"{why} before anything was touched. To begin again: {self._again}")
        first = f" ({self._first} perhaps the first DAGs)" if self._first else ""
        stands = f"{named(self._owner)} owns the work{first}, and nothing that owns work was touched"
        return Unfinished(f"{why}. {stands}. To go on: {self._again}", beside=error.beside)

    def _wait(self, text: str) -> None:
        if text != self._waiting:
            self._waiting = text
            self._say("wait", text)

    def _say(self, stage: Stage, text: str) -> None:
        self._on_event(Event(at=clock.now(), stage=stage, text=text, owner=self._owner))


def _summary(planned: Plan) -> str:
    if not planned.steps:
        return f"nothing changes; {planned.owner} owns the work"
    if not planned.rest:
        return f"{_counted(planned.first)}; nothing of {planned.owner}, which owns the work, changes"
    first = _counted(planned.first) if planned.first else f"{planned.standby} is up to date"
    return f"{first}; then a switch to {planned.standby}; then {_counted(planned.rest)} of {planned.owner}"


def _counted(steps: Collection[Step]) -> str:
    return "1 step" if len(steps) == 1 else f"{len(steps)} steps"
