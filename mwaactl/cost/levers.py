"""What makes a stack cheaper: settings to change, and what each change gives up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mwaactl.cost.charges import BASE_SCHEDULERS
from mwaactl.cost.program import PROJECT
from mwaactl.cost.resources import Resource
from mwaactl.json_model import Model

CLASSES = ("micro", "small", "medium", "large", "xlarge", "2xlarge")
NODE_TYPES = ("t3.small", "t3.medium", "t3.large")  # from the smallest that Marquez fits into
LEAST_ACU = 0.5


@dataclass(frozen=True)
class Lever:
    """`how`: settings as `pulumi config set` takes them; `costs`: what is given up."""

    what: str
    how: tuple[str, ...]
    costs: str

    @property
    def changes(self) -> dict[str, str]:
        return {f"{PROJECT}:{key}": value for key, value in (each.split("=", 1) for each in self.how)}


class Saving(Model):
    """What a lever saves, USD a month; None where a price is unknown."""

    what: str
    how: tuple[str, ...]
    costs: str
    usd: float | None


def levers_of(resources: Sequence[Resource], overrides: Collection[str]) -> list[Lever]:
    """Those that may apply to a stack with these resources; the program may refuse one.

    `overrides`: the settings that one environment has of its own, as `blue.schedulers`.
    """
    found = {each.name: each.inputs for each in resources if each.kind == "Environment"}
    environments = dict(sorted(found.items()))  # the engine registers them in any order
    return [
        *_environments(environments, overrides),
        *_network(resources),
        *_marquez(resources),
        *_monitoring(resources),
    ]


def _environments(
    environments: Mapping[str, Mapping[str, object]], overrides: Collection[str]
) -> Iterator[Lever]:
    sizes = {
        name: str(inputs["environmentClass"]).removeprefix("mw1.") for name, inputs in environments.items()
    }
    if "mwaa-green" in environments:
        yield Lever(
            "no standby between upgrades",
            ("enable_blue_green=false",),
            "no other side to switch or fail over to, until it is created again (20 to 30 minutes)",
        )
        if (smaller := _below(sizes["mwaa-green"])) is not None:
            yield Lever(
                f"a smaller standby, mw1.{smaller}, between upgrades",
                tuple(f"green.{each}" for each in _of_class(smaller)),
                "before a switch it needs its size again: an update of 20 to 30 minutes",
            )
    classes = set(sizes.values())
    if len(classes) == 1 and (smaller := _below(classes.pop())) is not None:
        yield Lever(
            f"a smaller class, mw1.{smaller}",
            _everywhere(_of_class(smaller), environments, overrides),
            "fewer DAGs and tasks at once" + (", one scheduler, one worker" if smaller == "micro" else ""),
        )
    yield from _beyond_the_least(environments, overrides)


def _beyond_the_least(
    environments: Mapping[str, Mapping[str, Any]], overrides: Collection[str]
) -> Iterator[Lever]:
    def most(key: str) -> int:
        return max((int(inputs.get(key) or 0) for inputs in environments.values()), default=0)

    if most("minWorkers") > 1:
        yield Lever(
            "one worker at rest",
            _everywhere(("min_workers=1",), environments, overrides),
            "tasks wait until workers have been added",
        )
    if most("schedulers") > BASE_SCHEDULERS:
        yield Lever(
            f"{BASE_SCHEDULERS} schedulers",
            _everywhere((f"schedulers={BASE_SCHEDULERS}",), environments, overrides),
            "DAGs are parsed and tasks scheduled more slowly",
        )


def _below(size: str) -> str | None:
    place = CLASSES.index(size)
    return CLASSES[place - 1] if place else None


def _of_class(size: str) -> tuple[str, ...]:
    rest = ("min_workers=1", "max_workers=1", "schedulers=1") if size == "micro" else ()
    return (f"environment_class=mw1.{size}", *rest)


def _everywhere(
    how: Sequence[str], environments: Collection[str], overrides: Collection[str]
) -> tuple[str, ...]:
    """The settings for every environment: also where one has its own, and for all where one has none."""
    result = []
    for each in how:
        colours = [name.removeprefix("mwaa-") for name in environments]
        own = [f"{colour}." for colour in colours if f"{colour}.{each.partition('=')[0]}" in overrides]
        result += [f"{prefix}{each}" for prefix in ([] if len(own) == len(colours) else [""]) + own]
    return tuple(result)


def _network(resources: Sequence[Resource]) -> Iterator[Lever]:
    if sum(each.kind == "NatGateway" for each in resources) > 1:
        yield Lever("one NAT gateway", ("nat=single",), "a failed zone can take the other's way out with it")
    if any(each.inputs.get("vpcEndpointType") == "Interface" for each in resources):
        yield Lever(
            "no interface endpoints",
            ("vpc_endpoints=false",),
            "calls to AWS services go through NAT, which charges by the GB",
        )


def _marquez(resources: Sequence[Resource]) -> Iterator[Lever]:
    inputs = {each.kind: each.inputs for each in resources}
    node = inputs.get("Instance") or inputs.get("LaunchTemplate") or {}
    kind = str(node.get("instanceType"))
    if kind in NODE_TYPES[1:]:
        smaller = NODE_TYPES[NODE_TYPES.index(kind) - 1]
        yield Lever(
            f"smaller Marquez nodes, {smaller}",
            (f"marquez_instance_type={smaller}",),
            "half the memory: fewer events a second, slower pages",
        )
    if "Cluster" in inputs:
        minimum = inputs["Cluster"]["serverlessv2ScalingConfiguration"]["minCapacity"]
        if minimum > LEAST_ACU:
            yield Lever(
                f"the least Aurora capacity, {LEAST_ACU:g} ACU",
                (f"aurora_min_capacity={LEAST_ACU:g}",),
                "a database that has slept answers slowly until it has grown",
            )
        yield Lever(
            "Marquez on one node",
            ("enable_ha_marquez=false",),
            "lineage is late while the node is away; nothing of it is lost",
        )


def _monitoring(resources: Sequence[Resource]) -> Iterator[Lever]:
    if any(each.kind == "Dashboard" for each in resources):
        yield Lever(
            "no dashboard and no alarms but those on the gate and on lineage",
            ("enable_monitoring=false",),
            "nobody hears of an environment that is not well",
        )
