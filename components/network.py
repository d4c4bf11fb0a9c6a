"""The network: one VPC, public and private subnets in two availability zones, and the routes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_awsx as awsx
from bluegreen.timeline import Colour

from components.config.settings import Settings
from components.traffic_logs import FLOWS, TrafficLogs

# The services that Airflow and the Marquez nodes call; without an endpoint, through the NAT gateway.
ENDPOINT_SERVICES = (
    "airflow.api",
    "airflow.env",
    "airflow.ops",
    "ec2messages",
    "kms",
    "logs",
    "monitoring",
    "secretsmanager",
    "sqs",
    "ssm",
    "ssmmessages",
)
NOT_EVERYWHERE = "airflow.ops"
# What the provider says, in different versions.
NO_SUCH_SERVICE = (
    "no matching EC2 VPC Endpoint Service found",
    "couldn't find resource",
    "InvalidServiceName",
)
REQUIREMENTS = "requirements.txt"  # in the record of what is deployed
HA_ENDPOINT_SERVICES = ("autoscaling",)  # to which the nodes report that they are ready
DOMAIN_SERVICES = ("datazone",)  # to which they carry the lineage log, if a sink is a domain
IMAGE_SERVICES = ("ecr.api", "ecr.dkr")  # where the nodes' images are if there is no way out
STRATEGIES = {
    "single": awsx.ec2.NatGatewayStrategy.SINGLE,
    "per_az": awsx.ec2.NatGatewayStrategy.ONE_PER_AZ,
    "none": awsx.ec2.NatGatewayStrategy.NONE,
}


@dataclass(frozen=True)
class SubnetPlan:
    """The subnets' CIDRs, one of each kind per availability zone; `unused` are the remaining ranges."""

    private: tuple[str, str]
    public: tuple[str, str]
    unused: tuple[tuple[str, str], tuple[str, str]]


def subnet_plan(vpc_cidr: str) -> SubnetPlan:
    """The subnets of a VPC of /16 to /24; a function of the CIDR alone, so that no other setting moves one.

    Each zone has one half of the range. Its private subnet takes half of that, its public one, for a NAT
    gateway, an eighth. The rest is reserved.
    """
    zones = []
    for half in IPv4Network(vpc_cidr).subnets():
        private, rest = half.subnets()
        near, far = rest.subnets()
        public, beside = near.subnets()
        zones.append((str(private), str(public), str(beside), str(far)))
    private_pair, public_pair, beside_pair, far_pair = zip(*zones, strict=True)
    return SubnetPlan(private=private_pair, public=public_pair, unused=(beside_pair, far_pair))


@dataclass(frozen=True)
class OwnNetwork:
    """`cidrs`: of the whole VPC; `subnet_ids` and `zones` in the same order."""

    vpc_id: str
    cidrs: tuple[str, ...]
    subnet_ids: tuple[str, str]
    zones: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """`availability_zones`: the names of the two zones; `own`: a network that exists."""

    settings: Settings
    availability_zones: tuple[str, str]
    own: OwnNetwork | None = None
    traffic_logs: TrafficLogs | None = None


