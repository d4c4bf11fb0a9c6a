"""Moving some DAGs first, watching them on the other side, and giving them back if they do badly.

It keeps no state: whose the DAGs are, and since when, is in the ownership timeline. The same command,
repeated after an interruption, goes on with the watch from where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bluegreen.proof import PROBE
from bluegreen.timeline import Colour, other_colour

from mwaactl import clock
from mwaactl.canary.soak import Soak, history, look
from mwaactl.checks.outcome import checks_failed, listed
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable, UsageError
from mwaactl.json_model import Model
from mwaactl.ownership.parameter import aws_now
from mwaactl.ownership.reading import newest_owner
from mwaactl.switching.bring_back import bring_back
from mwaactl.switching.drain import wait_until_drained
from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out

PERIOD = 30.0  # seconds between two looks
PATIENCE = 2  # looks in a row that find the side itself unwell, or do not reach it
BACK = timedelta(minutes=10)  # for the drain of what is given back


@dataclass(frozen=True, kw_only=True)
class Canary:
    """What to move first. `dags` by name, or `percents` of the DAGs with a schedule, one step each."""

    dags: tuple[str, ...] = ()
    percents: tuple[int, ...] = ()
    soak: timedelta

    def __post_init__(self) -> None:
        if self.dags and self.percents:
            raise UsageError("--canary names the first DAGs, --canary-percent counts them: use one of both")
        if any(not 0 < each < 100 for each in self.percents) or [*self.percents] != sorted({*self.percents}):
            given = ",".join(map(str, self.percents))
            raise UsageError(f"--canary-percent must be ascending numbers from 1 to 99, not {given}")

    def steps(self, deployment: Deployment, target: Colour) -> Iterator[tuple[str, ...]]:
        """The DAGs that are to be on the target after each step, all of them. Raises Unreachable, UsageError.

        By percent, those whose next run is due first: they are the ones that a soak sees. An interrupted
        command has moved some already, which come before.
        """
        if self.dags:
            yield self.dags
            return
        timeline = deployment.ownership.read().timeline
        dues = {
            dag.dag_id: dag.next_due
            for dag in deployment.airflow(other_colour(target)).dags().values()
            if dag.next_due is not None and not dag.paused and dag.dag_id != PROBE
        }
        if not dues:
            raise UsageError("no DAG has a next run to count percents of: name the first ones with --canary")
        ordered = sorted(dues, key=lambda dag: (newest_owner(timeline, dag) != target, dues[dag], dag))
        for percent in self.percents:
            yield tuple(ordered[: math.ceil(len(ordered) * percent / 100)])


class Step(Model):
    """One step: its DAGs, and what the last look at them showed."""

    dags: tuple[str, ...]
    soak: Soak


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
    nothing was written, or they did badly and are given back: the message says why), LostRace, Unfinished
    (interrupted, or not given back: the message says how to go on), Unreachable, UsageError.
    """
    done: list[Step] = []
    for dags in canary.steps(deployment, target):
        _move(deployment, target, dags, canary, force, reason)
        try:
            soak = _watch(deployment, target, dags, canary.soak, on_look)
        except KeyboardInterrupt as error:
            raise Unfinished(
                f"interrupted, with {listed(dags)} on {target}. Repeat the command to go on, or give them "
                f"back: {_back(deployment, target, dags)}"
            ) from error
        if soak.bad or soak.unseen:
            _give_back(deployment, target, dags, soak, reason)
        done.append(Step(dags=dags, soak=soak))
    return tuple(done)


def _move(
    deployment: Deployment,
    target: Colour,
    dags: Sequence[str],
    canary: Canary,
    force: Collection[str],
    reason: str,
) -> None:
    """Give the DAGs to `target`, those that must not overlap themselves as soon as they are idle."""
    planned = plan(deployment, target, dags=dags, force=force)
    if planned.already:
        return
    if error := checks_failed(planned.checks):
        raise error
    carry_out(planned, reason=reason or "canary")
    wait_until_drained(deployment, target, dags=dags, timeout=canary.soak.total_seconds())
    timeline = deployment.ownership.read().timeline
    if busy := [dag for dag in dags if newest_owner(timeline, dag) != target]:
        raise Unfinished(
            f"not idle within {canary.soak.total_seconds():g} s, so not moved: {listed(busy)}. Repeat the "
            f"command to go on, or give all of them back: {_back(deployment, target, dags)}"
        )


def _watch(
    deployment: Deployment,
    target: Colour,
    dags: Sequence[str],
    length: timedelta,
    on_look: Callable[[Soak, timedelta], None],
) -> Soak:
    """The verdict at the end of the soak, or as soon as it is bad. Raises LostRace, Unreachable."""
    unwell, before = 0, None
    while True:
        try:
            snapshot = deployment.ownership.read()
            if moved := [dag for dag in dags if newest_owner(snapshot.timeline, dag) != target]:
                raise LostRace(
                    f"another operator has moved {listed(moved)} away from {target} meanwhile: that stands"
                )
            now = aws_now(snapshot, deployment.ownership.lead)
            if before is None:
                before = history(deployment, other_colour(target), dags, snapshot.timeline, now)
            soak = look(deployment, target, before, snapshot.timeline, now)
        except Unreachable:
            unwell += 1
            if unwell >= PATIENCE:
                raise
        else:
            unwell = unwell + 1 if soak.problems else 0
            begin = max(snapshot.timeline.newest(dag).since for dag in dags)
            left = begin + length - now
            on_look(soak, max(left, timedelta()))
            if any(dag.result == "bad" for dag in soak.dags) or unwell >= PATIENCE:
                return soak
            if left <= timedelta() and not unwell:
                return soak
        clock.sleep(PERIOD)


def _give_back(deployment: Deployment, target: Colour, dags: Sequence[str], soak: Soak, reason: str) -> None:
    """Give the DAGs back, and raise CheckFailed with why. Raises Unfinished if that did not succeed."""
    home, why = other_colour(target), str(soak)
    try:
        bring_back(deployment, home, dags, reason=f"{reason or 'canary'}: back, {why}"[:200])
        drained = wait_until_drained(deployment, home, dags=dags, timeout=BACK.total_seconds())
    except (Unreachable, CheckFailed, LostRace, Unfinished) as error:
        raise Unfinished(
            f"{why}. Giving {listed(dags)} back to {home} did not succeed: {error}. To repeat it: "
            f"{_back(deployment, target, dags)}"
        ) from error
    except KeyboardInterrupt as error:
        raise Unfinished(
            f"{why}. Interrupted while giving {listed(dags)} back: {_back(deployment, target, dags)}"
        ) from error
    if not drained.finished:
        raise Unfinished(
            f"{why}. Given back to {home}: {listed(dags)}; {target} has not drained within "
            f"{BACK.total_seconds():g} s. To wait for it: {_back(deployment, target, dags)}"
        )
    raise CheckFailed(f"{why}. Given back to {home}: {listed(dags)}. No other DAG has moved")


def _back(deployment: Deployment, target: Colour, dags: Sequence[str]) -> str:
    named = "".join(f" --dag {dag}" for dag in dags)
    return f"mwaactl switch {other_colour(target)} --wait -s {deployment.name}{named}"
