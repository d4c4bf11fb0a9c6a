"""A role with a policy that the program did not give it, as a fenced environment has one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mwaactl.checks.fenced import POLICY
from mwaactl.recovery.fence import DOCUMENT
from tests.engine.deployment import Project
from tests.engine.test_plugin import HEAD, resource

Make = Callable[[str], Project]


def role(force: bool) -> str:
    arguments = (
        f"{{'name': 'fenced', 'assumeRolePolicy': '{{}}', 'forceDetachPolicies': {force}, 'arn': None}}"
    )
    return HEAD + resource("aws:iam/role:Role", "r", arguments)


@pytest.mark.parametrize("force", [False, True])
def test_only_a_role_that_gives_up_strange_policies_can_be_destroyed(program: Make, force: bool) -> None:
    project = program(role(force))
    assert project.up().ok
    iam = project.cloud.client("iam")
    iam.put_role_policy(RoleName="fenced", PolicyName=POLICY, PolicyDocument=DOCUMENT)
    assert project.up().changes == [], "the fence is nothing that the program minds"
    destroyed = project.run("destroy", "--yes", "--skip-preview")
    assert (destroyed.returncode == 0) is force
    if not force:  # so that the fixture can clean up
        iam.delete_role_policy(RoleName="fenced", PolicyName=POLICY)
