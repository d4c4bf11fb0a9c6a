"""A network that exists: what of it the program needs to know, and whether it is as Amazon MWAA needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from components.config.files import AUTHORITIES
from components.config.settings import Settings
from components.network import NO_SUCH_SERVICE, NOT_EVERYWHERE, OwnNetwork, called_services, service_names
from components.refusals import Refusals, commands

INTERNET = "0.0.0.0/0"
# Addresses in each subnet beside Airflow's: a load balancer wants 8 that are free, a database and nodes few.
FOR_MARQUEZ, FOR_HA_MARQUEZ = 1, 12
NO_SUCH_ENDPOINT = ("no matching", "empty result")
SEVERAL_ENDPOINTS = "multiple EC2 VPC Endpoint"  # the provider wants one; any of them leads to the service
ENDPOINTS = 2  # of each environment in each subnet: its database, its web server


def own_network(settings: Settings, previous: Mapping[str, Any]) -> OwnNetwork | None:
    """The network that the settings name, None if the program makes one. Raises pulumi.RunError.

    `previous`: the stack's outputs. What the stack has in the network already needs no more room.
    """
    network, refusals = None, Refusals()
    with refusals.kept():
        network = _network(settings, previous)
    with refusals.kept():
        _check_groups(settings, settings.vpc_id or previous.get("vpc_id"))
    refusals.raise_all()
    return network


def _network(settings: Settings, previous: Mapping[str, Any]) -> OwnNetwork | None:
    if settings.vpc_id is None:
        return None
    try:
        vpc = aws.ec2.get_vpc(id=settings.vpc_id)
        subnets = [aws.ec2.get_subnet(id=each) for each in settings.private_subnet_ids]
    except Exception as error:  # an invoke raises nothing narrower
        raise pulumi.RunError(
            f"The network cannot be used: {error}\n" + commands(settings, "vpc_id", "private_subnet_ids[0]")
        ) from error
    problems = list(_of_vpc(vpc))
    for subnet in subnets:
        problems += _of_subnet(subnet, settings, new=previous.get("vpc_id") != settings.vpc_id)
    if len({subnet.availability_zone for subnet in subnets}) < len(subnets):
        problems.append(f"both subnets are in {subnets[0].availability_zone}: Amazon MWAA needs two zones")
    if problems:
        lines = "\n".join(f"  {each}" for each in problems)
        raise pulumi.RunError(
            f"The network {settings.vpc_id} is not as Amazon MWAA needs it; nothing was changed:\n{lines}\n"
            + commands(settings, "vpc_id", "private_subnet_ids[0]", "private_subnet_ids[1]")
        )
    first, second = subnets
    cidrs = [each.cidr_block for each in vpc.cidr_block_associations if each.state == "associated"]
    return OwnNetwork(
        settings.vpc_id,
        tuple(dict.fromkeys([vpc.cidr_block, *cidrs])),
        (first.id, second.id),
        (first.availability_zone, second.availability_zone),
    )


def _of_vpc(vpc: aws.ec2.GetVpcResult) -> Iterator[str]:
    for name, enabled in {
        "enableDnsSupport": vpc.enable_dns_support,
        "enableDnsHostnames": vpc.enable_dns_hostnames,
    }.items():
        if not enabled:
            yield f"{name} is off: no name of an endpoint, nor Marquez's, would be resolved"


def _of_subnet(subnet: aws.ec2.GetSubnetResult, settings: Settings, *, new: bool) -> Iterator[str]:
    if subnet.vpc_id != settings.vpc_id:
        yield f"{subnet.id} is in another VPC, {subnet.vpc_id}"
        return
    needed = addresses_needed(settings)
    if new and subnet.available_ip_address_count < needed:
        yield (
            f"{subnet.id} has {subnet.available_ip_address_count} free addresses, and {needed} may be needed"
        )
    routes = _routes(subnet)
    default = [each for each in routes if each.cidr_block == INTERNET]
    if any(each.gateway_id.startswith("igw-") for each in default):
        yield f"{subnet.id} is public: its route to {INTERNET} is an internet gateway, and not a NAT gateway"
    elif not default:
        missing = list(_unreachable(settings, routes))
        if missing:
            yield (
                f"{subnet.id} has no route to {INTERNET}, and the VPC no endpoint for {', '.join(missing)}"
            )
        if settings.enable_ha_marquez and settings.aurora_authorities_file is None:
            yield (
                f"{subnet.id} has no route to {INTERNET}, so aurora_authorities_file must name the file that "
                f"nodes cannot fetch: curl -o rds.pem {AUTHORITIES}"
            )


def addresses_needed(settings: Settings) -> int:
    """Free addresses in each of the two subnets: everything at its most, and once more during an update."""
    needed = FOR_HA_MARQUEZ if settings.enable_ha_marquez else FOR_MARQUEZ
    for colour in settings.colours:
        own = settings.environment(colour)
        processes = own.max_workers + own.schedulers + (own.max_webservers or own.min_webservers or 2)
        needed += processes + ENDPOINTS  # half of them in each subnet, and twice as many meanwhile
    return needed


def _routes(subnet: aws.ec2.GetSubnetResult) -> Sequence[Any]:
    """Of its own route table, else of the VPC's main one."""
    by_association = aws.ec2.GetRouteTablesFilterArgs(name="association.subnet-id", values=[subnet.id])
    own = aws.ec2.get_route_tables(vpc_id=subnet.vpc_id, filters=[by_association]).ids
    if own:
        return aws.ec2.get_route_table(route_table_id=own[0]).routes
    main = aws.ec2.GetRouteTableFilterArgs(name="association.main", values=["true"])
    return aws.ec2.get_route_table(vpc_id=subnet.vpc_id, filters=[main]).routes


