"""The life of an Airflow environment: an identifier that is born with it, and replaced exactly when it is.

Ownership belongs to a life, not to a colour: a new environment has an empty database and must not execute
again what the one before it owned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_random as random

OPTION = "bluegreen.life"


@dataclass(frozen=True, kw_only=True)
class LifeArgs:
    """`identity`: the values whose change replaces the environment.

    `previous`: the life of the environment that the stack had before this run, None if there was none.
    """

    identity: Mapping[str, Any]
    previous: str | None
    stack: str
    refusal: pulumi.ResourceHook | None = None
    """Stops a run that would change the environment."""
    after: Sequence[pulumi.Resource] = ()
    """What the environment stands on: a new life, and with it the refusal of a replacement, comes just before
    the old environment is deleted. Its own hooks would come after that."""


class Life(pulumi.ComponentResource):
    """16 hex digits. They are no secret."""

    value: pulumi.Output[str]
    hooks: pulumi.ResourceHookBinding
    """For the environment."""

    def __init__(self, name: str, args: LifeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Life", name, None, opts)
        refused: list[pulumi.ResourceHook | pulumi.ResourceHookFunction] = (
            [args.refusal] if args.refusal else []
        )
        life = random.RandomId(
            name,
            byte_length=8,
            keepers={key: json.dumps(value) for key, value in args.identity.items()},
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=args.after,
                hooks=pulumi.ResourceHookBinding(before_create=refused) if refused else None,
            ),
        )
        self.value = life.hex
        hook = pulumi.ResourceHook(
            f"{name}-has-a-life-of-its-own",
            refuse_a_second_time(args.previous, life.urn, args.stack),
            pulumi.ResourceHookOptions(on_dry_run=True),
        )
        self.hooks = pulumi.ResourceHookBinding(
            before_create=[hook, *refused], before_update=[*refused] or None
        )
        self.register_outputs({"value": self.value})


def refuse_a_second_time(
    previous: str | None, life_urn: pulumi.Output[str], stack: str
) -> Callable[[pulumi.ResourceHookArgs], Any]:
    """A hook that stops the creation of an environment with the life of the one before it.

    That would happen where the engine creates the environment again for a reason that the program does not
    see: `pulumi up --replace`, `pulumi state taint`, or it was deleted in AWS and the state refreshed.
    """

    async def refuse(args: pulumi.ResourceHookArgs) -> None:
        # The SDK treats the options as a secret. In a preview, a new life is not known yet.
        given = pulumi.Output.from_input((args.new_inputs or {}).get("airflowConfigurationOptions"))
        options = await given.future() or {}
        if previous is None or options.get(OPTION) != previous:
            return
        urn = await life_urn.future()
        raise RuntimeError(
            f"{args.name} would be created again with the life of the environment before it, and would "
            "execute again what that one owned. Replace its life, and with it the environment:\n"
            f"  pulumi up --replace '{urn}' -s {stack}"
        )

    return refuse
