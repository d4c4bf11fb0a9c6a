"""An environment that was made without this program becomes blue of a stack, and nothing replaces it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.home import ACCOUNT, REGION
from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project, Result
from tests.engine.long.test_iam_settings import SERVICES, document, policy
from tests.engine.long.test_own_network import Organisation

NAME, BUCKET = "team-airflow", "team-dags"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{NAME}"
PASSWORD = "correct horse"
FAILS_LATER = """
import pulumi_aws as aws
after = pulumi.ResourceOptions(depends_on=[airflow["blue"]])
late = aws.ssm.Parameter("late", name="/taken", type="String", value="y", opts=after)
pulumi.export("late", late.name)  # or the stack would have outputs
"""
KEPT = (
    *("Name", "Arn", "CreatedAt", "KmsKey", "AirflowVersion", "EnvironmentClass", "EndpointManagement"),
    *("MinWorkers", "MaxWorkers", "Schedulers", "MinWebservers", "MaxWebservers"),
    *("WebserverAccessMode", "ExecutionRoleArn", "WeeklyMaintenanceWindowStart"),
)


@pytest.fixture(scope="module")
def outside(cloud: LocalCloud) -> Iterator[dict[str, Any]]:
    """The environment, as its team made it."""
    network, s3, iam = Organisation(cloud), cloud.client("s3"), cloud.client("iam")
    group = network.group()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as plugins:
        plugins.writestr("team/helpers.py", "ANSWER = 42\n")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    objects = {
        "dags/daily.py": b"# a DAG",
        "dags/sql/one.sql": b"select 1",
        "requirements.txt": b"pandas==2.3.3\n",
        "plugins.zip": archive.getvalue(),
    }
    versions = {
        key: s3.put_object(Bucket=BUCKET, Key=key, Body=body)["VersionId"] for key, body in objects.items()
    }
    s3.put_object(Bucket=BUCKET, Key="requirements.txt", Body=b"apache-airflow\n")  # not taken into use
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": SERVICES}}
    iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=document(trust))
    cloud.client("mwaa").create_environment(
        Name=NAME,
        ExecutionRoleArn=ROLE,
        SourceBucketArn=f"arn:aws:s3:::{BUCKET}",
        DagS3Path="dags",
        RequirementsS3Path="requirements.txt",
        RequirementsS3ObjectVersion=versions["requirements.txt"],
        PluginsS3Path="plugins.zip",
        PluginsS3ObjectVersion=versions["plugins.zip"],
        AirflowVersion="2.10.3",
        EnvironmentClass="mw1.medium",
        MaxWorkers=7,
        WebserverAccessMode="PUBLIC_ONLY",
        AirflowConfigurationOptions={"core.parallelism": "64", "smtp.smtp_password": PASSWORD},
        NetworkConfiguration={"SubnetIds": network.private, "SecurityGroupIds": [group]},
        WeeklyMaintenanceWindowStart="SAT:04:00",
        Tags={"team": "data", "cost=centre": "+5"},
    )
    yield read(cloud)
    for policies in iam.list_role_policies(RoleName=NAME)["PolicyNames"]:
        iam.delete_role_policy(RoleName=NAME, PolicyName=policies)
    iam.delete_role(RoleName=NAME)
    # Other tests look at all that this cloud holds.
    for kept in s3.list_object_versions(Bucket=BUCKET)["Versions"]:
        s3.delete_object(Bucket=BUCKET, Key=kept["Key"], VersionId=kept["VersionId"])
    s3.delete_bucket(Bucket=BUCKET)
    logs = cloud.client("logs")
    for group_ in logs.describe_log_groups(logGroupNamePrefix=f"airflow-{NAME}-")["logGroups"]:
        logs.delete_log_group(logGroupName=group_["logGroupName"])


def read(cloud: LocalCloud) -> dict[str, Any]:
    found: dict[str, Any] = cloud.client("mwaa").get_environment(Name=NAME)["Environment"]
    return found


@pytest.fixture(scope="module")
def project(
    cloud: LocalCloud, outside: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("adoption"), "adopted")
    project.set(**{"aws:region": REGION})
    yield project
    assert project.destroy().ok


def adopt(project: Project, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("mwaactl")),
            "adopt",
            NAME,
            "-s",
            project.stack,
            "--json",
            *options,
        ],
        cwd=project.folder,
        env=dict(project.cloud.env),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


def changed_meanwhile(cloud: LocalCloud, outside: dict[str, Any]) -> dict[str, Any]:
    """The team goes on working with it after the import. `outside`: what it was, returned as it is to be."""
    body = b"polars==1.9.0\n"
    version = cloud.client("s3").put_object(Bucket=BUCKET, Key="requirements.txt", Body=body)["VersionId"]
    options = {**outside["AirflowConfigurationOptions"], "core.parallelism": "32", "core.new": "x"}
    cloud.client("mwaa").update_environment(
        Name=NAME,
        MaxWorkers=9,
        RequirementsS3ObjectVersion=version,
        RequirementsS3Path="requirements.txt",
        AirflowConfigurationOptions={**options, "core.gone": "x"},
    )
    return {**read(cloud), "AirflowConfigurationOptions": options}


def touched(result: Result) -> list[tuple[str, str]]:
    return [(op, name) for op, kind, name in result.changes if kind == ENVIRONMENT]


# One story, told in this order.


def test_a_dry_run_shows_the_settings_and_writes_nothing(project: Project, outside: dict[str, Any]) -> None:
    before = project.stack_files()
    code, answer = adopt(project, "--dry-run")
    assert code == 0, answer
    assert answer["settings"]["max_workers"] == "7"
    assert answer["settings"]['airflow_options["smtp.smtp_password"]'] == "(secret)"
    assert answer["settings"]["catchup_by_default"] == "true"  # as Airflow 2 does it
    assert answer["files"] == [
        "adopted/team-airflow/requirements.txt",
        "adopted/team-airflow/plugins/team/helpers.py",
    ]
    assert project.stack_files() == before
    assert not (project.folder / "adopted").exists()
    assert project.resources() == []
    assert read(project.cloud) == outside


def test_an_up_that_fails_after_the_import_touches_nothing_either(
    project: Project, outside: dict[str, Any]
) -> None:
    """The next test types the command again, as this one's error says."""
    program, ssm = project.folder / "__main__.py", project.cloud.client("ssm")
    checkout = program.resolve()
    ssm.put_parameter(Name="/taken", Value="x", Type="String")
    program.unlink()
    program.write_text(checkout.read_text() + FAILS_LATER)
    code, answer = adopt(project)
    program.unlink()
    program.symlink_to(checkout)
    ssm.delete_parameter(Name="/taken")
    assert code != 0
    assert f"Then go on: mwaactl adopt {NAME} -s adopted" in answer["error"]
    assert NAME in [each["id"] for each in project.resources() if each["type"] == ENVIRONMENT]
    assert "airflow_environments" not in project.outputs()
    assert read(project.cloud) == outside


