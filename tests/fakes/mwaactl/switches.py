"""Switches as the commands of `mwaactl` plan and carry them out."""

from __future__ import annotations

from typing import Any

from bluegreen.timeline import Colour

from mwaactl.switching.plan import SwitchPlan, plan
from mwaactl.switching.write import SwitchResult, carry_out
from tests.fakes.aws.clients import FakeClients, deployment


def planned(aws: FakeClients, target: Colour = "green", *dags: str, **options: Any) -> SwitchPlan:
    """A switch to `target`, of these DAGs only if any are named."""
    return plan(deployment(aws), target, dags=dags or None, **options)


def switched(aws: FakeClients, target: Colour = "green", *dags: str, **options: Any) -> SwitchResult:
    return carry_out(planned(aws, target, *dags, **options))


def check_of(switch: SwitchPlan, name: str) -> tuple[str, str]:
    """Result and detail of one of the plan's checks."""
    return next((check.result, check.detail) for check in switch.checks if check.name == name)
