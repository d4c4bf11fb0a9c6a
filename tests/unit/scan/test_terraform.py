"""A stack's resources as a Terraform plan."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.pulumi_mocks import ARNS
from tests.scan.terraform import SECRET, plan, snake_case, terraform_type

PREFIX = "urn:pulumi:test::project::"


def resource(type: str, name: str, *, id: str = "", **inputs: Any) -> dict[str, Any]:
    return {
        "urn": f"{PREFIX}{type}::{name}",
        "type": type,
        "id": id or f"{name}-id",
        "inputs": inputs,
        "outputs": {**inputs, "arn": f"arn:{name}"},
    }


def rendered(*resources: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values and the expressions of the first resource."""
    whole = plan(resources)
    (values, *_), (configured, *_) = (
        whole[part]["root_module"]["resources"] for part in ("planned_values", "configuration")
    )
    return values["values"], configured["expressions"]


def test_every_type_that_the_program_registers_has_a_name() -> None:
    names = {terraform_type(token) for token in ARNS if token.startswith("aws:")}
    assert len(names) == sum(token.startswith("aws:") for token in ARNS)
    assert {"aws_lb", "aws_db_subnet_group", "aws_s3_object", "aws_ebs_volume", "aws_vpc_endpoint"} <= names


def test_an_unknown_type_is_not_left_out_in_silence() -> None:
    for token in ("aws:sqs/queue:Queue", "aws:s3/bucketAcl:BucketAcl"):
        with pytest.raises(LookupError, match=token):
            plan([resource(token, "new")])


@pytest.mark.parametrize(
    ("name", "terraform"),
    [("dagS3Path", "dag_s3_path"), ("cidrIpv4", "cidr_ipv4"), ("enableHttp2", "enable_http2")],
)
def test_arguments_are_in_snake_case(name: str, terraform: str) -> None:
    assert snake_case(name) == terraform


def test_an_object_is_a_block_a_list_of_objects_are_blocks_and_a_map_stays() -> None:
    values, _ = rendered(
        resource(
            "aws:lb/listener:Listener",
            "listener",
            defaultActions=[{"type": "redirect", "redirect": {"statusCode": "HTTP_301"}}],
            subnets=["a", "b"],
            tags={"camelCase": "x"},
            __defaults=["name"],
        )
    )
    assert values == {
        "default_action": [{"type": "redirect", "redirect": [{"status_code": "HTTP_301"}]}],
        "subnets": ["a", "b"],
        "tags": {"camelCase": "x"},
    }


def test_the_value_of_a_secret_stays_out() -> None:
    secret = {SECRET: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x"}
    values, _ = rendered(resource("aws:ssm/parameter:Parameter", "parameter", value=secret))
    assert values == {"value": "(secret)"}


def test_an_argument_that_is_another_resource_is_a_reference_as_in_a_plan() -> None:
    vpc = resource("aws:ec2/vpc:Vpc", "network", id="vpc-1")
    values, expressions = rendered(resource("aws:ec2/subnet:Subnet", "a", vpcId="vpc-1", cidrBlock="x"), vpc)
    assert values == {"cidr_block": "x"}
    assert expressions == {"vpc_id": {"references": ["aws_vpc.network.id", "aws_vpc.network"]}}


def test_a_document_that_names_another_resource_keeps_its_text() -> None:
    bucket = resource("aws:s3/bucket:Bucket", "log")
    policy = resource("aws:s3/bucketPolicy:BucketPolicy", "log", policy='{"Resource": "arn:log"}')
    policy["propertyDependencies"] = {"policy": [bucket["urn"]]}
    values, expressions = rendered(policy, bucket)
    assert values == {"policy": '{"Resource": "arn:log"}'}
    assert expressions == {"policy": {"references": ["aws_s3_bucket.log"]}}


def test_of_two_resources_with_one_name_the_dependency_is_meant() -> None:
    roles = [resource("aws:iam/role:Role", name, id="same") for name in ("one", "other")]
    profile = resource("aws:iam/instanceProfile:InstanceProfile", "node", role="same")
    assert rendered(profile, *roles) == ({"role": "same"}, {})
    profile["propertyDependencies"] = {"role": [roles[1]["urn"]]}
    values, expressions = rendered(profile, *roles)
    assert not values
    assert expressions["role"]["references"][0] == "aws_iam_role.other.id"


def test_two_resources_never_share_an_address() -> None:
    with pytest.raises(ValueError, match="same Terraform address"):
        plan([resource("aws:ec2/vpc:Vpc", "a.b"), resource("aws:ec2/vpc:Vpc", "a/b")])
