"""How long `pulumi up` takes: the graph of what it creates, updates and deletes, and its critical path."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from mwaactl.cost.resources import VPC, Resource
from mwaactl.json_model import Model

TABLE = Path(__file__).with_name("times.json")
AT_ONCE = 0.05  # minutes
ENVIRONMENT = "aws:mwaa/environment:Environment"
LIFE = "random:index/randomId:RandomId"
# Of a deployed stack, only what the settings say plainly can be compared; the rest are ids and names.
PLAIN = (
    "airflowVersion",
    "environmentClass",
    "minWorkers",
    "maxWorkers",
    "schedulers",
    "webserverAccessMode",
)

Action = Literal["create", "import", "update", "replace", "delete"]
Key = tuple[str, str]


class Step(Model):
    """What happens to one resource; `minutes` by `source`."""

    action: Action
    type: str
    resource: str
    minutes: float
    source: str


class Plan(Model):
    """`minutes` is the length of `path`, the longest chain of steps that wait for each other.

    `slowest`: the longest step of all; None if nothing is to be done. `replaced`: environments.
    """

    name: str
    minutes: float
    path: tuple[Step, ...]
    slowest: Step | None
    steps: int
    replaced: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.minutes:.0f} min"


def plan(
    name: str,
    before: Sequence[Resource],
    after: Sequence[Resource],
    changed: Callable[[Resource, Resource], bool] | None = None,
) -> Plan:
    """The way from what a stack has to what it is to have. `changed`: whether two differ.

    The engine creates and updates first, each resource after those that it depends on; then it deletes, in
    the reverse order.
    """
    old, new = _by_key(before), _by_key(after)
    # A deployed life was born with zones and names that a dry run does not know.
    lives = {
        key[1]
        for key in new
        if changed is None and key[0] == LIFE and key in old and _differ(old[key], new[key])
    }
    steps: dict[str, Step] = {}
    for key, resource in new.items():
        if resource.is_component:
            continue
        if key not in old:
            steps[resource.urn] = step("import" if resource.imported else "create", resource)
        elif resource.type == ENVIRONMENT and (resource.name in lives or _another_major(old[key], resource)):
            steps[resource.urn] = step("replace", resource)
        elif (changed or _differ)(old[key], resource):
            steps[resource.urn] = step("update", resource)
    removed = {
        resource.urn: step("delete", resource)
        for key, resource in old.items()
        if key not in new and not resource.is_component
    }
    path = (*_longest(steps, _needs(after)), *_longest(removed, _reversed(_needs(before))))
    every = [*steps.values(), *removed.values()]
    return Plan(
        name=name,
        minutes=sum(each.minutes for each in path),
        path=path,
        slowest=max(every, key=lambda each: each.minutes, default=None),
        steps=len(every),
        replaced=tuple(each.resource for each in every if each.action == "replace"),
    )


def _another_major(old: Resource, new: Resource) -> bool:
    versions = [each.inputs.get("airflowVersion") for each in (old, new)]
    return None not in versions and len({str(each).partition(".")[0] for each in versions}) > 1


def plainly(old: Resource, new: Resource) -> bool:
    """Whether a deployed environment would be updated, by what its settings say plainly."""
    known = [key for key in PLAIN if key in old.inputs and key in new.inputs]
    return new.type == ENVIRONMENT and any(str(old.inputs[key]) != str(new.inputs[key]) for key in known)


def step(action: Action, resource: Resource) -> Step:
    minutes, source = _duration(action, resource.type)
    return Step(action=action, type=resource.type, resource=resource.name, minutes=minutes, source=source)


@cache
def _table() -> dict[str, dict[str, tuple[float, str]]]:
    table = json.loads(TABLE.read_text())
    sources = table["sources"]
    known = {
        action: {type_: (minutes, sources[source]) for type_, (minutes, source) in table[action].items()}
        for action in ("create", "update")
    }
    known["delete"] = {
        type_: (minutes, sources["assumed"]) for type_, (minutes, _) in known["create"].items()
    }
    known["replace"] = {type_: (2 * minutes, source) for type_, (minutes, source) in known["create"].items()}
    return known | {"import": {}, "other": {"": (AT_ONCE, sources["seconds"])}}


def _duration(action: str, type_: str) -> tuple[float, str]:
    return _table()[action].get(type_, _table()["other"][""])


def duration(action: str, type_: str) -> float:
    """Minutes that an action on a resource of a type takes."""
    return _duration(action, type_)[0]


def _by_key(resources: Sequence[Resource]) -> dict[Key, Resource]:
    return {(each.type, each.name): each for each in resources}


def _differ(old: Resource, new: Resource) -> bool:
    return old.inputs != new.inputs


def _needs(resources: Sequence[Resource]) -> Mapping[str, Sequence[str]]:
    """What each waits for. What needs the VPC component waits for all that it creates, NAT gateways too."""
    within = {
        each.urn: [child.urn for child in resources if VPC in child.parent]
        for each in resources
        if each.type == VPC
    }
    needs = {}
    for each in resources:
        own = VPC in each.parent
        needs[each.urn] = [
            urn for needed in each.dependencies for urn in ([needed] if own else within.get(needed, [needed]))
        ]
    return needs


def _reversed(needs: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    result: dict[str, list[str]] = {urn: [] for urn in needs}
    for urn, needed in needs.items():
        for each in needed:
            result.setdefault(each, []).append(urn)
    return result


def _longest(steps: Mapping[str, Step], needs: Mapping[str, Sequence[str]]) -> tuple[Step, ...]:
    """The longest chain; what takes no step passes on what it waits for."""
    chains: dict[str, tuple[float, tuple[Step, ...]]] = {}

    def chain(urn: str) -> tuple[float, tuple[Step, ...]]:
        if urn not in chains:
            length, before = max(
                map(chain, sorted(needs.get(urn, ()))), key=lambda each: each[0], default=(0.0, ())
            )
            own = steps.get(urn)
            chains[urn] = (length, before) if own is None else (length + own.minutes, (*before, own))
        return chains[urn]

    return max(map(chain, sorted(steps)), key=lambda each: each[0], default=(0.0, ()))[
        1
    ]  # of equals, the first
