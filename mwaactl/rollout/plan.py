"""What a rollout does: each step of the engine with the side it belongs to, and what cannot be rolled out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from bluegreen.timeline import Colour, other_colour

from mwaactl.cost.plan import duration
from mwaactl.errors import CheckFailed
from mwaactl.json_model import Model
from mwaactl.rollout.engine import Action, Change, Seen

ENVIRONMENT = "aws:mwaa/environment:Environment"
# Born with an environment: what it keeps of the environment's identity says why one is replaced.
LIFE = "random:index/randomId:RandomId"
KEPT = "keepers."
VERSION = "airflow_major"  # the one reason for which the sides can be replaced one after the other
OWNERSHIP = "mwaa-openlineage:index:Ownership"

Side = Literal["shared", "standby", "owner"]


class Step(Model):
    """What happens to one resource. `minutes`: as Amazon's figures have it."""

    side: Side
    action: Action
    type: str
    resource: str
    changes: tuple[str, ...]
    minutes: float

    @property
    def environment(self) -> bool:
        """Whether it is an Airflow environment itself."""
        return self.type == ENVIRONMENT

    def __str__(self) -> str:
        return f"{self.action} {self.type.rpartition(':')[2]} {self.resource}"


@dataclass(frozen=True)
class Plan:
    """What is to be done while `owner` owns the work. `owners`: the URNs of all that belongs to it."""

    owner: Colour
    steps: tuple[Step, ...]
    owners: tuple[str, ...]

    @property
    def standby(self) -> Colour:
        return other_colour(self.owner)

    @property
    def first(self) -> tuple[Step, ...]:
        """What can be applied before the switch."""
        return tuple(step for step in self.steps if step.side != "owner")

    @property
    def rest(self) -> tuple[Step, ...]:
        """What has to wait until the owner is the standby."""
        return tuple(step for step in self.steps if step.side == "owner")


def plan(seen: Seen, owner: Colour, needs: Mapping[str, Collection[str]], stack: str) -> Plan:
    """The plan of a preview. `needs`: what each resource of the state depends on.

    Raises CheckFailed, with the way that works, for what cannot be made one side after the other.
    """
    owners = seen.of(owner)
    refused = list(_not_side_by_side(seen, owner, owners, needs))
    if refused:
        raise CheckFailed(
            "nothing was touched, because this cannot be rolled out one side after the other: "
            f"{'; '.join(refused)}. Undo the change, or make it in a new stack and move the work there (see "
            f"docs/upgrade.md): a copy of Pulumi.{stack}.yaml under another name, then pulumi up and mwaactl "
            "dags push for it"
        )
    if removed := _changed(seen, other_colour(owner), "delete"):
        raise CheckFailed(
            f"nothing was touched: this removes {removed}, so there is nothing to switch to"
            + _how_to_remove(stack, _changed(seen, owner))
        )
    steps = sorted(
        (_step(seen, owner, change) for change in seen.changes.values()),
        key=lambda step: (("shared", "standby", "owner").index(step.side), -step.minutes, step.resource),
    )
    return Plan(owner, tuple(steps), tuple(owners))


def _step(seen: Seen, owner: Colour, change: Change) -> Step:
    colour = seen.side(change.urn)
    side: Side = "shared" if colour is None else "owner" if colour == owner else "standby"
    return Step(
        side=side,
        action=change.action,
        type=change.type,
        resource=change.name,
        changes=change.keys,
        minutes=duration(change.action, change.type),
    )


def _not_side_by_side(
    seen: Seen, owner: Colour, owners: Collection[str], needs: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """What would take from the owner what it stands on, in words."""
    below = _all_that(owners, needs)
    for change in seen.changes.values():
        side = seen.side(change.urn)
        if change.type == LIFE and side == owner and change.action == "replace":
            if others := sorted({key.removeprefix(KEPT) for key in change.keys} - {VERSION}):
                yield f"{change.name} would be replaced for {', '.join(others)}, as the other side would be"
        elif (
            side is None
            and change.action in ("replace", "delete")
            and (change.urn in below or OWNERSHIP in change.urn)
        ):
            reason = f" for {', '.join(change.keys)}" if change.keys else ""
            fate = f"replaced{reason}" if change.action == "replace" else "deleted"
            kind = change.type.rpartition(":")[2]
            yield f"{change.name} ({kind}), which both sides need, would be {fate}"


def _all_that(urns: Collection[str], needs: Mapping[str, Collection[str]]) -> set[str]:
    """What these resources depend on, directly or not."""
    found: set[str] = set()
    waiting = list(urns)
    while waiting:
        for needed in needs.get(waiting.pop(), ()):
            if needed not in found:
                found.add(needed)
                waiting.append(needed)
    return found


def _changed(seen: Seen, colour: Colour, *actions: Action) -> str | None:
    """The environment of one side, if it changes (by one of these actions, if any are named)."""
    return next(
        (
            change.name
            for change in seen.changes.values()
            if change.type == ENVIRONMENT
            and seen.side(change.urn) == colour
            and (not actions or change.action in actions)
        ),
        None,
    )


def _how_to_remove(stack: str, owners: str | None) -> str:
    """How to remove the standby. `owners`: the environment that owns the work, if it is to change, too."""
    if owners is None:
        return f". It does not own the work: pulumi up -s {stack}"
    return (
        f", and it changes {owners}, which owns the work. Roll that out while there are two, then remove the "
        f"other: pulumi config set enable_blue_green true -s {stack} && mwaactl rollout --return -s {stack} "
        f"&& pulumi config set enable_blue_green false -s {stack} && pulumi up -s {stack}"
    )
