"""A network of one's own: looked up, checked, used, and nothing made in its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local.home import REGION
from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project


class Organisation:
    """Its VPC in the emulated EC2: two private subnets with a route to a NAT gateway, a public one."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.ec2 = ec2 = cloud.client("ec2")
        self.vpc = self.new_vpc("10.50.0.0/16")
        self.private = [self.subnet(f"10.50.{number}.0/24", zone) for number, zone in enumerate("ab")]
        self.public = self.subnet("10.50.9.0/24", "b")
        nat = ec2.create_nat_gateway(SubnetId=self.public, ConnectivityType="private")["NatGateway"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        self.route(self.public, GatewayId=gateway)
        for subnet in self.private:
            self.route(subnet, NatGatewayId=nat["NatGatewayId"])

    def new_vpc(self, cidr: str) -> str:
        vpc = str(self.ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"])
        self.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        return vpc

    def subnet(self, cidr: str, zone: str, vpc: str | None = None) -> str:
        made = self.ec2.create_subnet(
            VpcId=vpc or self.vpc, CidrBlock=cidr, AvailabilityZone=f"{REGION}{zone}"
        )
        return str(made["Subnet"]["SubnetId"])

    def route(self, subnet: str, **target: str) -> None:
        table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)

    def group(self, vpc: str | None = None) -> str:
        made = self.ec2.create_security_group(GroupName="x", Description="x", VpcId=vpc or self.vpc)
        return str(made["GroupId"])


@pytest.fixture(scope="module")
def organisation(cloud: LocalCloud) -> Organisation:
    return Organisation(cloud)


@pytest.fixture(scope="module")
def project(
    cloud: LocalCloud, organisation: Organisation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("network"), "network")
    project.set(**{"aws:region": REGION}, vpc_id=organisation.vpc)
    project.set(endpoint_management="CUSTOMER", webserver_access="PRIVATE_ONLY")
    use(project, *organisation.private)
    project.enter("fullha")
    yield project
    assert project.destroy().ok


def use(project: Project, *subnets: str) -> None:
    for index, subnet in enumerate(subnets):
        configure(project, f"private_subnet_ids[{index}]", subnet)


def configure(project: Project, path: str, value: str) -> None:
    done = project.run("config", "set", "--path", path, value)
    assert done.returncode == 0, done.stderr


def test_everything_is_in_that_network_and_none_is_made(project: Project, organisation: Organisation) -> None:
    of_networks = ("vpc:Vpc", "subnet:Subnet", "natGateway", "routeTable", "internetGateway", "awsx")
    made = [each["type"] for each in project.resources()]
    assert not [each for each in made if any(part in each for part in of_networks)]
    outputs = project.outputs()
    assert outputs["vpc_id"] == organisation.vpc
    assert outputs["private_subnet_ids"] == organisation.private
    for colour in ("blue", "green"):
        assert project.environment(colour)["NetworkConfiguration"]["SubnetIds"] == organisation.private
    again = project.up()
    assert again.ok, again.said
    assert again.changes == []


def test_each_environment_has_the_endpoints_that_amazon_would_have_made(
    project: Project, organisation: Organisation
) -> None:
    endpoints = {
        resource["urn"].rpartition("::")[2]: resource["inputs"]
        for resource in project.resources()
        if resource["type"] == "aws:ec2/vpcEndpoint:VpcEndpoint"
    }
    assert endpoints.keys() == {
        f"mwaa-{colour}-{role}" for colour in ("blue", "green") for role in ("database", "webserver")
    }
    for colour in ("blue", "green"):
        environment = project.environment(colour)
        assert environment["EndpointManagement"] == "CUSTOMER"
        outputs = project.outputs()["airflow_environments"][colour]
        for role in ("database", "webserver"):
            endpoint = endpoints[f"mwaa-{colour}-{role}"]
            service = environment[f"{role.title()}VpcEndpointService"]
            assert endpoint["serviceName"] == service == outputs["vpc_endpoint_services"][role]
            assert endpoint["vpcId"] == organisation.vpc
            assert endpoint["subnetIds"] == organisation.private
            assert set(endpoint["securityGroupIds"]) <= set(
                environment["NetworkConfiguration"]["SecurityGroupIds"]
            )


def test_whoever_makes_the_endpoints_can_change_and_amazon_cannot_take_over(project: Project) -> None:
    project.set(endpoint_management="VPC_OWNER")
    result = project.preview()
    assert result.ok, result.said
    assert {(op, kind) for op, kind, _ in result.changes} == {("delete", "aws:ec2/vpcEndpoint:VpcEndpoint")}
    project.set(endpoint_management="SERVICE")
    refused = project.preview()
    project.set(endpoint_management="CUSTOMER")
    assert not refused.ok
    assert "blue owns work and would be replaced (endpoint_management CUSTOMER -> SERVICE)" in refused.said


def test_groups_of_ones_own_come_beside_the_programs_as_an_update(
    project: Project, organisation: Organisation
) -> None:
    group = organisation.group()
    configure(project, "green.security_group_ids[0]", group)
    result = project.up()
    assert result.ok, result.said
    assert [(op, name) for op, kind, name in result.changes if kind == ENVIRONMENT] == [
        ("update", "mwaa-green")
    ]
    groups = project.environment("green")["NetworkConfiguration"]["SecurityGroupIds"]
    assert group in groups
    assert len(groups) == 2
    assert len(project.environment("blue")["NetworkConfiguration"]["SecurityGroupIds"]) == 1

    elsewhere = organisation.new_vpc("10.51.0.0/16")
    configure(project, "green.security_group_ids[0]", organisation.group(elsewhere))
    refused = project.preview()
    assert not refused.ok
    assert f"is in {elsewhere}; the stack's is {organisation.vpc}" in refused.said
    assert project.run("config", "rm", "green").returncode == 0
    assert project.up().ok


def test_other_subnets_would_replace_both_environments_so_the_guard_stops(
    project: Project, organisation: Organisation
) -> None:
    use(project, organisation.subnet("10.50.20.0/24", "a"))
    refused = project.preview()
    use(project, *organisation.private)
    assert not refused.ok
    assert "has no route to 0.0.0.0/0, and the VPC no endpoint for s3, airflow.api" in refused.said
    third = organisation.subnet("10.50.21.0/24", "a")
    organisation.route(third, NatGatewayId="nat-0123456789abcdef0")
    use(project, third)
    refused = project.preview()
    use(project, *organisation.private)
    assert not refused.ok
    assert "blue owns work and would be replaced (subnet_ids" in refused.said


@pytest.mark.parametrize(
    ("choose", "said"),
    [
        (
            lambda org: [org.private[0], org.public],
            "is public: its route to 0.0.0.0/0 is an internet gateway",
        ),
        (
            lambda org: [org.private[0], org.subnet("10.52.0.0/24", "b", org.new_vpc("10.52.0.0/16"))],
            "is in another VPC",
        ),
    ],
)
def test_what_amazon_would_refuse_hours_later_is_refused_at_once(
    cloud: LocalCloud, organisation: Organisation, tmp_path: Any, choose: Any, said: str
) -> None:
    project = Project.of_checkout(cloud, tmp_path, "refused")
    project.set(**{"aws:region": REGION}, vpc_id=organisation.vpc)
    use(project, *choose(organisation))
    refused = project.preview()
    project.run("stack", "rm", "--yes", "--force")
    assert not refused.ok
    assert said in refused.said, refused.said
    assert [kind for _, kind, _ in refused.steps if not kind.startswith("pulumi:")] == []
