"""The resources of a stack, as the dry run registers them or as the state has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mwaactl.cost.engine import Registration

VPC = "awsx:ec2:Vpc"


@dataclass(frozen=True)
class Resource:
    """`type` as in `aws:ec2/instance:Instance`; `parent` and `dependencies` are URNs; `imported`: it exists
    before the stack."""

    type: str
    name: str
    urn: str
    parent: str
    inputs: Mapping[str, Any]
    dependencies: Sequence[str]
    imported: bool = False

    @property
    def kind(self) -> str:
        """The last part of the type: `Instance`."""
        return self.type.rpartition(":")[2]

    @property
    def is_component(self) -> bool:
        return self.type == VPC or self.type.startswith("mwaa-openlineage:index:")


def resources_of(registrations: Iterable[Registration]) -> list[Resource]:
    """What a dry run registered, with the children of the remote component `awsx.ec2.Vpc`."""
    result: list[Resource] = []
    for each in registrations:
        resource = Resource(
            type=each.type,
            name=each.name,
            urn=each.urn,
            parent=each.parent,
            inputs=each.inputs,
            dependencies=sorted(each.request.dependencies),
            imported=bool(each.request.importId),
        )
        result.append(resource)
        if each.type == VPC:
            result += _network(resource)
    return result


def resources_in_state(exported: Mapping[str, Any]) -> list[Resource]:
    """The resources in `pulumi stack export`: deployed, without those that only wait for their deletion."""
    return [
        Resource(
            type=each["type"],
            name=each["urn"].rpartition("::")[2],
            urn=each["urn"],
            parent=each.get("parent", ""),
            inputs=each.get("inputs") or {},
            dependencies=each.get("dependencies") or (),
        )
        for each in (exported.get("deployment") or {}).get("resources") or ()
        if not each["type"].startswith("pulumi:") and not each.get("delete")
    ]


def _network(vpc: Resource) -> Iterator[Resource]:
    """What awsx creates for `vpc`: in each of its zones two subnets, each with its routes, and NAT gateways.

    The program gives the zones and the subnets; names as awsx gives them.
    """

    def child(kind: str, name: str, parent: Resource, *needs: Resource, **inputs: Any) -> Resource:
        type_ = f"aws:ec2/{kind[0].lower()}{kind[1:]}:{kind}"
        start, _, _ = parent.urn.rpartition("::")
        urn = f"{start}${type_}::{name}"
        needed = [each.urn for each in (parent, *needs) if each is not vpc]
        return Resource(type_, name, urn, parent.urn, inputs, needed)

    network = child("Vpc", vpc.name, vpc)
    gateway = child("InternetGateway", vpc.name, network)
    yield from (network, gateway)
    zones = vpc.inputs["availabilityZoneNames"]
    most = {"None": 0, "Single": 1}.get(vpc.inputs["natGateways"]["strategy"], len(zones))
    nats: list[Resource] = []
    tables: list[Resource] = []
    for zone in range(1, len(zones) + 1):
        for role in ("public", "private"):
            name = f"{vpc.name}-{role}-{zone}"
            subnet = child("Subnet", name, network)
            table = child("RouteTable", name, subnet)
            tables.append(table)
            yield from (subnet, table, child("RouteTableAssociation", name, table, subnet))
            if role == "public" and len(nats) < most:
                address = child("Eip", f"{vpc.name}-{zone}", subnet)
                nats.append(child("NatGateway", f"{vpc.name}-{zone}", subnet, address))
                yield from (address, nats[-1])
            for target in [gateway] if role == "public" else nats[-1:]:
                yield child("Route", name, table, target)
    for spec in vpc.inputs.get("vpcEndpointSpecs") or ():
        endpoint = child("VpcEndpoint", spec["serviceName"], network, *tables)
        yield replace(endpoint, inputs={"vpcEndpointType": spec.get("vpcEndpointType", "Gateway")})