def test_the_import_changes_nothing_of_the_environment(project: Project, outside: dict[str, Any]) -> None:
    code, answer = adopt(project, "--later")
    assert code == 0, answer
    assert answer["stage"] == "imported"
    assert read(project.cloud) == outside
    (environment,) = (each for each in project.resources() if each["type"] == ENVIRONMENT)
    assert (environment["id"], environment["retainOnDelete"]) == (NAME, True)
    assert PASSWORD not in project.state_text()
    assert PASSWORD not in (project.folder / "Pulumi.adopted.yaml").read_text()


def test_until_the_update_nobody_makes_it_by_accident(project: Project, outside: dict[str, Any]) -> None:
    again = project.up()
    assert again.ok, again.said
    assert again.changes == []
    assert read(project.cloud) == outside
    project.set(enable_blue_green=True)
    refused = project.preview()
    project.set(enable_blue_green=False)
    assert not refused.ok
    assert f"{NAME} has no gate yet: a green beside it would execute every run a second time" in refused.said


def test_the_role_must_allow_what_the_gate_needs_before_anything_is_updated(
    project: Project, outside: dict[str, Any]
) -> None:
    code, answer = adopt(project)
    assert code == 1
    assert f"The execution role {ROLE} of {NAME} does not allow:" in answer["error"]
    assert "Add it to the role.\n" in answer["error"]
    assert f"Then go on: mwaactl adopt {NAME} -s adopted" in answer["error"]
    assert "pulumi up" not in answer["error"]
    assert read(project.cloud) == outside
    project.cloud.client("iam").put_role_policy(
        RoleName=NAME, PolicyName="all", PolicyDocument=document(policy("*"))
    )


