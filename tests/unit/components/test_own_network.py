"""A network that exists: every way in which it may not fit is named, all at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pulumi
import pytest

from components.own_network import addresses_needed, own_network
from mwaactl.cost.aws_answers import Invoke
from mwaactl.cost.existing import existing
from tests.fakes.pulumi_mocks import REGION, EngineError, deploy, run
from tests.unit.components.config.test_settings import complaint, parse
from tests.unit.components.test_network import DOMAIN, SERVICES_OF_ALL

VPC, GROUP = "vpc-0123456789abcdef0", "sg-0123456789abcdef0"
SUBNETS = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
OWN: dict[str, Any] = {"vpc_id": VPC, "private_subnet_ids": SUBNETS}
TARGETS = dict.fromkeys(("cidrBlock", "gatewayId", "natGatewayId", "vpcEndpointId"), "")
TO_S3: dict[str, Any] = {"getRouteTable": {"routes": [{**TARGETS, "gatewayId": "vpce-1"}]}}


def look(
    changes: Mapping[str, Any] | None = None,
    *,
    previous: Mapping[str, Any] | None = None,
    endpoints: tuple[str, ...] = (),
    names: str = "com.amazonaws",
    twice: tuple[str, ...] = (),
    **answers: Any,
) -> Any:
    """What `own_network` finds. `endpoints`: those of the VPC; `names`: how those of their services begin;
    `twice`: of which it has two; `answers`: other outputs of the lookups, by the end of their names."""
    settings = parse({**OWN, **(changes or {})})
    invokes = existing(REGION, {"config": json.dumps({**OWN, **(changes or {})})})
    found: list[Any] = []

    def endpoint(args: Mapping[str, Any]) -> dict[str, Any]:
        assert args["state"] == "available"
        service = args["serviceName"].removeprefix(f"{names}.{REGION}.")
        if service in twice:
            raise EngineError(
                "multiple EC2 VPC Endpoints matched; use additional constraints to reduce matches to a "
                "single EC2 VPC Endpoint"
            )
        if service not in endpoints:
            raise EngineError("no matching EC2 VPC Endpoint found")
        return {"id": "vpce-1"}

    invokes["aws:ec2/getVpcEndpoint:getVpcEndpoint"] = endpoint
    for name, outputs in answers.items():
        token = f"aws:ec2/{name}:{name}"
        invokes[token] = partial(_changed, invokes[token], outputs)
    run(lambda: found.append(own_network(settings, previous or {})), invokes=invokes)
    return found[0]


def _changed(answer: Invoke, outputs: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
    return {**answer(args), **outputs}


def refusal(*arguments: Any, **answers: Any) -> str:
    with pytest.raises(pulumi.RunError) as raised:
        look(*arguments, **answers)
    return str(raised.value)


def test_a_network_that_fits_gives_its_zones_in_the_order_of_its_subnets() -> None:
    network = look({"private_subnet_ids": SUBNETS[::-1]})
    assert (network.vpc_id, network.subnet_ids) == (VPC, tuple(SUBNETS[::-1]))
    assert network.zones == ("us-east-1b", "us-east-1a")
    assert network.cidrs == ("10.0.0.0/16",)
    assert look({"vpc_id": "", "private_subnet_ids": []}) is None


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = refusal(
        getVpc={"enableDnsSupport": False, "enableDnsHostnames": False},
        getSubnet={"availabilityZone": "us-east-1a", "availableIpAddressCount": 3},
        getRouteTable={"routes": [{**TARGETS, "cidrBlock": "0.0.0.0/0", "gatewayId": "igw-1"}]},
    )
    for each in (
        "enableDnsSupport is off",
        "enableDnsHostnames is off",
        f"{SUBNETS[0]} has 3 free addresses",
        f"{SUBNETS[1]} is public",
        "both subnets are in us-east-1a",
        "pulumi config set vpc_id <value> -s test",
        "pulumi config set --path 'private_subnet_ids[1]' <value> -s test",
    ):
        assert each in text


def test_what_the_stack_has_there_already_needs_no_more_room() -> None:
    full = {"availableIpAddressCount": 0}
    assert "free addresses" in refusal(getSubnet=full)
    assert look(previous={"vpc_id": VPC}, getSubnet=full) is not None


def test_room_is_for_everything_at_its_most() -> None:
    small = addresses_needed(parse({**OWN, "max_workers": 5, "schedulers": 2}))
    assert small == 1 + 5 + 2 + 2 + 2
    assert addresses_needed(parse({**OWN, "max_workers": 9, "max_webservers": 5})) == small + 4 + 3
    both = parse({**OWN, "enable_blue_green": True, "enable_ha_marquez": True})
    assert addresses_needed(both) == 12 + 2 * (small - 1)


def test_without_a_route_out_every_service_needs_an_endpoint() -> None:
    none: dict[str, Any] = {"getRouteTable": {"routes": []}}
    text = refusal(**none)
    for service in ("s3", *SERVICES_OF_ALL):
        assert service in text
    text = refusal(endpoints=SERVICES_OF_ALL[1:], **none)
    assert f"no endpoint for s3, {SERVICES_OF_ALL[0]}\n" in text
    assert look(endpoints=SERVICES_OF_ALL, **TO_S3) is not None
    ha = {"enable_ha_marquez": True}
    text = refusal(ha, endpoints=SERVICES_OF_ALL, **TO_S3)
    assert "no endpoint for autoscaling\n" in text
    assert "aurora_authorities_file must name the file that nodes cannot fetch" in text
    services = (*SERVICES_OF_ALL, "autoscaling")
    assert "no endpoint" not in refusal(ha, endpoints=services, **TO_S3)
    authorities = {"aurora_authorities_file": "tests/fakes/of_a_team/rds.pem"}
    assert look({**ha, **authorities}, endpoints=services, **TO_S3) is not None


def test_the_domain_of_a_sink_needs_an_endpoint() -> None:
    assert "no endpoint for datazone\n" in refusal(DOMAIN, endpoints=SERVICES_OF_ALL, **TO_S3)
    assert look(DOMAIN, endpoints=(*SERVICES_OF_ALL, "datazone"), **TO_S3) is not None


def test_of_an_endpoint_there_may_be_several() -> None:
    assert look(endpoints=SERVICES_OF_ALL[1:], twice=SERVICES_OF_ALL[:1], **TO_S3) is not None


def test_in_china_an_endpoint_may_have_another_name() -> None:
    assert look(endpoints=SERVICES_OF_ALL, names="cn.com.amazonaws", **TO_S3) is not None


def test_another_error_than_a_missing_endpoint_is_passed_on() -> None:
    def denied(args: Mapping[str, Any]) -> dict[str, Any]:
        raise EngineError("UnauthorizedOperation")

    invokes = existing(REGION, {"config": json.dumps(OWN)})
    for name, answer in {"getVpcEndpoint": denied, "getRouteTable": lambda _: {"routes": []}}.items():
        invokes[f"aws:ec2/{name}:{name}"] = answer
    with pytest.raises(Exception, match="UnauthorizedOperation"):
        run(lambda: own_network(parse(OWN), {}), invokes=invokes)


def test_groups_are_of_the_stacks_vpc() -> None:
    assert look({"security_group_ids": [GROUP]}) is not None
    text = refusal({"security_group_ids": [GROUP]}, getSecurityGroup={"vpcId": "vpc-2"})
    assert f"security_group_ids[0] = {GROUP} is in vpc-2; the stack's is {VPC}" in text
    assert text.endswith("\n  pulumi config set --path 'security_group_ids[0]' <value> -s test")
    greens = {"enable_blue_green": True, "green": {"security_group_ids": ["sg-0123456789abcdef9", GROUP]}}
    text = refusal(greens, getVpc={"enableDnsSupport": False}, getSecurityGroup={"vpcId": "vpc-2"})
    assert "enableDnsSupport is off" in text, "with what is wrong with the network"
    assert text.endswith(
        "\n  pulumi config set --path 'green.security_group_ids[0]' <value> -s test"
        "\n  pulumi config set --path 'green.security_group_ids[1]' <value> -s test"
    )
    ours = {"vpc_id": "", "private_subnet_ids": [], "security_group_ids": [GROUP]}
    assert "the stack's VPC does not exist yet" in refusal(ours)
    assert look(ours, previous={"vpc_id": "vpc-3"}, getSecurityGroup={"vpcId": "vpc-3"}) is None


def test_marquez_hears_all_of_the_vpc_and_the_environments_have_the_groups() -> None:
    deployment = deploy("fullha", {**OWN, "nat": "single", "security_group_ids": [GROUP]})
    assert deployment.of_type("Vpc") == []
    assert {each.name for each in deployment.of_type("VpcEndpoint", "FlowLog")} == set()
    for colour in ("blue", "green"):
        network = deployment.resource("Environment", f"mwaa-{colour}").inputs["networkConfiguration"]
        assert network["subnetIds"] == SUBNETS
        assert network["securityGroupIds"] == [f"mwaa-{colour}-id", GROUP]
    (rule,) = [each for each in deployment.of_type("SecurityGroupIngressRule") if "from-vpc" in each.name]
    assert rule.inputs["cidrIpv4"] == "10.0.0.0/16"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vpc_id": "vpc-1"}, "vpc_id = 'vpc-1'"),
        ({"private_subnet_ids": []}, "private_subnet_ids = []: must be two subnets of vpc_id"),
        ({"private_subnet_ids": SUBNETS[:1]}, "must be the ids of two different subnets"),
        ({"private_subnet_ids": [SUBNETS[0]] * 2}, "must be the ids of two different subnets"),
        ({"vpc_id": ""}, "private_subnet_ids"),
        ({"nat": "per_az"}, "nat = 'per_az': must be removed: with vpc_id"),
        ({"vpc_endpoints": True}, "vpc_endpoints"),
        ({"flow_log_days": 30}, "flow_log_days"),
        ({"availability_zones": ["us-east-1a", "us-east-1b"]}, "availability_zones"),
        ({"security_group_ids": [GROUP] * 2}, "security_group_ids"),
    ],
)
def test_settings_of_the_network_that_do_not_go_together(changes: dict[str, Any], said: str) -> None:
    assert said in complaint(**{**OWN, **changes})
