"""Buckets of one's own, their names and old versions: a setting never loses what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from local.home import REGION
from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project, Result

BUCKET = "acme-airflow-blue"
TYPE = "aws:s3/bucket:Bucket"


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("bucket"), "bucket")
    project.set(**{"aws:region": REGION}, bucket_prefix="acme-data-")
    project.enter("standard")
    yield project
    assert project.destroy().ok


def of_environments(result: Result) -> list[tuple[str, str]]:
    return [(op, name) for op, kind, name in result.changes if kind == ENVIRONMENT]


def versions(project: Project, bucket: str) -> dict[str, list[bytes]]:
    """What each object holds and held, the newest first."""
    s3 = project.cloud.client("s3")
    kept: dict[str, list[bytes]] = {}
    for each in s3.list_object_versions(Bucket=bucket).get("Versions", ()):
        body = s3.get_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])["Body"].read()
        kept.setdefault(each["Key"], []).append(body)
    return kept


def test_names_begin_as_the_setting_says_and_buckets_that_exist_keep_theirs(project: Project) -> None:
    outputs = project.outputs()
    names = {
        "mwaa-blue": outputs["airflow_environments"]["blue"]["bucket"],
        "lineage-log": outputs["lineage_log_bucket"],
    }
    for role, name in names.items():
        assert name.startswith(f"acme-data-{role}-")
    for prefix in ("other-", ""):
        project.set(bucket_prefix=prefix)
        assert project.preview().changes == []
    project.set(bucket_prefix="other-", access_log_days=30)
    result = project.up()
    assert result.ok, result.said
    assert [(op, name) for op, kind, name in result.changes if kind == TYPE] == [("create", "traffic-logs")]
    made = [each["Name"] for each in project.cloud.client("s3").list_buckets()["Buckets"]]
    assert [name for name in made if name.startswith("other-traffic-logs-")]
    assert {*names.values()} < {*made}


def test_old_versions_stay_as_long_as_the_setting_says(project: Project) -> None:
    project.set(old_versions_days=90)
    result = project.up()
    assert result.ok, result.said
    kind = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    assert result.changes == [("update", kind, "mwaa-blue")]
    s3, bucket = project.cloud.client("s3"), project.outputs()["airflow_environments"]["blue"]["bucket"]
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    days = {rule["ID"]: rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays") for rule in rules}
    assert days["old-versions"] == 90


def test_access_logs_can_go_to_a_bucket_that_exists(project: Project) -> None:
    s3, logs = project.cloud.client("s3"), "acme-access-logs"
    s3.create_bucket(Bucket=logs)
    project.set(access_log_days=0, access_log_bucket=logs)
    refused = project.preview()
    assert not refused.ok
    assert f"{logs} does not let logging.s3.amazonaws.com deliver" in refused.said, refused.said
    statement = json.loads(refused.said.split("needs this statement: ")[1].splitlines()[0])
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket=logs, Policy=json.dumps(policy))
    result = project.up()
    assert result.ok, result.said
    assert of_environments(result) == []
    assert ("delete", TYPE, "traffic-logs") in result.changes, "no production: the setting before is undone"
    targets = {
        each["inputs"]["targetBucket"]
        for each in project.resources()
        if each["type"] == "aws:s3/bucketLogging:BucketLogging"
    }
    assert targets == {logs}
    assert project.run("config", "rm", "access_log_bucket").returncode == 0
    assert project.up().ok
    s3.delete_bucket(Bucket=logs)


def test_a_bucket_of_ones_own_is_used_when_it_has_all_that_is_needed(project: Project) -> None:
    s3, before = project.cloud.client("s3"), project.outputs()["airflow_environments"]["blue"]["bucket"]
    s3.put_object(Bucket=before, Key="dags/team/sales.py", Body=b"sales")
    project.set(dags_bucket=BUCKET)
    missing = project.preview()
    assert f"{BUCKET} cannot be read" in missing.said

    s3.create_bucket(Bucket=BUCKET)
    s3.delete_public_access_block(Bucket=BUCKET)  # S3 makes every new bucket private
    rule = {"ID": "short", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
    refused = project.preview()
    assert not refused.ok
    for said in (
        f"aws s3api put-bucket-versioning --bucket {BUCKET} --versioning-configuration Status=Enabled",
        f"aws s3api put-public-access-block --bucket {BUCKET} --public-access-block-configuration ",
        f"{BUCKET} has the lifecycle rule short, by which DAGs or files of the environment expire",
        f"{BUCKET} lacks DAGs that blue has in {before}: team/sales.py",
        f"aws s3 sync s3://{before}/dags/ s3://{BUCKET}/dags/",
    ):
        assert said in refused.said, refused.said
    assert before in {each["Name"] for each in s3.list_buckets()["Buckets"]}

    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.delete_bucket_lifecycle(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True))
    for key, body in {"dags/team/sales.py": b"sales", "requirements.txt": b"theirs", "data/x": b"1"}.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    result = project.up()
    assert result.ok, result.said
    assert "blue owns work and would be updated (source_bucket_arn" in result.said
    assert of_environments(result) == [("update", "mwaa-blue")]
    assert project.environment("blue")["SourceBucketArn"] == f"arn:aws:s3:::{BUCKET}"
    assert project.outputs()["airflow_environments"]["blue"]["bucket"] == BUCKET
    assert project.up().changes == []


def test_the_program_configures_nothing_of_it_and_leaves_it_as_it_was(project: Project) -> None:
    s3 = project.cloud.client("s3")
    settings = [each for each in project.resources() if each["type"].startswith("aws:s3/bucket")]
    ours = [each for each in settings if each.get("inputs", {}).get("bucket") == BUCKET]
    assert {each["type"] for each in ours} == {"aws:s3/bucketObjectv2:BucketObjectv2"}
    assert project.run("config", "rm", "dags_bucket").returncode == 0
    result = project.up()
    assert result.ok, result.said
    assert of_environments(result) == [("update", "mwaa-blue")]
    kept = versions(project, BUCKET)
    assert kept["requirements.txt"][-1] == b"theirs"
    assert kept["dags/team/sales.py"] == [b"sales"]
    assert kept["data/x"] == [b"1"]
    assert not [key for key in kept if "probe" in key], "a DAG of ours would not be imported elsewhere"
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    listed = s3.list_object_versions(Bucket=BUCKET)
    for each in [*listed["Versions"], *listed.get("DeleteMarkers", ())]:
        s3.delete_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])
    s3.delete_bucket(Bucket=BUCKET)
