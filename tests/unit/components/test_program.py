"""The whole program in each mode: what is registered, under which names and options, and what is exported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pulumi
import pytest

from tests.fakes.pulumi_mocks import MODES, PROJECT, ROOT, Deployment, Registration, deploy, is_secret

Deployed = Callable[[str], Deployment]

# The longest physical names that AWS takes, of the types to which this program gives one.
NAME_LIMITS = {
    "aws:autoscaling/group:Group": 255,
    "aws:mwaa/environment:Environment": 80,
    "aws:route53/record:Record": 255,
    "aws:route53/zone:Zone": 255,
    "aws:ssm/parameter:Parameter": 1011,
}
# With Pulumi's 7 random hex digits and a hyphen after the logical name.
GENERATED_NAME_LIMITS = {
    "aws:iam/role:Role": 64,
    "aws:lb/loadBalancer:LoadBalancer": 32,
    "aws:lb/targetGroup:TargetGroup": 32,
    "aws:rds/cluster:Cluster": 63,
    "aws:s3/bucket:Bucket": 63,
}


def test_every_mode_deploys_what_its_row_of_the_table_says(in_each_mode: Deployment) -> None:
    mode = in_each_mode.exports["mode"]
    colours = {each.name for each in in_each_mode.of_type("Mwaa")}
    assert colours == ({"mwaa-blue", "mwaa-green"} if mode in ("bluegreen", "fullha") else {"mwaa-blue"})
    clusters, balancers = in_each_mode.of_type("Cluster"), in_each_mode.of_type("LoadBalancer")
    instances = in_each_mode.of_type("Instance")
    if mode in ("hamarquez", "fullha"):
        assert (len(clusters), len(balancers), len(instances)) == (1, 1, 0)
    else:
        assert (len(clusters), len(balancers), len(instances)) == (0, 0, 1)


def test_urns_are_unique(in_each_mode: Deployment) -> None:
    urns = [each.urn for each in in_each_mode.resources]
    assert len(urns) == len(set(urns))


def test_every_resource_hangs_in_a_component(in_each_mode: Deployment) -> None:
    for each in in_each_mode.resources:
        is_room = each.type.startswith("mwaa-openlineage:index:")
        assert is_room or "mwaa-openlineage:index:" in each.parent, each.urn


def test_logical_names_are_roles_in_kebab_case_without_the_stacks_name(in_each_mode: Deployment) -> None:
    for each in in_each_mode.resources:
        assert each.name == each.name.lower()
        assert set(each.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert PROJECT not in each.name
        assert in_each_mode.exports["stack"] not in each.name.split("-")


def test_nothing_deprecated_is_used(in_each_mode: Deployment) -> None:
    assert in_each_mode.warnings == []


def test_nothing_is_protected_because_that_would_be_stale_after_a_switch(in_each_mode: Deployment) -> None:
    assert [each.urn for each in in_each_mode.resources if each.request.protect] == []


def test_no_rule_lets_the_world_in(in_each_mode: Deployment) -> None:
    for each in in_each_mode.of_type("SecurityGroupIngressRule"):
        assert each.inputs.get("cidrIpv4") not in ("0.0.0.0/0", None) or each.inputs.get(
            "referencedSecurityGroupId"
        ), each.name
        assert "cidrIpv6" not in each.inputs
    for each in in_each_mode.of_type("SecurityGroup"):
        assert not {"ingress", "egress"} & each.inputs.keys(), "rules are resources of their own"


def test_every_bucket_is_private_encrypted_versioned_and_tls_only(in_each_mode: Deployment) -> None:
    buckets = {each.name for each in in_each_mode.of_type("Bucket")}
    for part in (
        "BucketPublicAccessBlock",
        "BucketServerSideEncryptionConfiguration",
        "BucketVersioning",
        "BucketPolicy",
    ):
        assert {each.name for each in in_each_mode.of_type(part)} == buckets, part
    for each in in_each_mode.of_type("BucketPublicAccessBlock"):
        assert {value for key, value in each.inputs.items() if key != "bucket"} == {True}
    for each in in_each_mode.of_type("BucketPolicy"):
        (refusal,) = json.loads(each.inputs["policy"])["Statement"]
        assert refusal["Effect"] == "Deny"
        assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_everything_that_can_be_tagged_is_tagged(in_each_mode: Deployment) -> None:
    wanted = {
        "project": PROJECT,
        "stack": in_each_mode.exports["stack"],
        "managed-by": "pulumi",
    }.items()
    taggable = (
        "Environment",
        "Bucket",
        "Role",
        "SecurityGroup",
        "Parameter",
        "Vpc",
        "Zone",
        "Instance",
        "Cluster",
    )
    for each in in_each_mode.of_type(*taggable):
        assert wanted <= each.inputs["tags"].items(), each.urn


def test_a_resource_has_its_own_tags_beside_the_stacks() -> None:
    zone = deploy("standard", {"tags": {"team": "data"}}).resource("Zone", "marquez-zone")
    assert zone.inputs["tags"]["team"] == "data"
    assert zone.inputs["tags"]["Name"] == "mwaa-openlineage-standard-marquez-zone"


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def test_the_database_password_goes_out_only_as_a_secret(in_each_mode: Deployment) -> None:
    for each in in_each_mode.resources:
        for key, value in each.inputs.items():
            assert is_secret(value) or "s3cret" not in " ".join(strings(value)), f"{each.urn} {key}"
    assert "s3cret" not in " ".join(strings(in_each_mode.exports))


@pytest.mark.parametrize("mode", MODES)
def test_names_stay_within_awss_limits_however_long_project_and_stack_are(mode: str) -> None:
    deployment = deploy(
        mode, project="a-project-with-a-very-long-name" * 3, stack="a_stack.with-a-long-name" * 3
    )
    for each in deployment.resources:
        given = each.inputs.get("name")
        if given is not None and each.type in NAME_LIMITS:
            assert len(given) <= NAME_LIMITS[each.type], each.urn
        if given is None and each.type in GENERATED_NAME_LIMITS:
            assert len(each.name) + 8 <= GENERATED_NAME_LIMITS[each.type], each.urn
    (zone,) = deployment.of_type("Zone")
    assert all(len(label) <= 63 for label in zone.inputs["name"].split("."))


def test_every_mode_exports_the_same_keys(deployed: Deployed) -> None:
    keys = {mode: set(deployed(mode).exports) for mode in MODES}
    assert keys["standard"] == keys["bluegreen"] == keys["hamarquez"] == keys["fullha"]


def test_every_output_is_described(deployed: Deployed) -> None:
    described = (ROOT / "docs" / "outputs.md").read_text()
    outputs = deployed("fullha").exports
    blue = outputs["airflow_environments"]["blue"]
    assert [key for key in (*outputs, *blue) if f"`{key}`" not in described] == []


def test_outputs_say_where_everything_is(deployed: Deployed) -> None:
    outputs = deployed("fullha").exports
    assert outputs["name"] == "mwaa-openlineage-fullha"
    assert outputs["region"] == "us-east-1"
    assert outputs["ownership_parameter"] == "/mwaa-openlineage/fullha/ownership"
    assert outputs["active_environment_parameter"] == "/mwaa-openlineage/fullha/active-environment"
    assert outputs["lineage_url"] == "http://marquez.mwaa-openlineage-fullha.internal"
    assert outputs["private_subnet_ids"] == ["subnet-private-1", "subnet-private-2"]
    assert sorted(outputs["airflow_environments"]) == ["blue", "green"]
    green = outputs["airflow_environments"]["green"]
    assert green["name"] == "mwaa-openlineage-fullha-green"
    assert green["bucket"] == "mwaa-green-1234567"
    assert green["identity"]["availability_zones"] == ["us-east-1a", "us-east-1b"]


def blue_of(deployment: Deployment) -> dict[str, Any]:
    def comparable(value: Any) -> Any:
        return value.path if isinstance(value, pulumi.FileAsset) else value

    own = [each for each in deployment.resources if "mwaa-blue" in each.name]
    return {each.urn: {name: comparable(value) for name, value in each.inputs.items()} for each in own}


def test_blue_is_the_same_in_all_modes() -> None:
    # One stack moved through the modes: nothing of blue changes, so AWS updates and replaces nothing of it.
    blues = [
        blue_of(deploy("standard", {"enable_blue_green": blue_green, "enable_ha_marquez": ha}))
        for blue_green in (False, True)
        for ha in (False, True)
    ]
    assert blues[0]
    assert all(blue == blues[0] for blue in blues)


def logical_name(urn: str) -> str:
    return urn.rpartition("::")[2]


def needs(deployment: Deployment, start: Registration) -> set[str]:
    """The URNs for which a resource waits, directly or not."""
    by_urn = {each.urn: each for each in deployment.resources}
    urns: set[str] = set()
    waiting = [start]
    while waiting:
        request = waiting.pop().request
        for urn in request.dependencies:
            if urn in by_urn and urn not in urns:
                urns.add(urn)
                waiting.append(by_urn[urn])
    return urns


def test_airflow_and_marquez_are_created_side_by_side(in_each_mode: Deployment) -> None:
    for environment in in_each_mode.of_type("Environment"):
        urns = needs(in_each_mode, environment)
        assert urns, "it does wait for its bucket and network"
        assert not [urn for urn in urns if "marquez" in logical_name(urn)]
        assert not [urn for urn in urns if "Ownership" in urn]
    for each in in_each_mode.resources:
        if "marquez" in each.name:
            urns = needs(in_each_mode, each)
            assert not [urn for urn in urns if logical_name(urn).startswith("mwaa-")], each.urn


def test_blue_and_green_do_not_wait_for_each_other(deployed: Deployed) -> None:
    fullha = deployed("fullha")
    for colour, other in (("blue", "green"), ("green", "blue")):
        urns = needs(fullha, fullha.resource("Environment", f"mwaa-{colour}"))
        assert not [urn for urn in urns if other in logical_name(urn)]


def test_production_keeps_its_buckets_and_development_removes_them(deployed: Deployed) -> None:
    for each in deployed("standard").of_type("Bucket"):
        assert each.inputs["forceDestroy"] is True
        assert not each.request.retainOnDelete
    kept = deploy("fullha", {"production": True})
    for each in kept.of_type("Bucket", "BucketPolicy", "BucketPublicAccessBlock"):
        assert each.request.retainOnDelete, each.urn
        assert each.inputs.get("forceDestroy", False) is False


def test_the_parameters_values_belong_to_the_switch(in_each_mode: Deployment) -> None:
    assert in_each_mode.resource("Parameter", "ownership").ignore_changes == ["value", "description"]
    assert in_each_mode.resource("Parameter", "ownership-active").ignore_changes == ["value"]


def test_a_mode_asks_aws_for_what_the_region_has_and_for_an_image(in_each_mode: Deployment) -> None:
    assert set(in_each_mode.invokes) <= {
        "pulumi:pulumi:readStackOutputs",
        "aws:ec2/getInstanceType:getInstanceType",
        "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings",
        "aws:ec2/getVpcEndpointService:getVpcEndpointService",
        "aws:index/getAvailabilityZones:getAvailabilityZones",
        "aws:index/getPartition:getPartition",
        "aws:rds/getEngineVersion:getEngineVersion",
        "aws:ssm/getParameter:getParameter",
    }
