"""The two parameters that record which environment owns the work, and their names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import pulumi
import pulumi_aws as aws
from bluegreen.document import dump
from bluegreen.timeline import EPOCH, Colour, Timeline

from components.config.settings import Settings

INITIAL_OWNER: Final[Colour] = "blue"  # the environment of every mode


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
        path = f"{settings.project}/{settings.stack}"
        return cls(
            ownership_parameter=f"/{path}/ownership",
            active_environment_parameter=f"/{path}/active-environment",
            connections_prefix=settings.connections_prefix or f"{path}/connections",
            variables_prefix=settings.variables_prefix or f"{path}/variables",
        )


@dataclass(frozen=True, kw_only=True)
class OwnershipArgs:
    """`names`: the stack's; `life`: of the initial owner; `lead`: of switches."""

    names: Names
    life: pulumi.Input[str]
    lead: timedelta


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
            value=pulumi.Output.from_input(args.life).apply(
                lambda life: dump(Timeline.initial(INITIAL_OWNER, life, args.lead), EPOCH).value
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                # Each switch writes both; these are the initial ones.
                ignore_changes=["value", "description"],
            ),
        )
        active = aws.ssm.Parameter(
            f"{name}-active",
            name=args.names.active_environment_parameter,
            type=aws.ssm.ParameterType.STRING,
            description="The active Airflow environment, blue or green, for systems that trigger runs",
            value=INITIAL_OWNER,
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["value"],  # follows each switch, like the timeline
            ),
        )
        self.parameter = timeline.name
        self.active_environment_parameter = active.name
        self.register_outputs({"parameter": self.parameter, "active": self.active_environment_parameter})
