"""Work does not move to an environment that is fenced."""

from __future__ import annotations

from typing import cast

from mwaactl.aws import Clients
from mwaactl.checks.fenced import POLICY, is_fenced
from mwaactl.checks.outcome import Check
from mwaactl.deployment import Deployment
from mwaactl.recovery.fence import fence, unfence
from mwaactl.stack import Stack, parse
from mwaactl.switching.plan import plan
from tests.fakes.aws.clients import FakeClients, outputs


def stack_with_roles() -> Stack:
    """The stack's environments with a role each, as deployed."""
    exports = outputs()
    for colour, environment in exports["airflow_environments"].items():
        environment["execution_role_arn"] = f"arn:aws:iam::123456789012:role/path/{colour}-role"
    return parse(exports)


def checked(aws: FakeClients) -> Check:
    checks = plan(Deployment(stack_with_roles(), cast(Clients, aws)), "green").checks
    return next(check for check in checks if check.name == "fenced")


def test_a_switch_to_a_fenced_environment_is_stopped_and_says_what_to_do(aws: FakeClients) -> None:
    assert checked(aws).result == "pass"
    fence(cast(Clients, aws), stack_with_roles().require("green"))
    assert list(aws.iam.policies) == [("green-role", POLICY)]
    check = checked(aws)
    assert check.stops
    assert "mwaactl unfence green" in check.detail


def test_a_fence_on_the_side_that_the_work_leaves_does_not_matter(aws: FakeClients) -> None:
    fence(cast(Clients, aws), stack_with_roles().require("blue"))
    assert checked(aws).result == "pass"


def test_who_may_not_ask_iam_is_told_so(aws: FakeClients) -> None:
    aws.iam.refuses = True
    check = checked(aws)
    assert check.result == "not checked"
    assert "iam:GetRolePolicy" in check.detail


def test_a_fence_goes_when_it_is_taken_away_and_only_then(aws: FakeClients) -> None:
    clients, green = cast(Clients, aws), stack_with_roles().require("green")
    for _ in range(2):
        fence(clients, green)
    assert is_fenced(clients, green)
    assert [unfence(clients, green).changed for _ in range(2)] == [True, False]
    assert not is_fenced(clients, green)
