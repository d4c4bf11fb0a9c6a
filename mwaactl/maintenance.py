"""Amazon's weekly maintenance windows: when the next one of each environment begins, and who owns the work.

In a window of two hours Amazon may restart an environment's processes, which ends running tasks:
https://docs.aws.amazon.com/mwaa/latest/userguide/environment-class.html
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from bluegreen.timeline import COLOURS, Colour, other_colour

from mwaactl import clock
from mwaactl.canary.record import doubt
from mwaactl.checks.observation import changed_at, describe
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, Unusable, UsageError
from mwaactl.json_model import Instant, Model, iso
from mwaactl.ownership.reading import newest_owner

LENGTH = timedelta(hours=2)
WEEK = timedelta(days=7)
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
START = re.compile(rf"({'|'.join(DAYS)}):([01]\d|2[0-3]):[0-5]\d")


class Window(Model):
    """The next window of an environment, or the one that is open. `start`: as Amazon has it, in UTC.

    `work`: it has some that would have to leave. It is the owner, owns single DAGs, or has not drained.
    """

    environment: str
    owner: bool
    work: bool
    start: str
    begins: Instant
    ends: Instant


class Maintenance(Model):
    """The windows of a stack, by colour."""

    stack: str
    now: Instant
    windows: dict[Colour, Window]

    @property
    def apart(self) -> bool:
        """Whether there is always one environment outside its window."""
        begins = [window.begins for window in self.windows.values()]
        return len(begins) == 2 and LENGTH <= abs(begins[0] - begins[1]) <= WEEK - LENGTH


def maintenance(deployment: Deployment) -> Maintenance:
    """Raises Unreachable, Unusable."""
    timeline = deployment.ownership.read().timeline
    now, owner = clock.now(), newest_owner(timeline)
    apart = {newest_owner(timeline, dag) for dag in timeline.dags}
    windows = {}
    for colour in COLOURS:
        environment = deployment.stack.airflow_environments.get(colour)
        if environment is None:
            continue
        found = describe(deployment.clients, environment)
        start = str(found.get("WeeklyMaintenanceWindowStart"))
        if START.fullmatch(start) is None:
            raise Unusable(
                f"Amazon reports no maintenance window of {environment.name}, which is "
                f"{found.get('Status')}: repeat this when it is AVAILABLE. To give it one: pulumi config set "
                f"--path {colour}.maintenance_window DAY:HH:MM -s {deployment.name}"
            )
        begins = _next(start, now)
        windows[colour] = Window(
            environment=environment.name,
            owner=colour == owner,
            work=colour == owner or colour in apart or bool(timeline.drains(colour)),
            start=start,
            begins=begins,
            ends=begins + LENGTH,
        )
    return Maintenance(stack=deployment.name, now=now, windows=windows)


def _next(start: str, now: datetime) -> datetime:
    """The begin of the window `DAY:HH:MM` (UTC) that is open at `now`, else of the next one."""
    day, hour, minute = start.split(":")
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    begins = midnight + timedelta(days=DAYS.index(day) - now.weekday(), hours=int(hour), minutes=int(minute))
    while begins + LENGTH <= now:
        begins += WEEK
    while begins - WEEK + LENGTH > now:
        begins -= WEEK
    return begins


def refuge(state: Maintenance, within: timedelta) -> tuple[Colour, Window] | None:
    """Where work has to go, and the window of the side that it leaves, near or open; None: all stays.

    Raises UsageError with one environment only, and CheckFailed if the other's window is near as well.
    """
    if len(state.windows) < 2:
        raise UsageError(
            f"stack {state.stack} has one environment, so its work cannot move. To add another: "
            f"pulumi config set enable_blue_green true -s {state.stack} && pulumi up -s {state.stack}"
        )
    near = {
        colour: window
        for colour, window in state.windows.items()
        if window.work and window.begins <= state.now + within
    }
    for colour, window in near.items():
        target = other_colour(colour)
        if state.windows[target].ends + LENGTH <= window.begins:
            continue  # the other's comes first, and the work has time to leave after it
        if state.windows[target].begins < window.ends:
            raise CheckFailed(
                f"the windows of both environments are near (blue {state.windows['blue'].start}, green "
                f"{state.windows['green'].start}): nothing was moved. Put them on different days: "
                f"pulumi config set --path {target}.maintenance_window DAY:HH:MM -s {state.stack}"
            )
        return target, window
    return None


def refuse_doubtful(deployment: Deployment, target: Colour) -> None:
    """Raise CheckFailed if DAGs that went first to `target` are watched there or did badly; Unreachable."""
    updated = changed_at(describe(deployment.clients, deployment.stack.require(target)))
    ownership = deployment.ownership
    timeline = ownership.read().timeline
    why = doubt(ownership.versions(), timeline, target, updated, deployment.name)
    if why is not None:
        raise CheckFailed(f"nothing was moved: {why}")


def reason_of(owner: Colour, window: Window) -> str:
    """For the history."""
    return f"maintenance window of {owner}, {window.start} UTC, from {iso(window.begins)}"