class Network(pulumi.ComponentResource):
    """The VPC, unless there is one already. `private_subnet_ids` are in the order of the zones."""

    vpc_id: pulumi.Output[str]
    private_subnet_ids: pulumi.Output[Sequence[str]]
    cidrs: Sequence[str]
    """Of the whole VPC."""
    endpoints: Sequence[pulumi.Resource] = ()
    """What calls to AWS's services go through; without a NAT gateway, all of them."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Network", name, None, opts)
        if args.own is not None:
            self.vpc_id = pulumi.Output.from_input(args.own.vpc_id)
            self.private_subnet_ids = pulumi.Output.from_input(list(args.own.subnet_ids))
            self.cidrs = args.own.cidrs
            self.register_outputs({})
            return
        settings, plan = args.settings, subnet_plan(args.settings.vpc_cidr)
        self.cidrs = [settings.vpc_cidr]
        kind = awsx.ec2.SubnetType
        # EXACT requires each zone's ranges in order, without gaps.
        ranges = {
            "private": (kind.PRIVATE, plan.private),
            "public": (kind.PUBLIC, plan.public),
            "unused-1": (kind.UNUSED, plan.unused[0]),
            "unused-2": (kind.UNUSED, plan.unused[1]),
        }
        vpc = awsx.ec2.Vpc(
            name,
            cidr_block=settings.vpc_cidr,
            availability_zone_names=list(args.availability_zones),
            enable_dns_hostnames=True,
            enable_dns_support=True,
            nat_gateways=awsx.ec2.NatGatewayConfigurationArgs(strategy=STRATEGIES[settings.nat]),
            subnet_strategy=awsx.ec2.SubnetAllocationStrategy.EXACT,
            subnet_specs=[
                awsx.ec2.SubnetSpecArgs(type=of_kind, name=role, cidr_blocks=list(cidrs))
                for role, (of_kind, cidrs) in ranges.items()
            ],
            # AUTO attaches the gateway endpoint to the route tables that the component creates.
            vpc_endpoint_strategy=awsx.ec2.VpcEndpointStrategy.AUTO,
            vpc_endpoint_specs=[
                awsx.ec2.VpcEndpointSpecArgs(
                    service_name=_service(settings.region, "s3", "Gateway")[0],
                    vpc_endpoint_type="Gateway",
                    tags=settings.all_tags,
                )
            ],
            tags=settings.all_tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.vpc_id = vpc.vpc_id
        self.private_subnet_ids = vpc.private_subnet_ids
        # No rules: a resource that names no security group can neither send nor receive.
        aws.ec2.DefaultSecurityGroup(name, vpc_id=vpc.vpc_id, opts=pulumi.ResourceOptions(parent=self))
        if args.traffic_logs is not None and settings.flow_log_days:
            self._flow_log(name, args.traffic_logs)
        if endpoint_services(settings):
            self.endpoints = self._endpoints(name, args, plan)
        self.register_outputs({"vpc_id": self.vpc_id, "private_subnet_ids": self.private_subnet_ids})

    def _flow_log(self, name: str, logs: TrafficLogs) -> None:
        aws.ec2.FlowLog(
            name,
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="s3",  # half the price of CloudWatch Logs
            log_destination=pulumi.Output.concat(logs.arn, "/", FLOWS),
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs]),
        )

    def _endpoints(self, name: str, args: NetworkArgs, plan: SubnetPlan) -> Sequence[pulumi.Resource]:
        child = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            f"{name}-endpoints",
            description="Interface endpoints of AWS services",
            vpc_id=self.vpc_id,
            opts=child,
        )
        made: list[pulumi.Resource] = [
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-endpoints-{zone}",
                security_group_id=group.id,
                description="HTTPS from the private subnet",
                cidr_ipv4=cidr,
                ip_protocol="tcp",
                from_port=443,
                to_port=443,
                opts=child,
            )
            for zone, cidr in zip("ab", plan.private, strict=True)
        ]
        for service in endpoint_services(args.settings):
            service_name, within = _zones_of(service, args.settings.region, args.availability_zones)
            if not within:
                said = "calls go through NAT" if args.settings.nat != "none" else "it cannot be called"
                pulumi.info(f"{args.settings.region} has no endpoint of {service}: {said}")
                continue
            endpoint = aws.ec2.VpcEndpoint(
                f"{name}-{service.replace('.', '-')}",
                vpc_id=self.vpc_id,
                vpc_endpoint_type="Interface",
                service_name=service_name,
                private_dns_enabled=True,
                subnet_ids=self.private_subnet_ids.apply(partial(_picked, within)),
                security_group_ids=[group.id],
                opts=child,
            )
            made.append(endpoint)
        return made


def called_services(settings: Settings) -> Sequence[str]:
    """The services with interface endpoints that the stack calls, whoever made its network."""
    ha = HA_ENDPOINT_SERVICES if settings.enable_ha_marquez else ()
    domains = DOMAIN_SERVICES if any(sink.datazone_domain for sink in settings.sinks) else ()
    return sorted([*ENDPOINT_SERVICES, *ha, *domains])


def endpoint_services(settings: Settings) -> Sequence[str]:
    """The services that the stack's network is to have interface endpoints for."""
    alone = settings.nat == "none"
    if settings.vpc_id is not None or not (settings.vpc_endpoints or alone):
        return ()
    return sorted([*called_services(settings), *(IMAGE_SERVICES if alone else ())])


def check_way_out(
    settings: Settings,
    zones: tuple[str, str],
    previous: Mapping[str, Any],
    planned: Mapping[Colour, Mapping[str, Any]],
) -> None:
    """Whether the stack can work without NAT gateways, if it is to have none. Raises pulumi.RunError.

    `previous`: its outputs; `planned`: its environments, as `components.airflow.definition` has them.
    """
    if settings.nat != "none" or settings.vpc_id is not None:
        return
    needed = [each for each in endpoint_services(settings) if each != NOT_EVERYWHERE]
    missing = [each for each in needed if not _zones_of(each, settings.region, zones)[1]]
    if missing:
        raise pulumi.RunError(
            f"nat is none, and {' and '.join(zones)} have no endpoint of {', '.join(missing)}:\n"
            f"  pulumi config set nat single -s {settings.stack}"
        )
    if previous.get("nat") == "none":
        return
    # A rollout would first remove the way out, and only then bring the wheels.
    late = [
        colour
        for colour, existing in (previous.get("airflow_environments") or {}).items()
        if colour in planned
        and existing["deployed"].get(REQUIREMENTS) != planned[colour]["deployed"][REQUIREMENTS]
    ]
    if late:
        raise pulumi.RunError(
            f"nat becomes none, but the requirements of {' and '.join(late)} still come from the internet; "
            "nothing was changed. First the wheels, then this:\n"
            f"  pulumi config set nat {previous.get('nat') or 'single'} -s {settings.stack}\n"
            f"  {'mwaactl rollout' if settings.enable_blue_green else 'pulumi up'} -s {settings.stack}\n"
            f"  pulumi config set nat none -s {settings.stack}\n"
            f"  pulumi up -s {settings.stack}"
        )


def _zones_of(service: str, region: str, zones: Sequence[str]) -> tuple[str, list[int]]:
    """The name of a service's endpoint service, and which of these zones have it: not every service is in
    every region, and not in all of a region's zones."""
    name, there = _service(region, service, "Interface")
    return name, [index for index, zone in enumerate(zones) if zone in there]


def _picked(indices: Sequence[int], ids: Sequence[str]) -> list[str]:
    return [ids[index] for index in indices]


def service_names(region: str, service: str) -> list[str]:
    """The names that an endpoint service may have; the second is that of some in China."""
    return [f"com.amazonaws.{region}.{service}", f"cn.com.amazonaws.{region}.{service}"]


def _service(region: str, service: str, kind: str) -> tuple[str, Sequence[str]]:
    """The name of one of Amazon's endpoint services, and its zones: none if the region does not have it."""
    names = service_names(region, service)
    try:
        found = aws.ec2.get_vpc_endpoint_service(
            service_type=kind,
            filters=[aws.ec2.GetVpcEndpointServiceFilterArgs(name="service-name", values=names)],
        )
    except Exception as error:  # an invoke raises nothing narrower
        if not any(reason in str(error) for reason in NO_SUCH_SERVICE):
            raise
        return names[0], ()
    return found.service_name, found.availability_zones
