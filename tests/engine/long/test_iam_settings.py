"""IAM of one's own: what the settings add to the roles, and a role that exists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.aws import callers
from local.home import ACCOUNT, REGION
from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project, Result

BOUNDARY, MORE = (f"arn:aws:iam::{ACCOUNT}:policy/org/{name}" for name in ("boundary", "more"))
SERVICES = ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]


def policy(*actions: str, effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Action": list(actions), "Resource": "*"}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    iam = cloud.client("iam")
    everything_but = document(policy("*"), policy("sqs:ListQueues", effect="Deny"))
    iam.create_policy(PolicyName="boundary", Path="/org/", PolicyDocument=everything_but)
    iam.create_policy(PolicyName="more", Path="/org/", PolicyDocument=document(policy("sqs:ListQueues")))
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("iam"), "iam")
    project.set(**{"aws:region": REGION})
    project.enter("bluegreen")
    yield project
    assert project.destroy().ok
    assert [each["RoleName"] for each in iam.list_roles()["Roles"]] == []
    for arn in (BOUNDARY, MORE):
        iam.delete_policy(PolicyArn=arn)


def configure(project: Project, path: str, value: str) -> None:
    done = project.run("config", "set", "--path", path, value)
    assert done.returncode == 0, done.stderr


def remove(project: Project, *keys: str) -> None:
    for key in keys:
        assert project.run("config", "rm", key).returncode == 0


def touched(result: Result) -> list[tuple[str, str]]:
    return [(op, name) for op, kind, name in result.changes if kind == ENVIRONMENT]


def role_of(project: Project, colour: str) -> str:
    return str(project.outputs()["airflow_environments"][colour]["execution_role_arn"])


def may(project: Project, colour: str, action: str) -> bool:
    """What the emulated AWS judges for an environment's execution role."""
    key = callers.of_role(project.cloud.home, role_of(project, colour))["AWS_ACCESS_KEY_ID"]
    call = {"action": action, "resource": "*"}
    return callers.judge(project.cloud.env["AWS_ENDPOINT_URL"], key, [call]).denied == (None,)


def test_policies_of_ones_own_are_added_and_touch_no_environment(project: Project) -> None:
    assert not may(project, "blue", "sns:ListTopics")
    assert not may(project, "blue", "sqs:ListQueues")
    configure(project, "execution_policy", document(policy("sns:ListTopics")))
    configure(project, "green.execution_policy", document(policy("sns:ListSubscriptions")))
    configure(project, "execution_policy_arns[0]", MORE)
    configure(project, "marquez_policy", document(policy("sns:ListTopics")))
    configure(project, "snapshot_policy_arns[0]", MORE)
    project.set(log_retention_days=90, backup_retention_days=21)
    result = project.up()
    assert result.ok, result.said
    assert touched(result) == []
    assert {op for op, _, _ in result.changes} <= {"create", "update"}
    groups = project.cloud.client("logs").describe_log_groups()["logGroups"]
    assert {each["retentionInDays"] for each in groups} == {90}
    assert may(project, "blue", "sns:ListTopics")
    assert not may(project, "green", "sns:ListTopics"), "green has a document of its own"
    assert may(project, "green", "sqs:ListQueues")
    assert project.up().changes == []


def test_a_boundary_limits_every_role_and_touches_no_environment(project: Project) -> None:
    project.set(permissions_boundary_arn=BOUNDARY)
    result = project.up()
    assert result.ok, result.said
    assert touched(result) == []
    iam = project.cloud.client("iam")
    names = [each["RoleName"] for each in iam.list_roles()["Roles"]]
    boundaries = [iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"] for name in names]
    assert len(names) == 4, "blue, green, the node, its snapshots"
    assert {each["PermissionsBoundaryArn"] for each in boundaries} == {BOUNDARY}
    assert not may(project, "green", "sqs:ListQueues"), "the boundary denies what the policy allows"
    remove(project, "permissions_boundary_arn")
    assert project.up().ok
    assert may(project, "green", "sqs:ListQueues")


def test_another_path_replaces_the_roles_and_updates_the_environments_which_the_guard_says(
    project: Project,
) -> None:
    project.set(iam_path="/data/team/")
    refused = project.preview()
    assert not refused.ok
    assert "blue owns work and would be updated (execution_role_arn" in refused.said
    project.set(update_owner_in_place=True)
    result = project.up()
    remove(project, "update_owner_in_place")
    assert result.ok, result.said
    assert sorted(touched(result)) == [("update", "mwaa-blue"), ("update", "mwaa-green")]
    assert ":role/data/team/mwaa-blue-" in role_of(project, "blue")
    environment = project.cloud.client("mwaa").get_environment(
        Name=project.outputs()["airflow_environments"]["blue"]["name"]
    )["Environment"]
    assert environment["ExecutionRoleArn"] == role_of(project, "blue")
    assert may(project, "blue", "sns:ListTopics"), "its policies have come along"


def test_a_role_of_ones_own_is_checked_before_it_is_used(project: Project) -> None:
    remove(project, "execution_policy", "execution_policy_arns")
    assert project.run("config", "rm", "--path", "green.execution_policy").returncode == 0
    arn = f"arn:aws:iam::{ACCOUNT}:role/org/airflow-green"
    configure(project, "green.execution_role_arn", arn)
    missing = project.preview()
    assert not missing.ok
    assert arn in missing.said

    iam = project.cloud.client("iam")
    trust = policy("sts:AssumeRole") | {"Principal": {"Service": SERVICES[:1]}}
    del trust["Resource"]
    iam.create_role(RoleName="airflow-green", Path="/org/", AssumeRolePolicyDocument=document(trust))
    untrusted = project.preview()
    assert not untrusted.ok
    assert "must be one that airflow-env.amazonaws.com may assume" in untrusted.said

    trust["Principal"] = {"Service": SERVICES}
    iam.update_assume_role_policy(RoleName="airflow-green", PolicyDocument=document(trust))
    powerless = project.preview()
    assert not powerless.ok
    assert "Traceback" not in powerless.said
    assert f"The execution role {arn} of mwaa-openlineage-iam-green does not allow:" in powerless.said
    assert "airflow:PublishMetrics on " in powerless.said

    told = json.dumps(project.outputs()["execution_policies"]["green"])
    iam.put_role_policy(RoleName="airflow-green", PolicyName="airflow", PolicyDocument=told)
    result = project.up()
    assert result.ok, result.said
    assert touched(result) == [("update", "mwaa-green")]
    assert role_of(project, "green") == arn
    assert project.up().changes == []

    configure(project, "blue.execution_role_arn", arn)
    shared = project.preview()
    assert not shared.ok
    assert "green.execution_role_arn" in shared.said
    remove(project, "blue", "green")
    assert project.up().ok
    iam.delete_role_policy(RoleName="airflow-green", PolicyName="airflow")
    iam.delete_role(RoleName="airflow-green")
