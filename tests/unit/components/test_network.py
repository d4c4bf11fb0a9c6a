"""The network: where the subnets lie, and that they stay there."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from bluegreen.timeline import COLOURS
from hypothesis import given
from hypothesis import strategies as st

from components.network import ENDPOINT_SERVICES, check_way_out, subnet_plan
from tests.fakes import pulumi_mocks
from tests.fakes.pulumi_mocks import MISSING_SERVICES, REGION, ROOT, Deployment, EngineError, deploy, run
from tests.fakes.wheels import write_wheels
from tests.unit.components.config.test_settings import complaint, parse

SERVICES_OF_ALL = tuple(each for each in ENDPOINT_SERVICES if each != "airflow.ops")
DOMAIN = {"lineage_sinks": {"catalog": {"datazone_domain": "dzd_4kq9example"}}}
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


def offline(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """The settings of a stack without a way to the internet."""
    return {
        "nat": "none",
        "wheels_folder": write_wheels(tmp_path / "wheels"),
        "marquez_image_registry": f"123456789012.dkr.ecr.{REGION}.amazonaws.com/mirror",
        "aurora_authorities_file": str(ROOT / "tests" / "fakes" / "of_a_team" / "rds.pem"),
        **changes,
    }


@pytest.mark.parametrize("mode", ["standard", "fullha"])
def test_without_nat_every_service_has_an_endpoint_and_no_subnet_moves(mode: str, tmp_path: Path) -> None:
    deployment = deploy(mode, offline(tmp_path))
    vpc, before = (each.resource("Vpc", "network").inputs for each in (deployment, deploy(mode)))
    assert vpc["natGateways"] == {"strategy": "None"}
    assert {key: vpc[key] for key in vpc if key != "natGateways"} == {
        key: before[key] for key in before if key != "natGateways"
    }
    ha = {"autoscaling"} if mode == "fullha" else set()
    services = {*SERVICES_OF_ALL, "ecr.api", "ecr.dkr"} | ha
    assert endpoint_services(deployment) == services
    assert deployment.exports["nat"] == "none"
    endpoints = {each.urn for each in deployment.of_type("VpcEndpoint")}
    assert endpoints <= set(deployment.resource("Environment", "mwaa-blue").request.dependencies)


def test_what_would_come_from_the_internet_is_refused_with_what_to_type(tmp_path: Path) -> None:
    text = complaint(nat="none", enable_ha_marquez=True, enable_blue_green=True)
    assert "3 invalid settings" in text
    assert "wheels_folder (not set): must be set with nat none" in text
    assert "mwaactl requirements package -o wheels" in text
    assert f"marquez_image_registry (not set): must be one of Amazon ECR in {REGION}" in text
    assert "mwaactl images mirror" in text
    assert "aurora_authorities_file (not set): must be a file with nat none" in text
    text = complaint(nat="none", lineage="log")
    assert "1 invalid setting" in text, "without Marquez there are no nodes"
    known = offline(tmp_path)
    for registry in (
        "registry.example.com/mirror",
        "public.ecr.aws/mirror",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror",
    ):
        text = complaint(**{**known, "marquez_image_registry": registry})
        assert f"marquez_image_registry = {registry!r}: must be one of Amazon ECR in {REGION}" in text
    text = complaint(**known, enable_blue_green=True, green={"wheels_folder": ""})
    assert "1 invalid setting" in text
    assert "green.wheels_folder (not set)" in text
    text = complaint(**known, vpc_id="vpc-0123456789abcdef0")
    assert "nat = 'none': must be removed: with vpc_id" in text


def test_a_zone_without_a_service_keeps_its_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pulumi_mocks, "MISSING_SERVICES", ("airflow.ops", "ecr.dkr"))
    with pytest.raises(Exception, match=r"have no endpoint of ecr\.dkr") as refused:
        deploy("standard", offline(tmp_path))
    assert "pulumi config set nat single" in str(refused.value)


def test_the_way_out_goes_after_the_requirements_that_need_it(tmp_path: Path) -> None:
    """A rollout changes what both sides share first: it would cut off what installs from an index."""
    settings = parse(offline(tmp_path, enable_blue_green=True))
    zones = ("us-east-1a", "us-east-1b")
    with_wheels = {colour: {"deployed": {"requirements.txt": "sha256:1"}} for colour in COLOURS}
    without = {**with_wheels, "green": {"deployed": {"requirements.txt": "sha256:0"}}}

    def check(previous: dict[str, Any]) -> None:
        def program() -> None:
            check_way_out(settings, zones, previous, with_wheels)

        service = "aws:ec2/getVpcEndpointService:getVpcEndpointService"
        run(program, invokes={service: pulumi_mocks._endpoint_service})

    check({})
    check({"nat": "single", "airflow_environments": with_wheels})
    with pytest.raises(Exception, match="the requirements of green") as older:
        check({"airflow_environments": without})  # of a stack that had no such output yet
    assert "pulumi config set nat single" in str(older.value)
    check({"nat": "none", "airflow_environments": without})  # later wheels: mwaactl rollout brings them
    with pytest.raises(Exception, match="the requirements of green still come from the internet") as refused:
        check({"nat": "per_az", "airflow_environments": without})
    commands = re.findall(r"^  (.*) -s", str(refused.value), re.M)
    assert commands == [
        "pulumi config set nat per_az",
        "mwaactl rollout",
        "pulumi config set nat none",
        "pulumi up",
    ]


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


@pytest.mark.parametrize("way_out", ["none", "single"])
def test_the_nodes_reach_the_domain_of_a_sink_by_an_endpoint(way_out: str, tmp_path: Path) -> None:
    with_endpoints = offline(tmp_path) if way_out == "none" else {"vpc_endpoints": True}
    of_url = {"lineage_sinks": {"open": {"url": "https://open.example.com"}}}
    without = endpoint_services(deploy("standard", {**with_endpoints, **of_url}))
    assert endpoint_services(deploy("standard", {**with_endpoints, **DOMAIN})) - without == {"datazone"}


def test_a_zone_without_datazone_keeps_its_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pulumi_mocks, "MISSING_SERVICES", ("airflow.ops", "datazone"))
    deploy("standard", offline(tmp_path))
    with pytest.raises(Exception, match=r"have no endpoint of datazone"):
        deploy("standard", {**offline(tmp_path), **DOMAIN})


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
