"""The table of resource types: it fits the provider's schema, and decides what a change replaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from local.provider import schema
from local.provider.kinds.table import KINDS
from local.provider.kinds.templates import recorded, replacements
from local.provider.values import UNKNOWN, changed_paths

NETWORK = {"subnetIds": ["a", "b"], "securityGroupIds": ["c"]}


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_speaks_of_arguments_that_the_provider_has(kind: str) -> None:
    known = schema.read("aws", kind)
    table = KINDS[kind]
    for path in table.replaces:
        fields: Mapping[str, Any] = known["inputs"]
        for part in path.split("."):
            assert part in fields, path
            fields = fields[part].get("fields", {})
    assert table.name is None or table.name in known["inputs"]
    assert table.defaults.keys() <= known["inputs"].keys()
    assert table.outputs.keys() <= set(known["outputs"])
    assert table.renewed.keys() <= set(known["outputs"])
    for causes in table.renewed.values():
        assert set(causes) <= known["inputs"].keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_template_can_be_filled_in_from_the_arguments(kind: str) -> None:
    fields = schema.read("aws", kind)["inputs"]
    inputs = {key: "text" for key, field in fields.items() if field["type"] == "str" and not field["many"]}
    identifier, outputs = recorded(KINDS[kind], inputs, "eu-west-1")
    assert identifier
    assert not [key for key, value in outputs.items() if isinstance(value, str) and "{" in value]


def test_the_sdk_is_read_as_its_classes_are() -> None:
    import pulumi_aws as aws

    for kind, args in {
        "aws:rds/cluster:Cluster": aws.rds.ClusterArgs,
        "aws:autoscaling/group:Group": aws.autoscaling.GroupArgs,
        "aws:s3/bucketVersioning:BucketVersioning": aws.s3.BucketVersioningInitArgs
        if hasattr(aws.s3, "BucketVersioningInitArgs")
        else aws.s3.bucket_versioning.BucketVersioningInitArgs,
    }.items():
        own = [name for name, value in vars(args).items() if isinstance(value, property)]
        assert len(schema.read("aws", kind)["inputs"]) == len(own)


def test_a_change_of_subnets_replaces_an_environment_and_one_of_security_groups_does_not() -> None:
    kind = "aws:mwaa/environment:Environment"
    old = {"networkConfiguration": NETWORK, "airflowVersion": "2.11.2"}
    other_groups = {**old, "networkConfiguration": {**NETWORK, "securityGroupIds": ["d"]}}
    other_subnets = {**old, "networkConfiguration": {**NETWORK, "subnetIds": ["a", "d"]}}
    assert replacements(KINDS[kind], list(changed_paths(old, other_groups)), old, other_groups) == []
    assert replacements(KINDS[kind], list(changed_paths(old, other_subnets)), old, other_subnets)


@pytest.mark.parametrize(
    ("before", "after", "replaced"),
    [
        ("2.11.2", "3.0.6", True),
        ("3.0.6", "3.3.1", False),
        ("2.10.3", "2.11.2", False),
        ("3.0.6", "2.11.2", False),
    ],
)
def test_a_major_upgrade_replaces_an_environment(before: str, after: str, replaced: bool) -> None:
    old, new = {"airflowVersion": before}, {"airflowVersion": after}
    forcing = replacements(KINDS["aws:mwaa/environment:Environment"], ["airflowVersion"], old, new)
    assert bool(forcing) is replaced


def test_user_data_replaces_an_instance_only_on_request() -> None:
    kind = "aws:ec2/instance:Instance"
    assert replacements(KINDS[kind], ["userData"], {}, {"userDataReplaceOnChange": True}) == ["userData"]
    assert replacements(KINDS[kind], ["userData"], {}, {"userDataReplaceOnChange": False}) == []


def test_a_value_not_known_yet_counts_as_a_change() -> None:
    assert list(changed_paths({"a": {"b": 1}}, {"a": {"b": UNKNOWN}})) == ["a.b"]
