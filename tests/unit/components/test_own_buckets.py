"""Buckets that exist: every way in which one may not fit is named, all at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pytest

from components.own_buckets import check_log_bucket, check_own_buckets
from mwaactl.cost.aws_answers import GET_PARTITION, PARTITIONS, Invoke
from mwaactl.cost.existing import existing
from tests.fakes.pulumi_mocks import REGION, EngineError, deploy, run
from tests.unit.components.config.test_settings import complaint, parse

KEY = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
BOTH: dict[str, Any] = {
    "enable_blue_green": True,
    "blue": {"dags_bucket": "acme-blue"},
    "green": {"dags_bucket": "acme-green"},
}
RESOURCE, OBJECTS = "aws:cloudcontrol/getResource:getResource", "aws:s3/getObjects:getObjects"


def look(
    changes: Mapping[str, Any] | None = None,
    *,
    previous: Mapping[str, Any] | None = None,
    keys: Mapping[str, Sequence[str]] | None = None,
    invokes: Mapping[str, Invoke] | None = None,
    **properties: Any,
) -> list[str]:
    """What is warned of. `keys`: those of each bucket; `properties`: of each, other than as they must be."""
    settings = parse({**BOTH, **(changes or {})})
    answers = existing(REGION, {})
    as_it_must_be = answers[RESOURCE]

    def resource(args: Mapping[str, Any]) -> dict[str, Any]:
        return {"properties": json.dumps(json.loads(as_it_must_be(args)["properties"]) | properties)}

    def objects(args: Mapping[str, Any]) -> dict[str, Any]:
        if args["bucket"] not in (keys or {}):
            raise EngineError("listing S3 Bucket Objects: NoSuchBucket")
        assert args["maxKeys"] > 1000, "the provider's default would miss DAGs"
        found = (keys or {})[args["bucket"]]
        return {"keys": [key for key in found if key.startswith(args["prefix"])]}

    answers |= {RESOURCE: resource, OBJECTS: objects, **(invokes or {})}
    done = run(lambda: check_own_buckets(settings, previous or {}), invokes=answers)
    return list(done.warnings)


def refusal(*arguments: Any, **answers: Any) -> str:
    with pytest.raises(pulumi.RunError) as raised:
        look(*arguments, **answers)
    return str(raised.value)


def outputs(bucket: str) -> dict[str, Any]:
    return {"airflow_environments": {"blue": {"bucket": bucket, "dags_prefix": "dags/"}}}


def test_buckets_as_they_must_be_pass_without_a_word() -> None:
    assert look() == []
    assert look({"blue": {}, "green": {}}, invokes={RESOURCE: lambda _: {}}) == [], "nothing is asked"


def test_all_that_is_wrong_is_said_at_once_for_both_sides() -> None:
    text = refusal(
        VersioningConfiguration={"Status": "Suspended"},
        PublicAccessBlockConfiguration={"BlockPublicAcls": True},
        RegionalDomainName="acme.s3.eu-west-1.amazonaws.com",
    )
    for bucket in ("acme-blue", "acme-green"):
        assert f"{bucket} is not in the stack's region, us-east-1 (acme.s3.eu-west-1.amazonaws.com)" in text
        assert f"aws s3api put-bucket-versioning --bucket {bucket} " in text
        assert f"aws s3api put-public-access-block --bucket {bucket} " in text
    assert "pulumi config set --path blue.dags_bucket <value> -s test" in text


def test_a_bucket_that_cannot_be_read_is_refused() -> None:
    def missing(args: Mapping[str, Any]) -> dict[str, Any]:
        raise EngineError("couldn't find resource")

    text = refusal(invokes={RESOURCE: missing})
    assert "acme-blue cannot be read" in text
    assert "acme-green cannot be read" in text


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ({"ExpirationInDays": 30}, True),
        ({"ExpirationDate": "2027-01-01", "Prefix": "dags/old/"}, True),
        ({"ExpirationInDays": 30, "Prefix": "plugins"}, True),
        ({"ExpirationInDays": 30, "Prefix": "d"}, True),
        ({"ExpirationInDays": 30, "Prefix": "data/"}, False),
        ({"ExpirationInDays": 30, "Prefix": "plugins.zip.old/"}, False),
        ({"ExpirationInDays": 30, "Status": "Disabled"}, False),
        ({"NoncurrentVersionExpiration": {"NoncurrentDays": 3}}, False),
    ],
)
def test_no_rule_may_end_what_the_environment_reads(rule: Mapping[str, Any], wrong: bool) -> None:
    rules = {"Rules": [{"Id": "cleanup", "Status": "Enabled", **rule}]}
    if wrong:
        assert "acme-blue has the lifecycle rule cleanup" in refusal(LifecycleConfiguration=rules)
    else:
        assert look(LifecycleConfiguration=rules) == []


def test_another_key_is_warned_of() -> None:
    def encrypted(key: str) -> dict[str, Any]:
        default = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
        return {"ServerSideEncryptionConfiguration": [default]}

    assert any(KEY in warning for warning in look(BucketEncryption=encrypted(KEY)))
    for same in (KEY, KEY.rpartition("/")[2]):
        assert look({"kms_key_arn": KEY}, BucketEncryption=encrypted(same)) == []
    assert look(BucketEncryption={"ServerSideEncryptionConfiguration": [{}]}) == []


def test_an_environment_that_exists_must_find_its_dags_in_the_new_bucket() -> None:
    old = [
        "dags/",
        "dags/a.py",
        "dags/b.py",
        "dags/c.py",
        "dags/d.py",
        "dags/bluegreen_probe.py",
        "plugins.zip",
    ]
    text = refusal(previous=outputs("old"), keys={"old": old, "acme-blue": ["dags/c.py"]})
    assert "acme-blue lacks DAGs that blue has in old: a.py, b.py, d.py" in text
    assert "aws s3 sync s3://old/dags/ s3://acme-blue/dags/" in text
    assert look(previous=outputs("old"), keys={"old": old, "acme-blue": old[:5]}) == []
    assert look(previous=outputs("acme-blue")) == [], "the same bucket is not asked"
    assert look(previous=outputs("gone"), keys={"acme-blue": []}) == []

    def forbidden(args: Mapping[str, Any]) -> dict[str, Any]:
        raise EngineError("AccessDenied")

    assert "cannot be listed" in refusal(previous=outputs("old"), invokes={OBJECTS: forbidden})


def test_the_two_sides_need_a_bucket_each() -> None:
    assert "must be another bucket than blue's" in complaint(
        enable_blue_green=True, dags_bucket="acme-airflow"
    )


def test_what_is_in_a_bucket_of_ones_own_is_never_deleted() -> None:
    deployed = deploy("standard", {"dags_bucket": "acme-blue", "access_log_days": 30})
    assert [each.name for each in deployed.of_type("Bucket")] == ["traffic-logs", "lineage-log"]
    for name in ("requirements", "plugins", "startup", "dags"):
        file = deployed.resource("BucketObjectv2", f"mwaa-blue-{name}")
        assert file.inputs["bucket"] == "acme-blue"
        assert file.request.retainOnDelete
    assert not deployed.resource("BucketObjectv2", "mwaa-blue-probe").request.retainOnDelete
    environment = deployed.resource("Environment", "mwaa-blue").inputs
    assert environment["sourceBucketArn"] == "arn:aws:s3:::acme-blue"


def test_buckets_of_the_program_begin_with_the_prefix_and_keep_their_name() -> None:
    deployed = deploy("bluegreen", {"bucket_prefix": "acme-", "access_log_days": 30})
    buckets = deployed.of_type("Bucket")
    assert {each.inputs["bucketPrefix"] for each in buckets} == {
        f"acme-{each}-" for each in ("mwaa-blue", "mwaa-green", "lineage-log", "traffic-logs")
    }
    assert all(each.ignore_changes == ["bucketPrefix"] for each in buckets)


def log_bucket(policy: Any, **properties: Any) -> str:
    """What is said of a bucket for access logs. `policy`: its statements, None without a policy."""

    def answer(args: Mapping[str, Any]) -> dict[str, Any]:
        if policy is None:
            raise EngineError("reading S3 Bucket Policy: NoSuchBucketPolicy")
        return {"policy": json.dumps({"Statement": policy})}

    invokes = existing(REGION, {})
    as_it_must_be = json.loads(invokes[RESOURCE]({"identifier": "acme-logs"})["properties"])
    invokes |= {
        RESOURCE: lambda _: {"properties": json.dumps(as_it_must_be | properties)},
        "aws:s3/getBucketPolicy:getBucketPolicy": answer,
        GET_PARTITION: lambda _: PARTITIONS["aws"],
    }
    settings = parse({"access_log_bucket": "acme-logs"})
    try:
        run(lambda: check_log_bucket(settings), invokes=invokes)
    except pulumi.RunError as error:
        return str(error)
    return ""


ALLOWED = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject"}


@pytest.mark.parametrize(
    "policy",
    [
        ALLOWED,
        [ALLOWED],
        [
            {"Effect": "Deny", "Principal": "*"},
            {**ALLOWED, "Principal": {"Service": ["x", "logging.s3.amazonaws.com"]}},
        ],
    ],
)
def test_a_bucket_for_access_logs_is_one_to_which_s3_may_deliver(policy: Any) -> None:
    assert log_bucket(policy) == ""


@pytest.mark.parametrize(
    "policy", [None, [], [{**ALLOWED, "Effect": "Deny"}], [{**ALLOWED, "Principal": "*"}]]
)
def test_logs_that_s3_would_drop_are_seen_before(policy: Any) -> None:
    text = log_bucket(policy)
    assert "acme-logs does not let logging.s3.amazonaws.com deliver" in text
    assert '"Resource": "arn:aws:s3:::acme-logs/mwaa-openlineage-test/*"' in text


def test_all_that_is_wrong_with_it_is_said_at_once() -> None:
    default = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}}
    text = log_bucket(
        None,
        RegionalDomainName="acme-logs.s3.eu-west-1.amazonaws.com",
        BucketEncryption={"ServerSideEncryptionConfiguration": [default]},
    )
    for wrong in ("is not in the stack's region", "is encrypted with", "does not let"):
        assert f"acme-logs {wrong}" in text


@pytest.mark.parametrize(
    ("default", "said"),
    [
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}, KEY),
        ({"SSEAlgorithm": "aws:kms"}, "aws:kms"),
        ({"SSEAlgorithm": "aws:kms:dsse"}, "aws:kms:dsse"),
        ({"SSEAlgorithm": "AES256"}, None),
        ({}, None),
    ],
)
def test_access_logs_are_delivered_only_to_a_bucket_with_s3s_own_key(
    default: Mapping[str, str], said: str | None
) -> None:
    rules = {"ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": default}]}
    text = log_bucket([ALLOWED], BucketEncryption=rules)
    if said is None:
        assert text == ""
    else:
        assert f"acme-logs is encrypted with {said}: AWS delivers access logs only where S3's own key" in text
        assert "pulumi config set access_log_bucket <value> -s test" in text


def test_a_log_bucket_or_its_policy_that_cannot_be_read_stops() -> None:
    def forbidden(args: Mapping[str, Any]) -> dict[str, Any]:
        raise EngineError("AccessDenied")

    settings = parse({"access_log_bucket": "acme-logs"})
    for token in (RESOURCE, "aws:s3/getBucketPolicy:getBucketPolicy"):
        with pytest.raises(pulumi.RunError, match=r"acme-logs cannot be read: .*AccessDenied"):
            run(lambda: check_log_bucket(settings), invokes={**existing(REGION, {}), token: forbidden})


def test_access_logs_go_below_the_stacks_name_and_no_bucket_is_made_for_them() -> None:
    deployed = deploy("fullha", {"access_log_bucket": "acme-logs"})
    logged = {each.name: each.inputs for each in deployed.of_type("BucketLogging")}
    assert logged.keys() == {each.name for each in deployed.of_type("Bucket")}
    for name, inputs in logged.items():
        expected = ("acme-logs", f"mwaa-openlineage-fullha/buckets/{name}/")
        assert (inputs["targetBucket"], inputs["targetPrefix"]) == expected
    (balancer,) = deployed.of_type("LoadBalancer")
    prefix = "mwaa-openlineage-fullha/balancer"
    assert balancer.inputs["accessLogs"] == {"bucket": "acme-logs", "prefix": prefix, "enabled": True}
    assert not deployed.of_type("TrafficLogs")


def test_only_one_of_the_two_says_how_long_access_logs_stay() -> None:
    text = complaint(access_log_bucket="acme-logs", access_log_days=30)
    assert "access_log_days = 30: must be 0, or access_log_bucket removed" in text
