"""The program in another partition than `aws`: no name of the wrong one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.pulumi_mocks import MODES, deploy, plain


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("changes", [{}, {"create_kms_key": True}])
def test_every_arn_is_one_of_the_partition(mode: str, changes: dict[str, Any]) -> None:
    deployment = deploy(mode, changes, partition="aws-cn")
    for each in deployment.resources:
        text = json.dumps({key: plain(value) for key, value in each.inputs.items()}, default=str)
        assert "arn:aws:" not in text, each.urn
    assert "arn:aws:" not in json.dumps(deployment.exports["operator_policies"])


def test_keys_are_used_through_services_as_china_names_them() -> None:
    deployment = deploy("fullha", {"create_kms_key": True}, partition="aws-cn")
    policies = [*deployment.of_type("RolePolicy"), *deployment.of_type("Key")]
    through = [text for each in policies for text in _hosts(json.loads(each.inputs["policy"]))]
    assert len(through) > 8
    assert all(text.endswith(".amazonaws.com.cn") for text in through), through


def _hosts(policy: dict[str, Any]) -> list[str]:
    hosts: list[str] = []
    for statement in policy["Statement"]:
        for condition in statement.get("Condition", {}).values():
            hosts += condition.get("kms:ViaService", [])
        if statement["Sid"] == "EncryptLogs":
            hosts.append(statement["Principal"]["Service"])
    return hosts
