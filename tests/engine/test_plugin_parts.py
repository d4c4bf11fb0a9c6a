"""The resource plugin's tables and pure parts, without an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.provider import airflow, schema, storage
from local.provider.kinds import KINDS
from local.provider.network import SubnetSpec, check
from local.provider.templates import recorded, replacements
from local.provider.values import UNKNOWN, ProviderError, changed_paths

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
    assert replacements(kind, list(changed_paths(old, other_groups)), old, other_groups) == []
    assert replacements(kind, list(changed_paths(old, other_subnets)), old, other_subnets)


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
    found = replacements("aws:mwaa/environment:Environment", ["airflowVersion"], old, new)
    assert bool(found) is replaced


def test_user_data_replaces_an_instance_only_when_told_to() -> None:
    kind = "aws:ec2/instance:Instance"
    assert replacements(kind, ["userData"], {}, {"userDataReplaceOnChange": True}) == ["userData"]
    assert replacements(kind, ["userData"], {}, {"userDataReplaceOnChange": False}) == []


def test_a_value_not_known_yet_counts_as_a_change() -> None:
    assert list(changed_paths({"a": {"b": 1}}, {"a": {"b": UNKNOWN}})) == ["a.b"]


def subnets(*cidrs: str) -> list[SubnetSpec]:
    kinds = ("Private", "Public") * len(cidrs)
    return [SubnetSpec(f"s{i}", kinds[i], f"zone{i // 2}", cidr, {}) for i, cidr in enumerate(cidrs)]


def test_exact_subnets_must_fill_the_vpc_zone_by_zone() -> None:
    filled = subnets("10.0.0.0/18", "10.0.64.0/18", "10.0.128.0/18", "10.0.192.0/18")
    check(filled, "10.0.0.0/16", "Single", exact=True)
    with pytest.raises(ProviderError, match="gaps"):
        check(filled[:3], "10.0.0.0/16", "Single", exact=True)
    with pytest.raises(ProviderError, match="gaps"):
        check([filled[0], filled[2], filled[1], filled[3]], "10.0.0.0/16", "Single", exact=True)
    check(filled[:3], "10.0.0.0/16", "Single", exact=False)


def test_overlapping_subnets_are_refused() -> None:
    with pytest.raises(ProviderError, match="overlaps"):
        check(subnets("10.0.0.0/18", "10.0.0.0/20"), "10.0.0.0/16", "Single", exact=False)


class FakeMwaa:
    """Answers with one environment after the other."""

    def __init__(self, *environments: dict[str, Any]) -> None:
        self.environments = list(environments)
        self.created: list[dict[str, Any]] = []

    def get_environment(self, Name: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        return {"Environment": self.environments.pop(0)}

    def create_environment(self, **arguments: Any) -> None:
        self.created.append(arguments)


class WrittenBucket:
    """S3 with one bucket, into which something writes after each of the first `late` times it was emptied."""

    def __init__(self, late: float) -> None:
        self.late, self.objects, self.exists = late, 1, True

    def get_paginator(self, _name: str) -> WrittenBucket:
        return self

    def paginate(self, **_where: str) -> list[dict[str, Any]]:
        return [{"Versions": [{"Key": str(each), "VersionId": "1"} for each in range(self.objects)]}]

    def delete_objects(self, **_what: Any) -> None:
        self.objects, self.late = (1, self.late - 1) if self.late > 0 else (0, 0)

    def delete_bucket(self, **_which: str) -> None:
        if self.objects:
            raise ClientError({"Error": {"Code": "BucketNotEmpty"}}, "DeleteBucket")
        self.exists = False


def test_a_bucket_that_is_written_to_while_it_is_emptied_goes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3 = WrittenBucket(late=3)
    monkeypatch.setattr(storage, "client", lambda _service: s3)
    storage.Bucket().delete("log", {"forceDestroy": True})
    assert not s3.exists


@pytest.mark.parametrize(("forced", "why"), [(True, "keeps writing"), (False, "forceDestroy is false")])
def test_a_bucket_that_cannot_be_emptied_says_why(
    monkeypatch: pytest.MonkeyPatch, forced: bool, why: str
) -> None:
    s3 = WrittenBucket(late=float("inf"))
    monkeypatch.setattr(storage, "client", lambda _service: s3)
    with pytest.raises(ProviderError, match=why):
        storage.Bucket().delete("log", {"forceDestroy": forced})


def environment(status: str, **more: Any) -> dict[str, Any]:
    return {"Name": "blue", "Arn": "arn", "Status": status, **more}


def test_a_failed_creation_is_told_with_mwaas_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = {"Error": {"ErrorCode": "INCORRECT_CONFIGURATION", "ErrorMessage": "no such subnet"}}
    mwaa = FakeMwaa(
        environment("DELETED"), environment("CREATING"), environment("CREATE_FAILED", LastUpdate=reason)
    )
    monkeypatch.setattr(airflow, "client", lambda _: mwaa)
    monkeypatch.setattr(airflow, "EVERY_SECONDS", 0)
    with pytest.raises(ProviderError, match="CREATE_FAILED: INCORRECT_CONFIGURATION no such subnet"):
        airflow.Environment().create({"name": "blue", "networkConfiguration": NETWORK})
    assert len(mwaa.created) == 1


def test_an_environment_left_by_an_interrupted_run_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {"NetworkConfiguration": {"SubnetIds": ["a", "b"], "SecurityGroupIds": ["c"]}}
    mwaa = FakeMwaa(environment("CREATING", **same), environment("AVAILABLE", **same))
    monkeypatch.setattr(airflow, "client", lambda _: mwaa)
    name, outputs = airflow.Environment().create({"name": "blue", "networkConfiguration": NETWORK})
    assert (name, outputs["status"]) == ("blue", "AVAILABLE")
    assert mwaa.created == []
