"""Giving DAGs back to the side that they have just left, whatever the checks say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from bluegreen.timeline import Colour

from mwaactl.checks.target import AVAILABLE_CHECK
from mwaactl.deployment import Deployment
from mwaactl.errors import LostRace
from mwaactl.ownership.parameter import Snapshot
from mwaactl.switching.plan import SwitchPlan, plan
from mwaactl.switching.write import SwitchResult, carry_out

ATTEMPTS = 5  # at a decision that other writers are faster than


def bring_back(
    deployment: Deployment,
    home: Colour,
    dags: Iterable[str],
    *,
    reason: str,
    force: Collection[str] = (),
    hold: Collection[str] = (),
    agree: Callable[[Snapshot], None] = lambda _: None,
) -> tuple[SwitchPlan, SwitchResult, tuple[str, ...]]:
    """Switch these DAGs to `home`: the plan as it was carried out, the result, and the checks it forced.

    `agree` is called with what the ownership is before each attempt, and may raise. Raises as `carry_out`.
    """
    for attempt in range(ATTEMPTS):
        planned = plan(deployment, home, dags=dags, force=force, hold=hold)
        agree(planned.before)
        failed = tuple(check.name for check in planned.checks if check.stops)
        checks = tuple(
            check.model_copy(update={"forced": check.forced or check.name in failed})
            for check in planned.checks
        )
        # The status of home is looked at once more before the write.
        planned = replace(planned, checks=checks, forced=planned.forced | {*failed, AVAILABLE_CHECK})
        try:
            return planned, carry_out(planned, reason=reason), failed
        except LostRace:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
