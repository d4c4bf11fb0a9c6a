"""The rollout as a Python API. It keeps no state of its own.

What remains is what the engine's preview says; who owns the work is what the ownership timeline says; whether
the other side may be touched is what its books say. So a rollout that was killed goes on where it was when it
is repeated. Nothing here prints or asks.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from bluegreen.timeline import Colour, other_colour

from mwaactl import clock
from mwaactl.canary.progressive import Canary, progress
from mwaactl.canary.soak import Soak
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable, Unusable, UsageError
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import Snapshot
from mwaactl.ownership.reading import named, newest_owner
from mwaactl.rollout.engine import Change, Engine
from mwaactl.rollout.plan import Plan, Step, plan
from mwaactl.rollout.ready import DIFFERS, await_ready, await_settled
from mwaactl.switching.drain import DrainProgress, wait_until_drained
from mwaactl.switching.plan import SwitchPlan
from mwaactl.switching.write import carry_out

REASON = "rollout"
RETURNS = f"{REASON}, and back"  # in the history: a rollout that is to return the work

Stage = Literal["plan", "apply", "step", "wait", "ready", "canary", "switch", "drain", "done"]


class Event(Model):
    """What has begun or happened; `steps` with "plan" alone."""

    at: Instant
    stage: Stage
    text: str
    owner: Colour | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class How:
    """How to roll out.

    `limit`: of each wait for Amazon and the standby; `drain`: of each drain, None: no limit.
    """

    back: bool = False
    force: Collection[str] = ()
    limit: timedelta = timedelta(hours=1)
    drain: timedelta | None = None
    reason: str = ""
    canary: Canary | None = None


class CanaryFailed(CheckFailed):
    """The first DAGs did badly and are back, or could not be moved: what stands is said."""


def look(deployment: Deployment, engine: Engine) -> Plan:
    """What a rollout would do now; nothing is touched.

    Raises UsageError (one environment only), CheckFailed (it cannot be rolled out, or the program refuses
    it), Unreachable, LostRace, Unusable.
    """
    if len(deployment.stack.airflow_environments) == 1:
        raise UsageError(
            f"stack {deployment.name} has one environment: a rollout needs two. `pulumi up` updates the only "
            "one, and interrupts its work. To add another: pulumi config set enable_blue_green true -s "
            f"{deployment.name} && pulumi up -s {deployment.name}"
        )
    owner = _owner(deployment.ownership.read(), deployment.name)
    return plan(engine.preview(), owner, engine.needs(), deployment.name)


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
    raise. Raises as `look`, and Unfinished: then the message says what stands and how to go on.
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
        self._waiting = ""
        self._begun = False

    def run(self) -> None:
        try:
            self._run()
        except KeyboardInterrupt as error:
            raise self._explained("interrupted") from error
        except (CheckFailed, Unreachable, Unfinished) as error:
            if not self._begun or isinstance(error, CanaryFailed):
                raise
            raise self._explained(str(error)) from error

    def _run(self) -> None:
        # Before the preview, which takes minutes: a switch meanwhile is seen.
        self._decided = self._deployment.ownership.read().timeline.owners[-1].version
        planned = look(self._deployment, self._engine)
        self._read()
        self._owner = planned.owner
        home = self._home(planned.owner)
        self._on_event(event_of(planned))
        self._on_plan(planned)
        self._begun = True
        while not self._pass(planned):
            planned = look(self._deployment, self._engine)
        if self._how.back and self._owner != home:
            self._switch(home)
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
        timeline = self._read().timeline
        books = timeline.drains(planned.standby)
        unfinished = any(book.dag_id is None for book in books)  # a switch of all DAGs: held ones follow
        alone = [dag for dag in sorted(timeline.dags) if newest_owner(timeline, dag) == planned.standby]
        if alone and not unfinished and any(step.side == "standby" for step in planned.first):
            self._refuse_alone(planned, alone)
        if books:
            self._drain(planned.owner)
        if planned.first and timeline.drains(planned.owner):
            self._refuse_alone(
                planned, sorted(book.dag_id for book in timeline.drains(planned.owner) if book.dag_id)
            )

    def _refuse_alone(self, planned: Plan, dags: Collection[str]) -> None:
        raise UsageError(
            f"{planned.standby} owns {', '.join(dags)}, so it cannot be updated. Bring them back first: "
            f"mwaactl switch {planned.owner} --wait -s {self._deployment.name}"
        )

    def _apply(self, planned: Plan, *, whole: bool) -> None:
        standby, steps = planned.standby, planned.first
        await_settled(self._deployment, standby, self._how.limit, self._wait)
        self._read()
        what = f"{_counted(steps)}" if steps else "the outputs"
        left = "" if whole else f", without {planned.owner}"
        self._say("apply", f"pulumi up: {what}{left}")
        self._applied.add(planned.owner)

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
        if self._how.canary is not None and not switch.already and self._way_out(target):
            self._go_first(target, self._how.canary)
            switch = self._ready(target)
        self._read()
        reason = RETURNS if self._how.back and self._way_out(target) else REASON
        if self._how.reason:
            reason += f": {self._how.reason}"
        result = carry_out(switch, reason=reason)
        if result.changed and not switch.continues:
            self._decided = result.version
        self._owner = target
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
        try:
            progress(
                self._deployment,
                target,
                canary,
                force={*self._how.force, DIFFERS},
                reason=f"{REASON}, canary",
                on_look=note,
            )
        except CheckFailed as error:
            home = other_colour(target)
            raise CanaryFailed(
                f"{error}. {target} is up to date, and {home} owns the work as before. Mend it, or undo the "
                f"change, then: {self._again}"
            ) from error
        self._read()

    def _drain(self, target: Colour) -> None:
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
            timeout=limit.total_seconds() if limit else None,
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

    def _home(self, owner: Colour) -> Colour:
        """Where --return takes the work: of an interrupted rollout, to where it began."""
        if not self._how.back:
            return owner
        why = next(
            (v.description for v in self._deployment.ownership.versions() if v.number == self._decided), ""
        )
        return other_colour(owner) if f": {RETURNS}" in why else owner

    def _way_out(self, target: Colour) -> bool:
        """Whether the switch to `target` is no return."""
        return self._home(other_colour(target)) == other_colour(target)

    @property
    def _again(self) -> str:
        """The command that goes on, with all that the outcome depends on."""
        how, config = self._how, self._engine.config_file
        options = [
            *(["--config-file", config] if config else []),
            *(["--return"] if how.back else []),
            *(word for name in sorted(how.force) for word in ("--force", name)),
            *(how.canary.options if how.canary else ()),
        ]
        return shlex.join(["mwaactl", "rollout", *options, "-s", self._deployment.name])

    def _explained(self, why: str) -> Unfinished:
        stands = f"{named(self._owner)} owns the work, and nothing that owns work was touched"
        return Unfinished(f"{why}. {stands}. To go on: {self._again}")

    def _wait(self, text: str) -> None:
        if text != self._waiting:
            self._waiting = text
            self._say("wait", text)

    def _say(self, stage: Stage, text: str) -> None:
        self._on_event(Event(at=clock.now(), stage=stage, text=text, owner=self._owner))


def _owner(snapshot: Snapshot, name: str) -> Colour:
    owner = newest_owner(snapshot.timeline)
    if owner is None:
        raise Unusable(
            f"{named(None)} owns the work: name the one that is to own it: mwaactl switch blue -s {name}"
        )
    return owner


def _summary(planned: Plan) -> str:
    if not planned.steps:
        return f"nothing changes; {planned.owner} owns the work"
    if not planned.rest:
        return f"{_counted(planned.first)}; nothing of {planned.owner}, which owns the work, changes"
    first = _counted(planned.first) if planned.first else f"{planned.standby} is up to date"
    return f"{first}; then a switch to {planned.standby}; then {_counted(planned.rest)} of {planned.owner}"


def _counted(steps: Collection[Step]) -> str:
    return "1 step" if len(steps) == 1 else f"{len(steps)} steps"
