"""Adoption: an environment that exists becomes blue of the stack, in two runs of the engine.

The first imports it and leaves it as it is: it ignores every argument. So does every later run, until
`mwaactl adopt` has copied the DAGs and names the environment in a variable: that run is the one update that
brings in the gate. From then on the environment is one of the stack like any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
from bluegreen.timeline import Colour

from components.airflow.definition import Parts, arguments, as_it_is
from components.airflow.life import OPTION
from components.config.settings import Settings
from components.ownership import Names

VARIABLE = "MWAA_ADOPT_UPDATES"
GATE = f"options.{OPTION}"  # in the record of an environment that has the gate
# What it cannot do without; the engine would send an argument that the environment does not have.
REQUIRED = ("name", "dag_s3_path", "execution_role_arn", "network_configuration", "source_bucket_arn")
ADOPTS: Colour = "blue"


def held(settings: Settings, existing: Mapping[Colour, Mapping[str, Any]]) -> frozenset[Colour]:
    """The environments that this run imports or leaves as they were before the stack.

    `existing`: as in `environments_of`. Raises pulumi.RunError if nothing can be adopted so.
    """
    name, before = settings.adopted_environment, existing.get(ADOPTS)
    if name is None:
        return frozenset()
    if before is not None and before["identity"]["name"] != name:
        raise pulumi.RunError(
            f"{ADOPTS} of this stack is {before['identity']['name']}, so it cannot become {name}. Adopt that "
            f"into a new stack:\n  pulumi config rm adopted_environment -s {settings.stack}\n"
            f"  pulumi stack init <name>\n  mwaactl adopt {name} -s <name>"
        )
    if before is not None and GATE in before["deployed"]:
        return frozenset()
    if (bucket := settings.environment(ADOPTS).dags_bucket) is not None:
        key = settings.path(ADOPTS, "dags_bucket")
        raise pulumi.RunError(
            f"{name} has no gate yet, and {key.split()[-1]} would write files into {bucket} before it has. "
            f"Adopt it with a bucket of the stack's:\n  pulumi config rm {key} -s {settings.stack}\n"
            f"  mwaactl adopt {name} -s {settings.stack}\n"
            f"Then its DAGs can move:\n  pulumi config set {key} {bucket} -s {settings.stack}\n"
            f"  pulumi up -s {settings.stack}"
        )
    if settings.enable_blue_green:
        raise pulumi.RunError(
            f"{name} has no gate yet: a green beside it would execute every run a second time. First:\n"
            f"  pulumi config set enable_blue_green false -s {settings.stack}\n"
            f"  mwaactl adopt {name} -s {settings.stack}"
        )
    if before is not None and updates(settings):
        return frozenset()
    return frozenset({ADOPTS})


def updates(settings: Settings) -> bool:
    """Whether `mwaactl adopt` has started this run for the one update."""
    return os.environ.get(VARIABLE) == settings.adopted_environment


def options(name: str, given: Iterable[str], *, held: bool) -> pulumi.ResourceOptions:
    """Of the adopted environment. `given`: every argument that the program may give to it."""
    if not held:
        return pulumi.ResourceOptions(import_=name)
    return pulumi.ResourceOptions(
        import_=name,
        ignore_changes=[*given, "tags", "tagsAll"],  # nothing of it changes before the one update
        retain_on_delete=True,  # `pulumi destroy` gives it back as it was
    )


def record(
    environment: aws.mwaa.Environment, plan: Mapping[str, Any], settings: Settings
) -> pulumi.Output[dict[str, Any]]:
    """The plan of the adopted environment, with the arguments that it has instead of the planned ones."""
    names = arguments(settings, ADOPTS, Names.of(settings), Parts.stand_ins(settings, ADOPTS))
    found = pulumi.Output.all(**{name: getattr(environment, name) for name in names})
    deployed: pulumi.Output[dict[str, str]] = pulumi.Output.unsecret(found).apply(
        lambda known: as_it_is(settings, ADOPTS, known, plan["deployed"])
    )
    return deployed.apply(lambda texts: {**plan, "deployed": texts})
