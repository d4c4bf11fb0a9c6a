"""The `awsx` package: `awsx.ec2.Vpc`, with the children, names and checks of the real component.

As in the real one, a layout with explicit CIDR blocks is used unchanged; the strategy Exact requires that the
subnets, zone by zone, fill the VPC without a gap.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pulumi
from pulumi.provider.experimental import provider as protocol
from pulumi.provider.experimental.property_value import PropertyValue

from local.provider.schema import Schema, problems
from local.provider.server import Plugin
from local.provider.values import UNKNOWN, Props, ProviderError, plain

VPC = "awsx:ec2:Vpc"
# Arguments of the component that it passes to its VPC.
PASSED_ON = (
    "enableDnsHostnames",
    "enableDnsSupport",
    "enableNetworkAddressUsageMetrics",
    "instanceTenancy",
    "region",
)
NOT_SERVED = ("ipv4IpamPoolId", "ipv4NetmaskLength", "ipv6CidrBlock", "assignGeneratedIpv6CidrBlock")
ORDER = {"Public": 0, "Private": 1, "Isolated": 2}  # NAT gateways stand in public subnets: those come first


@dataclass(frozen=True)
class SubnetSpec:
    name: str
    kind: str
    zone: str
    cidr: str
    tags: dict[str, str]


class Awsx(Plugin):
    def __init__(self, own_version: str) -> None:
        super().__init__()
        self._schema = Schema("awsx", own_version)
        self._aws = version("pulumi-aws")  # so that the children go to the same plugin as the program's own

    async def construct(self, request: protocol.ConstructRequest) -> protocol.ConstructResponse:
        if request.resource_type != VPC:
            raise ProviderError(f"the local cloud does not support the component {request.resource_type} yet")
        args = plain(request.inputs)
        wrong = [f"{path}: {reason}" for path, reason in problems(self._schema.of(VPC)["inputs"], args)]
        wrong += [
            f"{key}: the local cloud does not support this argument" for key in NOT_SERVED if key in args
        ]
        if wrong:
            raise ProviderError(f"{VPC} {request.name}: " + "; ".join(wrong))
        component = pulumi.ComponentResource(VPC, request.name, {}, request.options)
        outputs = await self._children(request.name, args, component)
        component.register_outputs(outputs)
        urn = await component.urn.future()
        state = {key: await _resolved(value) for key, value in outputs.items()}
        return protocol.ConstructResponse(str(urn), state, {})

    async def _children(
        self, name: str, args: Props, component: pulumi.Resource
    ) -> dict[str, pulumi.Output[Any]]:
        zones = await self._zones(args, component)
        specs = subnet_specs(name, args, zones)
        cidr = str(args.get("cidrBlock") or "10.0.0.0/16")
        check(specs, cidr, nat_strategy(args), exact=args.get("subnetStrategy") == "Exact")
        network = Network(name, args, cidr, component, self._aws)
        network.fill(specs, zones)
        return network.outputs()

    async def _zones(self, args: Props, component: pulumi.Resource) -> list[str]:
        if args.get("availabilityZoneNames") and args.get("numberOfAvailabilityZones"):
            raise ProviderError(
                "Only one of [availabilityZoneNames] and [numberOfAvailabilityZones] can be given"
            )
        if args.get("availabilityZoneNames"):
            return list(args["availabilityZoneNames"])
        count = int(args.get("numberOfAvailabilityZones") or 3)
        answer = pulumi.runtime.invoke_async(
            "aws:index/getAvailabilityZones:getAvailabilityZones",
            {},
            pulumi.InvokeOptions(parent=component, version=self._aws),
        )
        names = list((await answer)["names"])
        if len(names) < count:
            raise ProviderError(f"the region has {len(names)} availability zones, not {count}")
        return names[:count]


class Network:
    """The resources of one `awsx.ec2.Vpc`."""

    def __init__(
        self, name: str, args: Props, cidr: str, component: pulumi.Resource, aws_version: str
    ) -> None:
        self._name = name
        self._args = args
        self._nat_strategy = nat_strategy(args)
        self._options = functools.partial(pulumi.ResourceOptions, version=aws_version)
        self._nats: list[pulumi.CustomResource] = []
        self._tables: list[pulumi.CustomResource] = []
        self._subnets: dict[str, list[pulumi.Output[str]]] = {"Public": [], "Private": [], "Isolated": []}
        self._tags = {"Name": name, **(args.get("tags") or {})}
        inputs = {key: args[key] for key in PASSED_ON if key in args}
        inputs |= {"cidrBlock": cidr, "tags": self._tags}
        self._vpc = self._resource("ec2/vpc:Vpc", name, inputs, component)
        self._gateway = self._resource(
            "ec2/internetGateway:InternetGateway",
            name,
            {"vpcId": self._vpc.id, "tags": self._tags},
            self._vpc,
        )

    def fill(self, specs: Sequence[SubnetSpec], zones: Sequence[str]) -> None:
        for index, zone in enumerate(zones):
            in_zone = [spec for spec in specs if spec.zone == zone and spec.kind != "Unused"]
            for spec in sorted(in_zone, key=lambda spec: ORDER[spec.kind]):
                self._subnet(spec, index)
        self._endpoints()

    def outputs(self) -> dict[str, pulumi.Output[Any]]:
        return {
            "vpcId": self._vpc.id,
            "publicSubnetIds": pulumi.Output.all(*self._subnets["Public"]),
            "privateSubnetIds": pulumi.Output.all(*self._subnets["Private"]),
            "isolatedSubnetIds": pulumi.Output.all(*self._subnets["Isolated"]),
        }

    def _subnet(self, spec: SubnetSpec, zone: int) -> None:
        """The subnet, its route table, the NAT gateway in it and its route out; `zone` counts from 0."""
        own = {"Name": spec.name, "SubnetType": spec.kind}
        inputs = {
            "vpcId": self._vpc.id,
            "availabilityZone": spec.zone,
            "cidrBlock": spec.cidr,
            "mapPublicIpOnLaunch": spec.kind == "Public",
            "tags": {**self._tags, **spec.tags, **own},
        }
        subnet = self._resource("ec2/subnet:Subnet", spec.name, inputs, self._vpc)
        self._subnets[spec.kind].append(subnet.id)
        table_inputs = {"vpcId": self._vpc.id, "tags": {**self._tags, **own}}
        table = self._resource("ec2/routeTable:RouteTable", spec.name, table_inputs, subnet)
        self._tables.append(table)
        self._resource(
            "ec2/routeTableAssociation:RouteTableAssociation",
            spec.name,
            {"routeTableId": table.id, "subnetId": subnet.id},
            table,
        )
        if spec.kind == "Public" and len(self._nats) < {"None": 0, "Single": 1}.get(
            self._nat_strategy, zone + 1
        ):
            self._nat_gateway(subnet, zone)
        route = self._route_out(spec.kind, zone)
        if route:
            destination = {"routeTableId": table.id, "destinationCidrBlock": "0.0.0.0/0"}
            self._resource("ec2/route:Route", spec.name, {**destination, **route}, table)

    def _nat_gateway(self, subnet: pulumi.CustomResource, zone: int) -> None:
        name = f"{self._name}-{zone + 1}"
        tags = {**(self._args.get("tags") or {}), "Name": name}
        # The identifier of an address is its allocation id.
        addresses = (self._args.get("natGateways") or {}).get("elasticIpAllocationIds")
        address = (
            addresses[zone] if addresses else self._resource("ec2/eip:Eip", name, {"tags": tags}, subnet).id
        )
        inputs = {"subnetId": subnet.id, "allocationId": address, "tags": tags}
        self._nats.append(self._resource("ec2/natGateway:NatGateway", name, inputs, subnet))

    def _route_out(self, kind: str, zone: int) -> Props:
        """The target of the route to the internet; empty if there is none."""
        if kind == "Public":
            return {"gatewayId": self._gateway.id}
        if kind == "Private" and self._nat_strategy != "None":
            return {"natGatewayId": self._nats[0 if self._nat_strategy == "Single" else zone].id}
        return {}

    def _endpoints(self) -> None:
        for given in self._args.get("vpcEndpointSpecs") or []:
            spec = dict(given)
            if self._args.get("vpcEndpointStrategy") == "Auto":
                if spec.get("vpcEndpointType", "Gateway") == "Gateway":
                    spec.setdefault("routeTableIds", [table.id for table in self._tables])
                else:
                    spec.setdefault("subnetIds", list(self._subnets["Private"]))
            inputs = {**spec, "vpcId": self._vpc.id}
            self._resource("ec2/vpcEndpoint:VpcEndpoint", spec["serviceName"], inputs, self._vpc)

    def _resource(self, token: str, name: str, args: Props, parent: pulumi.Resource) -> pulumi.CustomResource:
        return pulumi.CustomResource(f"aws:{token}", name, args, self._options(parent=parent))


def nat_strategy(args: Props) -> str:
    return str((args.get("natGateways") or {}).get("strategy") or "OnePerAz")


def subnet_specs(vpc: str, args: Props, zones: Sequence[str]) -> list[SubnetSpec]:
    """Zone by zone, in the order of the given specs. Raises ProviderError without explicit CIDR blocks."""
    given = args.get("subnetSpecs") or []
    if not given or any(not spec.get("cidrBlocks") for spec in given):
        raise ProviderError(
            f"{VPC} {vpc}: the local cloud needs cidrBlocks in each of subnetSpecs (fixed subnets never move)"
        )
    for position, spec in enumerate(given):
        if len(spec["cidrBlocks"]) != len(zones):
            raise ProviderError(
                f"{VPC} {vpc}: the number of CIDR blocks in subnetSpecs[{position}] must match the number of "
                f"availability zones ({len(zones)})"
            )
    return [
        SubnetSpec(
            name=f"{vpc}-{spec.get('name') or spec['type'].lower()}-{index + 1}",
            kind=spec["type"],
            zone=zone,
            cidr=spec["cidrBlocks"][index],
            tags=spec.get("tags") or {},
        )
        for index, zone in enumerate(zones)
        for spec in given
    ]


def check(specs: Sequence[SubnetSpec], vpc_cidr: str, strategy: str, *, exact: bool) -> None:
    """What the real component checks before it creates anything. Raises ProviderError."""
    networks = [ipaddress.IPv4Network(spec.cidr) for spec in specs]
    whole = ipaddress.IPv4Network(vpc_cidr)
    for spec, network in zip(specs, networks, strict=True):
        if not network.subnet_of(whole):
            raise ProviderError(f"{spec.name} ({spec.cidr}) is not inside the VPC ({vpc_cidr})")
        others = [
            o.name for o, n in zip(specs, networks, strict=True) if o is not spec and network.overlaps(n)
        ]
        if others:
            raise ProviderError(f"{spec.name} ({spec.cidr}) overlaps with {', '.join(others)}")
    if exact:
        expected = int(whole.network_address)
        for spec, network in zip(specs, networks, strict=True):
            if int(network.network_address) != expected:
                raise ProviderError(
                    f"There are gaps in the subnet ranges: {spec.name} ({spec.cidr}) should begin at "
                    f"{ipaddress.IPv4Address(expected)}. The strategy Exact requires the zones' subnets "
                    "in sequence without a gap (type Unused fills one); Auto accepts any layout"
                )
            expected = int(network.broadcast_address) + 1
        if expected != int(whole.broadcast_address) + 1:
            raise ProviderError("There are gaps in the subnet ranges: they end before the VPC does")
    kinds = {spec.kind for spec in specs}
    if strategy != "None" and not {"Public", "Private"} <= kinds:
        raise ProviderError(f"the NAT gateway strategy {strategy} needs both private and public subnets")


async def _resolved(output: pulumi.Output[Any]) -> PropertyValue:
    """An output as the protocol passes it, with the resources that it depends on."""
    known = await output.is_known()
    value = await output.future(with_unknowns=True) if known else UNKNOWN
    urns = {str(await resource.urn.future()) for resource in await output.resources()}
    if isinstance(value, list):
        return PropertyValue(
            [PropertyValue(v if isinstance(v, str) else UNKNOWN) for v in value], dependencies=urns
        )
    return PropertyValue(value if isinstance(value, str) else UNKNOWN, dependencies=urns)