def test_one_update_brings_in_the_gate_and_keeps_all_else(project: Project, outside: dict[str, Any]) -> None:
    s3 = project.cloud.client("s3")
    s3.put_object(Bucket=BUCKET, Key="dags/late.py", Body=b"# pushed between the import and the update")
    outside = changed_meanwhile(project.cloud, outside)
    code, answer = adopt(project, "--dry-run")
    assert {"max_workers: 7 -> 9", 'airflow_options["core.new"] is new'} <= {*answer["differs"]}, answer
    assert "file adopted/team-airflow/requirements.txt is another" in answer["differs"]
    code, answer = adopt(project, "--drop", "core.gone")
    assert code == 0, answer
    assert (answer["stage"], answer["dags"]) == ("updated", 3)
    after, blue = read(project.cloud), project.outputs()["airflow_environments"]["blue"]
    assert {key: after.get(key) for key in KEPT} == {key: outside.get(key) for key in KEPT}
    assert after["Tags"].items() >= outside["Tags"].items()
    options = after["AirflowConfigurationOptions"]
    assert options.items() >= outside["AirflowConfigurationOptions"].items()
    assert options["bluegreen.life"] == blue["life"]
    network = after["NetworkConfiguration"]
    assert network["SubnetIds"] == outside["NetworkConfiguration"]["SubnetIds"]
    assert {*outside["NetworkConfiguration"]["SecurityGroupIds"]} < {*network["SecurityGroupIds"]}
    assert after["SourceBucketArn"] == f"arn:aws:s3:::{blue['bucket']}"
    names = {each["Key"] for each in s3.list_objects_v2(Bucket=blue["bucket"], Prefix="dags/")["Contents"]}
    assert names >= {"dags/daily.py", "dags/sql/one.sql", "dags/late.py"}
    lines = s3.get_object(Bucket=blue["bucket"], Key="requirements.txt")["Body"].read().decode().split()
    assert "polars==1.9.0" in lines
    assert "core.gone" not in options
    assert "apache-airflow" not in lines
    archive = s3.get_object(Bucket=blue["bucket"], Key="plugins.zip")["Body"].read()
    with zipfile.ZipFile(io.BytesIO(archive)) as plugins:
        assert {"team/helpers.py", "bluegreen/gate.py"} <= set(plugins.namelist())


def test_afterwards_it_is_blue_like_any_other(project: Project) -> None:
    again = project.up()
    assert again.ok, again.said
    assert again.changes == []
    assert adopt(project)[1]["stage"] == "updated"
    before = read(project.cloud)
    project.set(enable_blue_green=True)
    both = project.up()
    assert both.ok, both.said
    assert touched(both) == [("create", "mwaa-green")]
    assert read(project.cloud) == before
    assert project.run("config", "rm", "adopted_environment").returncode == 0
    replaced = project.preview()
    project.set(adopted_environment=NAME)
    assert not replaced.ok
    assert (
        f"blue owns work and would be replaced (name {NAME} -> mwaa-openlineage-adopted-blue)"
        in replaced.said
    )
