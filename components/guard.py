"""The guard: a preview fails if it would remove or replace the Airflow environment that owns work.

It compares the stack's previous outputs with what this run of the program would deploy. Without it,
`pulumi up` could remove the very environment that executes the work.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
import pulumi_aws as aws
from bluegreen.timeline import COLOURS, Timeline, TimelineError, other_colour, valid

from components.config.settings import Settings

READ_ATTEMPTS = 20
READ_PAUSE_SECONDS = 0.1
Identity = Mapping[str, Any]


def previous_outputs() -> Mapping[str, Any]:
    """The stack's outputs before this run; empty on its first deployment.

    On every backend, the engine answers from the state that it is working on. Raises pulumi.RunError.
    """
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    attempts = READ_ATTEMPTS
    while True:
        attempts -= 1
        try:
            answer = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": stack}).value
            break
        except Exception as error:  # an invoke raises nothing narrower
            if not attempts:
                raise pulumi.RunError(f"Cannot read the current outputs of {stack}: {error}") from error
            # A file backend may be writing the state at the moment: "failed to load checkpoint: EOF".
            time.sleep(READ_PAUSE_SECONDS)
    return (answer or {}).get("outputs") or {}


def guard(settings: Settings, previous: Mapping[str, Any], planned: Mapping[str, Identity]) -> None:
    """Stop the program if it would remove or replace an environment that owns work, now or by a decision.

    `planned` has the identity of each environment that this run would deploy. Raises pulumi.RunError with the
    commands that fix it. Reads the ownership parameter only if an environment would be touched.
    """
    touched = touched_environments(previous, planned)
    parameter = previous.get("ownership_parameter")
    if not touched or not parameter:
        return
    try:
        current = aws.ssm.get_parameter(name=parameter)
        lead = timedelta(seconds=settings.switch_lead_seconds)
        owning = owners(current.value, int(current.version), datetime.now(UTC), lead)
    except Exception as error:  # an invoke raises nothing narrower
        lines = [
            f"This change affects an environment that may own work, and {parameter} cannot be read:",
            *(f"  {colour} would be {change}" for colour, change in touched.items()),
            f"  {error}",
            "Inspect the parameter:",
            f"  mwaactl status -s {settings.stack}",
            "If its value is invalid, write a valid one by naming the owner, blue or green:",
            f"  mwaactl switch blue -s {settings.stack}",
            "If it was deleted, undo the change and create it again:",
            f"  pulumi refresh -s {settings.stack}",
            f"  pulumi up -s {settings.stack}",
        ]
        raise pulumi.RunError("\n".join(lines)) from error
    wrong = violations(touched, owning, existing=_identities(previous), stack=settings.stack)
    if wrong:
        raise pulumi.RunError("\n".join(wrong))


def touched_environments(previous: Mapping[str, Any], planned: Mapping[str, Identity]) -> dict[str, str]:
    """Each existing environment that would change, and what would happen to it."""
    touched = {}
    for colour, before in _identities(previous).items():
        after = planned.get(colour)
        if after is None:
            touched[colour] = "removed"
        elif changes := [
            f"{key} {_shown(before[key])} -> {_shown(after.get(key))}"
            for key in before
            if before[key] != after.get(key)
        ]:
            touched[colour] = f"replaced ({', '.join(changes)})"
    return touched


def owners(value: str, version: int, now: datetime, lead: timedelta) -> set[str]:
    """The owners of any DAG's work, now or by a decision, according to the parameter's value and version.

    Raises TimelineError if that version is not valid.
    """
    timeline = Timeline.parse(value)
    if not valid(timeline, version):
        raise TimelineError(f"version {version} is based on version {timeline.base_version}: a lost race")
    entries = [*timeline.owners, *(entry for line in timeline.dags.values() for entry in line)]
    # A switch may take effect up to its lead later than recorded, so the owner just before it still counts.
    instants = [now - lead, now, *(entry.since for entry in entries if entry.since > now)]
    return {timeline.owner(instant, dag) for instant in instants for dag in (None, *timeline.dags)}


def violations(
    touched: Mapping[str, str], owning: Collection[str], *, existing: Collection[str], stack: str
) -> list[str]:
    """Lines that name each owner that would be lost, and the commands that help; empty if there is none."""
    lines = []
    for colour in COLOURS:
        if colour not in touched or colour not in owning:
            continue
        other = other_colour(colour)
        lines.append(f"{colour} owns work and would be {touched[colour]}.")
        if other not in existing:
            lines += [
                f"There is no other environment to take over. Undo the change, add {other} and switch to it:",
                f"  pulumi config set enable_blue_green true -s {stack}",
                f"  pulumi up -s {stack}",
                f"  mwaactl switch {other} -s {stack}",
                "Then make the change again.",
            ]
        elif other in touched:
            lines += [
                f"{other} cannot take over, because it would be {touched[other]}. Undo the change.",
                "To change airflow_version, upgrade one environment at a time, the standby first:",
                f"  pulumi config set --path {other}.airflow_version <version> -s {stack}",
                "Any other change that replaces an environment needs a new stack.",
            ]
        else:
            lines += [
                f"Switch to {other} first, then update again:",
                f"  mwaactl switch {other} -s {stack}",
                f"  pulumi up -s {stack}",
            ]
    return lines


def _identities(previous: Mapping[str, Any]) -> dict[str, Identity]:
    environments = previous.get("airflow_environments") or {}
    return {colour: outputs.get("identity") or {} for colour, outputs in environments.items()}


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)  # the engine stores numbers as floats
