"""Managed policies that IAM would refuse half-way through an update are refused before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components.own_policies import check_policies
from mwaactl.cost.aws_answers import GET_PARTITION, PARTITIONS
from mwaactl.cost.existing import existing
from tests.fakes.pulumi_mocks import ACCOUNT, REGION, EngineError, deploy, run
from tests.unit.components.config.test_settings import parse

IDENTITY = "aws:index/getCallerIdentity:getCallerIdentity"
QUOTA = "aws:servicequotas/getServiceQuota:getServiceQuota"
OURS, OTHERS = f"arn:aws:iam::{ACCOUNT}:policy/more", "arn:aws:iam::999999999999:policy/more"
AMAZONS, CHINAS = "arn:aws:iam::aws:policy/ReadOnlyAccess", f"arn:aws-cn:iam::{ACCOUNT}:policy/more"
SESSION = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"


def look(quota: Any = None, *, partition: str = "aws", **changes: Any) -> list[str]:
    """What is warned of. `quota`: what AWS answers, or raises; None: it is not asked."""
    asked: list[Mapping[str, Any]] = []

    def answer(args: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(args)
        if isinstance(quota, Exception):
            raise quota
        return {"value": quota}

    settings = parse(changes)
    invokes = {
        GET_PARTITION: lambda _: PARTITIONS[partition],
        IDENTITY: lambda _: {"accountId": ACCOUNT},
        QUOTA: answer,
    }
    try:
        return run(lambda: check_policies(settings), invokes=invokes).warnings
    finally:
        assert bool(asked) == (quota is not None)
        for each in asked:
            home = {"aws": "us-east-1", "aws-cn": "cn-north-1"}[partition]
            assert (each["serviceCode"], each["quotaCode"], each["region"]) == ("iam", "L-0DA4ABF3", home)


def refusal(*arguments: Any, **changes: Any) -> str:
    with pytest.raises(pulumi.RunError) as raised:
        look(*arguments, **changes)
    return str(raised.value)


def some(number: int) -> list[str]:
    return [f"{OURS}{each}" for each in range(number)]


def test_policies_of_this_account_and_amazons_own_are_taken() -> None:
    assert look() == []
    assert look(permissions_boundary_arn=OURS, execution_policy_arns=[AMAZONS, OURS]) == []
    assert look(partition="aws-cn", permissions_boundary_arn=CHINAS) == []


@pytest.mark.parametrize("arn", [OTHERS, CHINAS])
def test_a_policy_of_another_account_or_partition_is_refused_with_its_setting(arn: str) -> None:
    text = refusal(
        permissions_boundary_arn=arn,
        execution_policy_arns=[OURS, arn],
        marquez_policy_arns=[arn],
        snapshot_policy_arns=[arn],
        enable_blue_green=True,
        green={"execution_policy_arns": [arn]},
    )
    for key in (
        "permissions_boundary_arn",
        "execution_policy_arns[1]",
        "green.execution_policy_arns[0]",
        "marquez_policy_arns[0]",
        "snapshot_policy_arns[0]",
    ):
        assert f"\n  {key} = {arn}\n" in text
        typed = f"--path '{key}'" if "[" in key else key
        assert f"  pulumi config set {typed} <value> -s test" in text
    assert f"arn:aws:iam::{ACCOUNT}:" in text


def test_policies_of_roles_that_the_stack_does_not_have_are_not_looked_at() -> None:
    assert look(lineage="log", marquez_policy_arns=[OTHERS], snapshot_policy_arns=[OTHERS]) == []
    assert look(enable_ha_marquez=True, snapshot_policy_arns=[OTHERS]) == []


def test_as_many_policies_as_amazon_allows_by_default_are_not_asked_about() -> None:
    assert look(execution_policy_arns=some(10), marquez_policy_arns=some(9)) == []
    assert look(marquez_policy_arns=[*some(9), SESSION]) == [], "it is attached once"


def test_more_policies_need_a_quota_that_allows_them() -> None:
    assert look(15, execution_policy_arns=some(15), marquez_policy_arns=some(14)) == []
    text = refusal(10, execution_policy_arns=some(12), marquez_policy_arns=some(10))
    assert "This account's quota is 10 managed policies for a role" in text
    assert "execution_policy_arns gives a role 12 managed policies\n" in text
    assert (
        "marquez_policy_arns gives a role 11 managed policies, 1 of them Amazon's own that it needs" in text
    )
    assert "--service-code iam --quota-code L-0DA4ABF3 --desired-value 12 --region us-east-1" in text
    # From the end: each removal moves those after it.
    commands = [line.strip() for line in text.splitlines() if "config rm" in line]
    assert commands == [
        "pulumi config rm --path 'execution_policy_arns[11]' -s test",
        "pulumi config rm --path 'execution_policy_arns[10]' -s test",
        "pulumi config rm --path 'marquez_policy_arns[9]' -s test",
    ]
    with pytest.raises(pulumi.RunError, match="--region cn-north-1"):
        look(10, partition="aws-cn", execution_policy_arns=[f"{CHINAS}{each}" for each in range(11)])


def test_both_sides_with_the_stacks_policies_are_named_once() -> None:
    text = refusal(10, enable_blue_green=True, execution_policy_arns=some(11))
    assert text.count("execution_policy_arns gives a role") == 1


def test_who_may_not_ask_for_the_quota_is_warned() -> None:
    (warning,) = look(EngineError("AccessDenied"), execution_policy_arns=some(11))
    assert "11 managed policies is not known" in warning


def test_the_policies_that_are_counted_are_those_that_are_attached() -> None:
    deployment = deploy("standard", {"marquez_policy_arns": some(9), "snapshot_policy_arns": some(9)})
    roles = [each.inputs["role"] for each in deployment.of_type("RolePolicyAttachment")]
    assert sorted(Counter(roles).values()) == [10, 10]


def test_what_a_stack_costs_can_be_told_for_every_account() -> None:
    answer = existing(REGION, {"config": f'{{"permissions_boundary_arn": "{OTHERS}"}}'})[IDENTITY]
    assert answer({})["accountId"] == "999999999999"