def _unreachable(settings: Settings, routes: Sequence[Any]) -> Iterator[str]:
    """The services that nothing in a network without a way out leads to."""
    if not any(each.gateway_id.startswith("vpce-") or each.vpc_endpoint_id for each in routes):
        yield "s3"
    for service in called_services(settings):
        names = service_names(settings.region, service)
        if service != NOT_EVERYWHERE and not any(_has_endpoint(settings.vpc_id, name) for name in names):
            yield service


def _has_endpoint(vpc_id: str | None, service_name: str) -> bool:
    try:
        aws.ec2.get_vpc_endpoint(vpc_id=vpc_id, service_name=service_name, state="available")
    except Exception as error:  # an invoke raises nothing narrower
        if SEVERAL_ENDPOINTS in str(error):
            return True
        if not any(reason in str(error) for reason in (*NO_SUCH_SERVICE, *NO_SUCH_ENDPOINT)):
            raise
        return False
    return True


def _check_groups(settings: Settings, vpc_id: str | None) -> None:
    """The security groups that the environments get beside their own are in the stack's VPC."""
    problems: dict[str, str] = {}  # by where they are set: both environments may have the stack's
    for colour in settings.colours:
        key = settings.path(colour, "security_group_ids").replace("--path ", "")
        for index, group in enumerate(settings.environment(colour).security_group_ids):
            try:
                there = aws.ec2.get_security_group(id=group).vpc_id
            except Exception as error:  # noqa: BLE001 - an invoke raises nothing narrower
                there = f"no VPC ({error})"
            if there != vpc_id:
                what = f"the stack's is {vpc_id}" if vpc_id else "the stack's VPC does not exist yet"
                problems[f"{key}[{index}]"] = f"{group} is in {there}; {what}"
    if problems:
        lines = "\n".join(f"  {key} = {problem}" for key, problem in problems.items())
        raise pulumi.RunError(
            f"Security groups that cannot be used; nothing was changed:\n{lines}\n"
            + commands(settings, *problems)
        )
