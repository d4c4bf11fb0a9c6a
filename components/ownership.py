"""Which environment owns the work: the two parameters that say so, and the guard of the one that does.

The guard compares what the stack has (its own previous outputs) with what this run of the program would make.
Without it, `pulumi up` could remove or replace the very Airflow environment that is at work.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
import pulumi_aws as aws
from bluegreen.timeline import Timeline, TimelineError, valid

from components.settings import COLOURS, Settings

READ_ATTEMPTS = 20
READ_PAUSE_SECONDS = 0.1
Identity = Mapping[str, Any]


@dataclass(frozen=True)
class Names:
    """Physical names that Airflow, operators and other systems must know."""

    ownership_parameter: str
    active_environment_parameter: str
    connections_prefix: str
    variables_prefix: str

    @classmethod
    def of(cls, settings: Settings) -> Names:
        """The names of one stack."""
        place = f"{settings.project}/{settings.stack}"
        return cls(
            ownership_parameter=f"/{place}/ownership",
            active_environment_parameter=f"/{place}/active-environment",
            connections_prefix=f"{place}/connections",
            variables_prefix=f"{place}/variables",
        )


@dataclass(frozen=True, kw_only=True)
class OwnershipArgs:
    """`names`: the stack's."""

    names: Names


class Ownership(pulumi.ComponentResource):
    """The ownership timeline, and the plain name of the active environment for other systems."""

    parameter: pulumi.Output[str]
    active_environment_parameter: pulumi.Output[str]

    def __init__(self, name: str, args: OwnershipArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Ownership", name, None, opts)
        timeline = aws.ssm.Parameter(
            name,
            name=args.names.ownership_parameter,
            type=aws.ssm.ParameterType.STRING,
            description="Which Airflow environment owns the work, and from when on; written by mwaactl",
            value=Timeline.initial().dump(),
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["value", "description"],  # each switch writes both; ours is the beginning
            ),
        )
        active = aws.ssm.Parameter(
            f"{name}-active",
            name=args.names.active_environment_parameter,
            type=aws.ssm.ParameterType.STRING,
            description="The active Airflow environment, blue or green, for systems that trigger runs",
            value=Timeline.initial().owners[0].owner,
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["value"],  # follows each switch, like the timeline
            ),
        )
        self.parameter = timeline.name
        self.active_environment_parameter = active.name
        self.register_outputs({"parameter": self.parameter, "active": self.active_environment_parameter})


def previous_outputs() -> Mapping[str, Any]:
    """The outputs that this stack had before this run; empty on its first deployment.

    The engine answers, on every backend, from the state that it works on. Raises pulumi.RunError.
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
                raise pulumi.RunError(f"cannot read the present outputs of {stack}: {error}") from error
            # A file backend may be writing the state at this very moment: "failed to load checkpoint: EOF".
            time.sleep(READ_PAUSE_SECONDS)
    return (answer or {}).get("outputs") or {}


def guard(settings: Settings, previous: Mapping[str, Any], planned: Mapping[str, Identity]) -> None:
    """Stop the program if it would take away an environment that owns work, now or from a planned instant on.

    `planned` has the identity of each environment that this run would make. Raises pulumi.RunError naming the
    commands that put it right. Reads the ownership parameter only if an environment is touched at all.
    """
    touched = touched_environments(previous, planned)
    parameter = previous.get("ownership_parameter")
    if not touched or not parameter:
        return
    try:
        found = aws.ssm.get_parameter(name=parameter)
        lead = timedelta(seconds=settings.switch_lead_seconds)
        owning = owners(found.value, int(found.version), datetime.now(UTC), lead)
    except Exception as error:  # an invoke raises nothing narrower
        lines = [
            f"{parameter} cannot tell whether an environment that owns work would be taken away:",
            *(f"  {colour} would be {change}" for colour, change in touched.items()),
            f"  {error}",
            f"See what it holds:  mwaactl status -s {settings.stack}",
            f"Make it valid again, naming who is to own the work:  mwaactl switch blue -s {settings.stack}",
            f"If it was deleted:  pulumi refresh -s {settings.stack}",
        ]
        raise pulumi.RunError("\n".join(lines)) from error
    wrong = violations(touched, owning, existing=_identities(previous), stack=settings.stack)
    if wrong:
        raise pulumi.RunError("\n".join(wrong))


def touched_environments(previous: Mapping[str, Any], planned: Mapping[str, Identity]) -> dict[str, str]:
    """Each existing environment that would not stay as it is, with what would happen to it."""
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
    """Who owns any DAG's work at `now` or at a planned later instant, by the parameter's value and version.

    Raises TimelineError if that version is not valid.
    """
    timeline = Timeline.parse(value)
    if not valid(timeline, version):
        raise TimelineError(
            f"version {version} was written upon version {timeline.base_version}: a lost race"
        )
    entries = [*timeline.owners, *(entry for line in timeline.dags.values() for entry in line)]
    # A switch may begin up to its lead later than it says, so who owned just before still counts.
    instants = [now - lead, now, *(entry.since for entry in entries if entry.since > now)]
    return {timeline.owner(instant, dag) for instant in instants for dag in (None, *timeline.dags)}


def violations(
    touched: Mapping[str, str], owning: Collection[str], *, existing: Collection[str], stack: str
) -> list[str]:
    """Which owner would be taken away and the commands that put it right, as lines; none if all is well."""
    lines = []
    for colour in COLOURS:
        if colour not in touched or colour not in owning:
            continue
        other = next(each for each in COLOURS if each != colour)
        lines.append(f"{colour} owns work and would be {touched[colour]}.")
        if other not in existing:
            lines += [
                "There is no environment to take it over. Undo the change, add one and move the work:",
                f"  pulumi config set enable_blue_green true -s {stack}",
                f"  pulumi up -s {stack}",
                f"  mwaactl switch {other} -s {stack}",
                "and then make the change again.",
            ]
        elif other in touched:
            lines += [
                f"{other} cannot take it over, since it would be {touched[other]}. Undo the change.",
                "A new airflow_version can be given to one environment after the other, the standby first:",
                f"  pulumi config set --path {other}.airflow_version <version> -s {stack}",
                "Anything else that replaces an environment is for a stack of its own.",
            ]
        else:
            lines += [
                "Move the work, then again:",
                f"  mwaactl switch {other} -s {stack}",
                f"  pulumi up -s {stack}",
            ]
    return lines


def _identities(previous: Mapping[str, Any]) -> dict[str, Identity]:
    environments = previous.get("airflow_environments") or {}
    return {colour: outputs.get("identity") or {} for colour, outputs in environments.items()}


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)  # the engine keeps numbers as floats
