"""A rehearsal: a whole switch, there and back, of the probe alone. No DAG of the user's changes its owner.

It keeps no state of its own. What the ownership timeline says of the probe tells how far an interrupted one
has come: the same command goes on from there, or brings the probe home. Once the probe has left home it is
brought back, whatever fails; only a parameter that cannot be written prevents that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from bluegreen.proof import PROBE
from bluegreen.timeline import REMEMBERED, Colour, other_colour

from mwaactl import clock
from mwaactl.acceptance.execution import Execution, WrongRun, execution_since
from mwaactl.acceptance.readiness import readiness
from mwaactl.checks.outcome import Check
from mwaactl.checks.probe import proof_of, read_probe
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable, Unusable, UsageError
from mwaactl.json_model import Model, iso
from mwaactl.ownership.parameter import Snapshot, aws_now
from mwaactl.ownership.reading import named, newest_owner
from mwaactl.recovery.audit import audit
from mwaactl.switching.bring_back import bring_back
from mwaactl.switching.drain import wait_until_drained
from mwaactl.switching.plan import SwitchPlan, plan
from mwaactl.switching.write import carry_out

POLL = 3.0  # seconds between two looks at the probe's runs
GRACE = timedelta(minutes=2)  # for a run that is due to be executed
STOPPED = timedelta(seconds=30)  # for closing the books when the operator has interrupted the command


class Step(Model):
    """One step. "skipped": not taken, because an earlier one failed."""

    name: str
    result: Literal["pass", "fail", "skipped"]
    detail: str


class Rehearsal(Model):
    """What a rehearsal showed. `home`: the side that owns the work; `other`: where the probe was."""

    stack: str
    home: Colour
    other: Colour
    dry_run: bool = False
    resumed: bool = False  # an interrupted rehearsal went on
    steps: tuple[Step, ...] = ()
    executions: tuple[Execution, ...] = ()  # of the probe: on the other side, then at home
    checks: tuple[Check, ...] = ()  # before it left home; none if it had left already
    checks_back: tuple[Check, ...] = ()  # before it came back

    @property
    def ok(self) -> bool:
        return all(step.result == "pass" for step in self.steps)


def rehearse(
    deployment: Deployment,
    *,
    reason: str = "",
    force: tuple[str, ...] = (),
    dry_run: bool = False,
    timeout: float | None = None,
    on_step: Callable[[Step], None] = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Rehearsal:
    """Move the probe to the other side and back, and audit it. A proof that fails is a step that fails.

    `force` names checks to override; `timeout` (seconds) limits each wait; by default, two periods of the
    probe and two minutes. `on_step` is called after each step, `on_wait` with what is being waited for.
    Raises UsageError (one environment only), Unreachable and LostRace (nothing was written, or someone else
    has decided since), Unfinished (the probe is not home, or its books are open; the message says how to go
    on), Unusable.
    """
    return _Rehearsal(deployment, reason, force, timeout, on_step, on_wait).run(dry_run)


class _Stop(Exception):  # noqa: N818 - no error: the rest is not taken
    """A step failed."""


class _Rehearsal:
    def __init__(
        self,
        deployment: Deployment,
        reason: str,
        force: tuple[str, ...],
        timeout: float | None,
        on_step: Callable[[Step], None],
        on_wait: Callable[[str], None],
    ) -> None:
        self._deployment, self._reason, self._force = deployment, reason, force
        self._on_step, self._on_wait = on_step, on_wait
        limit = 2 * deployment.stack.probe_period + GRACE
        self._limit = limit if timeout is None else timedelta(seconds=timeout)
        snapshot = deployment.ownership.read()
        home = newest_owner(snapshot.timeline)
        if home is None:
            raise Unusable(f"{named(None)} owns the work: name the one that is to own it with mwaactl switch")
        deployment.stack.require(other_colour(home))
        self._home, self._other = home, other_colour(home)
        self._decided = snapshot.timeline.owners[-1].version  # the newest decision about all DAGs
        self._away = newest_owner(snapshot.timeline, PROBE) == self._other  # or has been, in this rehearsal
        self._since = self._begin(snapshot)  # from when on what the probe did is audited
        self._result = Rehearsal(stack=deployment.name, home=home, other=self._other, resumed=self._away)

    @property
    def _again(self) -> str:
        return f"mwaactl rehearse -s {self._deployment.name}"

    def run(self, dry_run: bool) -> Rehearsal:
        if dry_run:
            checks = () if self._away else readiness(self._deployment, self._plan(self._other))
            return self._result.model_copy(update={"checks": checks, "dry_run": True})
        if not self._away and self._returning():
            self._drain("settle", self._home, self._limit)  # an interrupted one was on its way home
            self._result = self._result.model_copy(update={"resumed": True})
        try:
            self._go_there()
            if self._away:
                self._come_home()
        except KeyboardInterrupt as error:
            raise self._interrupted() from error
        if self._away:
            self._last_proofs()
        return self._result

    # --- the steps ---

    def _go_there(self) -> None:
        """The way to the other side, and the proof there; a step that fails ends it."""
        try:
            if not self._away:
                self._leave()
            self._drain("drain-home", self._other, self._limit)
            self._since = self._begin()
            self._execution("executed-there", self._other)
        except _Stop:
            return
        except Unreachable as error:
            if not self._away:
                raise
            self._step("executed-there", "fail", str(error))

    def _leave(self) -> None:
        """Check everything, and give the probe to the other side."""
        self._on_wait("the checks")
        planned = self._plan(self._other)
        self._stand_down(planned.before)
        checks = readiness(self._deployment, planned)
        failed = [check.name for check in checks if check.stops]
        if failed == ["gate"] and self._proofs_have_come():
            planned = self._plan(self._other)
            checks = readiness(self._deployment, planned)
            failed = [check.name for check in checks if check.stops]
        self._result = self._result.model_copy(update={"checks": checks})
        if failed:
            self._step("checks", "fail", f"nothing was written: {', '.join(failed)} failed")
            raise _Stop
        self._step("checks", "pass", f"{len(checks)} checks of a move to {self._other}")
        self._since = clock.now()
        result = carry_out(planned, reason=self._reason or "rehearsal")
        self._away = True
        self._step("move-there", "pass", self._owned(self._other, result.owns_from, result.version))

    def _proofs_have_come(self) -> bool:
        """Wait for the first proofs: of a new stack, or since the probe's period has become shorter."""
        deadline, period = clock.now() + self._limit, self._deployment.stack.probe_period
        for colour in (self._home, self._other):
            self._on_wait(f"a proof of {colour}'s gate")
            api = self._deployment.airflow(colour)
            while True:
                snapshot = self._deployment.ownership.read()
                now = aws_now(snapshot, self._deployment.ownership.lead)
                try:
                    probe, runs = api.dag(PROBE), read_probe(api)
                except Unreachable:
                    return False
                proof = proof_of(colour, runs, snapshot.timeline, now, period)
                if proof.proven:
                    break
                if proof.wrong or probe is None or probe.paused or clock.now() >= deadline:
                    return False
                clock.sleep(POLL)
        return True

    def _come_home(self) -> None:
        """Give the probe back, even if checks fail: it is a probe, and its place is where the work is."""
        self._on_wait("the checks of the way back")
        try:
            self._give_back()
        except (Unreachable, Unfinished, CheckFailed) as error:
            raise Unfinished(
                f"the probe ({PROBE}) is on {self._other} and could not be brought home: {error}. No other "
                f"DAG is concerned. To bring it home: {self._again}"
            ) from error
        self._drain("drain-there", self._home, self._limit)

    def _give_back(self) -> None:
        planned, result, failed = bring_back(
            self._deployment,
            self._home,
            (PROBE,),
            reason=self._reason or "rehearsal",
            force=self._force,
            agree=self._stand_down,
        )
        self._result = self._result.model_copy(update={"checks_back": planned.checks})
        if failed:
            self._step(
                "checks-back", "fail", f"{', '.join(failed)} failed; the probe comes home all the same"
            )
        else:
            self._step("checks-back", "pass", f"{len(planned.checks)} checks of a move to {self._home}")
        self._step("move-home", "pass", self._owned(self._home, result.owns_from, result.version))

    def _drain(self, name: str, target: Colour, limit: timedelta) -> None:
        """Wait until the side that the probe has left is drained, and its books are closed."""
        source = other_colour(target)
        self._on_wait(f"{source} to drain")
        try:
            done = wait_until_drained(
                self._deployment,
                target,
                dags=(PROBE,),
                timeout=limit.total_seconds(),
                decided=self._decided,
            )
        except (LostRace, UsageError) as error:
            self._stand_down(self._deployment.ownership.read())
            raise LostRace(
                f"{error}. Another operator has moved the probe meanwhile: {self._again}"
            ) from error
        if done.finished:
            self._step(name, "pass", f"{source} has drained, and its books are closed")
            return
        why = done.trouble or f"{sum(done.draining.values())} unfinished runs"
        text = f"{source} has not drained within {limit.total_seconds():g} s ({why})"
        if target == self._home:
            raise Unfinished(
                f"{text}: the probe is home, but {source}'s books of it are open, so `pulumi up` does not "
                f"touch {source}. To close them: {self._again}"
            )
        self._step(name, "fail", text)
        raise _Stop

    def _execution(self, name: str, owner: Colour) -> None:
        """Wait for a run that its owner executes and the other side skips."""
        idle, deadline = other_colour(owner), clock.now() + self._limit
        self._on_wait(f"the probe's next run on {owner}")
        found, missing = None, ""
        while True:
            try:
                snapshot = self._deployment.ownership.read()
                self._stand_down(snapshot, owner)
                begin = self._begin(snapshot)
                found, missing = execution_since(self._deployment, owner, idle, begin, snapshot.timeline)
            except Unreachable as error:
                missing = str(error)
            except WrongRun as wrong:
                self._step(name, "fail", str(wrong))
                raise _Stop from wrong
            if found is not None:
                executions = (*self._result.executions, found)
                self._result = self._result.model_copy(update={"executions": executions})
                self._step(name, "pass", str(found))
                return
            if clock.now() >= deadline:
                self._step(name, "fail", f"{missing}, {self._limit.total_seconds():g} s after the move")
                raise _Stop
            clock.sleep(POLL)

    def _last_proofs(self) -> None:
        """At home again: the next run there, and the audit of everything since the probe left."""
        try:
            if not self._result.ok:
                self._step("executed-home", "skipped", "an earlier step failed")
            else:
                self._execution("executed-home", self._home)
        except _Stop:
            pass
        except KeyboardInterrupt as error:
            raise Unfinished(
                f"interrupted: the probe is home, and nothing is left open. To rehearse again: {self._again}"
            ) from error
        self._audit(self._since, clock.now())
        with suppress(LostRace, Unreachable, Unfinished):  # the next rehearsal does it
            self._forget()

    def _audit(self, since: datetime, until: datetime) -> None:
        try:
            report = audit(self._deployment, since=since, until=until)
        except Unreachable as error:
            self._step("audit", "fail", f"the probe's runs cannot be audited: {error}")
            return
        wrong = [f"{f.kind}, due {iso(f.due)}: {f.detail}" for f in report.findings if f.dag_id == PROBE]
        wrong += [str(each) for each in report.ungated]
        window = f"between {iso(since)} and {iso(until)}"
        if wrong:
            self._step("audit", "fail", f"{window}: {'; '.join(wrong)}")
        else:
            self._step("audit", "pass", f"every run of the probe due {window} was executed exactly once")

    # --- what stands ---

    def _plan(self, target: Colour) -> SwitchPlan:
        return plan(self._deployment, target, dags=(PROBE,), force=self._force)

    def _begin(self, snapshot: Snapshot | None = None) -> datetime:
        """Since when the probe belongs to where it is now, or from when it will."""
        snapshot = snapshot or self._deployment.ownership.read()
        return snapshot.timeline.newest(PROBE).since

    def _returning(self) -> bool:
        """Whether the probe came home, and what it left behind has not been settled."""
        timeline = self._deployment.ownership.read().timeline
        return any(book.dag_id == PROBE for book in timeline.drains(self._other))

    def _stand_down(self, snapshot: Snapshot, owner: Colour | None = None) -> None:
        """Raise LostRace if another operator has decided about all DAGs, or (`owner`) about the probe."""
        if snapshot.timeline.owners[-1].version != self._decided:
            owns = named(newest_owner(snapshot.timeline))
            raise LostRace(
                f"another operator has switched meanwhile: {owns} owns the work, the probe included, and "
                "that decision stands. The rehearsal ends here; nothing of it is left to undo"
            )
        if owner is not None and newest_owner(snapshot.timeline, PROBE) != owner:
            raise LostRace(
                f"another operator has moved the probe meanwhile. To rehearse again: {self._again}"
            )

    def _forget(self) -> None:
        """Drop the settled rehearsals of more than a week ago: only a switch of all DAGs would."""
        ownership = self._deployment.ownership
        before = ownership.read()
        line = before.timeline.dags.get(PROBE, ())
        horizon = aws_now(before, ownership.lead) - REMEMBERED
        kept = tuple(entry for entry in line if entry.since > horizon or not entry.closed)
        if len(kept) == len(line):
            return
        lines = {name: own for name, own in before.timeline.dags.items() if name != PROBE}
        based = before.timeline.knowing((), before.top, before.top + 1)
        timeline = replace(based, dags=lines | ({PROBE: kept} if kept else {}))
        ownership.write(before, timeline, "mwaactl: forget the rehearsals of more than a week ago")

    def _owned(self, colour: Colour, since: datetime | None, version: int) -> str:
        begin = f" due from {iso(since)} on" if since else ""
        return f"{colour} owns the probe's runs{begin} (version {version})"

    def _step(self, name: str, result: Literal["pass", "fail", "skipped"], detail: str) -> None:
        step = Step(name=name, result=result, detail=detail)
        self._result = self._result.model_copy(update={"steps": (*self._result.steps, step)})
        self._on_step(step)

    def _interrupted(self) -> Unfinished:
        """Bring the probe home after Ctrl-C; return the error that says what stands."""
        try:
            at_home = newest_owner(self._deployment.ownership.read().timeline, PROBE) == self._home
            if not at_home:
                self._give_back()
            if not at_home or self._returning():
                self._drain("drain-there", self._home, STOPPED)
        except (KeyboardInterrupt, CheckFailed, LostRace, Unreachable, Unfinished):
            return Unfinished(
                f"interrupted: the probe ({PROBE}) may be on {self._other}, or {self._other}'s books of it "
                f"open. No other DAG is concerned. To go on, or to bring it home: {self._again}"
            )
        return Unfinished(f"interrupted: the probe is home, and nothing is open. To rehearse: {self._again}")
