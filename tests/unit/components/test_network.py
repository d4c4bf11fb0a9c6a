"""The network: where the subnets lie, and that they stay there."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.network import ENDPOINT_SERVICES, subnet_plan
from tests.fakes import pulumi_mocks
from tests.fakes.pulumi_mocks import MISSING_SERVICES, REGION, Deployment, EngineError, deploy

vpc_cidrs = st.builds(
    lambda address, prefix: str(IPv4Network((address, prefix), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(16, 24),
)


@given(vpc_cidrs)
def test_subnets_lie_inside_the_vpc_and_apart(cidr: str) -> None:
    plan = subnet_plan(cidr)
    subnets = [IPv4Network(each) for each in (*plan.private, *plan.public)]
    assert all(each.subnet_of(IPv4Network(cidr)) for each in subnets)
    assert not any(subnet.overlaps(other) for subnet, other in combinations(subnets, 2))


@given(vpc_cidrs)
def test_zone_by_zone_the_ranges_fill_the_vpc_without_a_gap(cidr: str) -> None:
    # What awsx demands of the strategy Exact before it makes anything.
    plan = subnet_plan(cidr)
    kinds = (plan.private, plan.public, *plan.unused)
    ranges = [IPv4Network(kind[zone]) for zone in (0, 1) for kind in kinds]
    begins = [int(each.network_address) for each in ranges]
    ends = [int(each.broadcast_address) + 1 for each in ranges]
    assert begins[0] == int(IPv4Network(cidr).network_address)
    assert begins[1:] == ends[:-1]
    assert ends[-1] == int(IPv4Network(cidr).broadcast_address) + 1


@given(vpc_cidrs)
def test_subnets_have_sizes_that_aws_and_airflow_take(cidr: str) -> None:
    plan = subnet_plan(cidr)
    assert all(IPv4Network(each).num_addresses >= 64 for each in plan.private)
    assert all(IPv4Network(each).prefixlen <= 28 for each in plan.public)


def test_the_plan_of_the_default_network_never_changes() -> None:
    # Airflow's subnets cannot move: an environment would be replaced.
    plan = subnet_plan("10.0.0.0/16")
    assert plan.private == ("10.0.0.0/18", "10.0.128.0/18")
    assert plan.public == ("10.0.64.0/20", "10.0.192.0/20")


def test_no_setting_but_the_network_itself_moves_a_subnet() -> None:
    changes = {"nat": "per_az", "vpc_endpoints": True, "production": True, "enable_blue_green": True}
    before = deploy("standard").resource("Vpc", "network").inputs
    after = deploy("standard", changes).resource("Vpc", "network").inputs
    assert before["subnetSpecs"] == after["subnetSpecs"]
    assert before["availabilityZoneNames"] == after["availabilityZoneNames"]


@pytest.mark.parametrize(("nat", "strategy"), [("single", "Single"), ("per_az", "OnePerAz")])
def test_nat_gateways_follow_the_setting(nat: str, strategy: str) -> None:
    vpc = deploy("standard", {"nat": nat}).resource("Vpc", "network")
    assert vpc.inputs["natGateways"] == {"strategy": strategy}


def test_s3_is_always_reached_inside_the_network() -> None:
    (endpoint,) = deploy("standard").resource("Vpc", "network").inputs["vpcEndpointSpecs"]
    assert endpoint["serviceName"] == f"com.amazonaws.{REGION}.s3"
    assert endpoint["vpcEndpointType"] == "Gateway"


def endpoint_services(deployment: Deployment) -> set[str]:
    names = [each.inputs["serviceName"] for each in deployment.of_type("VpcEndpoint")]
    return {name.removeprefix(f"com.amazonaws.{REGION}.") for name in names}


def test_the_nodes_of_full_ha_have_an_endpoint_to_report_to() -> None:
    with_endpoints = {"vpc_endpoints": True}
    more = endpoint_services(deploy("fullha", with_endpoints)) - endpoint_services(
        deploy("bluegreen", with_endpoints)
    )
    assert more == {"autoscaling"}


def test_an_endpoint_is_in_the_zones_of_its_service() -> None:
    endpoints = deploy("standard", {"vpc_endpoints": True}).of_type("VpcEndpoint")
    subnets = {each.name: each.inputs["subnetIds"] for each in endpoints}
    assert subnets["network-sqs"] == ["subnet-private-2"]
    assert subnets["network-kms"] == ["subnet-private-1", "subnet-private-2"]


def test_another_error_than_a_missing_service_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(args: object) -> dict[str, object]:
        raise EngineError("UnauthorizedOperation")

    monkeypatch.setattr(pulumi_mocks, "_endpoint_service", denied)
    with pytest.raises(Exception, match="UnauthorizedOperation"):
        deploy("standard", {"vpc_endpoints": True})


def test_interface_endpoints_answer_the_private_subnets_only() -> None:
    deployment = deploy("standard", {"vpc_endpoints": True})
    assert endpoint_services(deployment) == set(ENDPOINT_SERVICES) - set(MISSING_SERVICES)
    rules = [each for each in deployment.of_type("SecurityGroupIngressRule") if "endpoints" in each.name]
    assert {(each.inputs["cidrIpv4"], each.inputs["fromPort"], each.inputs["toPort"]) for each in rules} == {
        ("10.0.0.0/18", 443, 443),
        ("10.0.128.0/18", 443, 443),
    }


def test_the_default_security_group_lets_nothing_through() -> None:
    group = deploy("standard").resource("DefaultSecurityGroup", "network")
    assert "ingress" not in group.inputs
    assert "egress" not in group.inputs
