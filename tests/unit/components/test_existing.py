"""What AWS has against the settings is said in one run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components.existing import network_and_zones
from mwaactl.cost.aws_answers import GET_PARTITION, PARTITIONS
from mwaactl.cost.existing import existing
from tests.fakes.pulumi_mocks import ACCOUNT, REGION, EngineError, run
from tests.unit.components.config.test_settings import parse
from tests.unit.components.test_own_network import OWN

WANTED = {
    **OWN,
    "max_workers": 30,
    "marquez_instance_type": "t3.small",
    "blue": {"dags_bucket": "acme-blue"},
    "access_log_bucket": "acme-logs",
    "security_group_ids": ["sg-0123456789abcdef9"],
    "permissions_boundary_arn": "arn:aws:iam::999999999999:policy/boundary",
}


def test_network_zones_quota_buckets_and_policies_are_refused_together() -> None:
    invokes = existing(REGION, {"config": json.dumps(WANTED)})

    def missing(args: Mapping[str, Any]) -> dict[str, Any]:
        raise EngineError("couldn't find resource")

    for name in ("ec2/getVpc:getVpc", "ec2/getSecurityGroup:getSecurityGroup", "s3/getBucket:getBucket"):
        invokes[f"aws:{name}"] = missing
    invokes["aws:cloudcontrol/getResource:getResource"] = missing
    invokes[GET_PARTITION] = lambda _: PARTITIONS["aws"]
    invokes["aws:index/getCallerIdentity:getCallerIdentity"] = lambda _: {"accountId": ACCOUNT}
    invokes["aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings"] = lambda _: {"locations": []}
    invokes["aws:servicequotas/getServiceQuota:getServiceQuota"] = lambda _: {"value": 25}
    with pytest.raises(pulumi.RunError) as raised:
        run(lambda: network_and_zones(parse(WANTED), {}), invokes=invokes)
    for each in (
        "The network cannot be used",
        "Security groups that cannot be used",
        "EC2 has no t3.small in us-east-1",
        "blue may have 30 workers",
        "acme-blue cannot be read",
        "acme-logs cannot be read",
        "IAM takes policies of the stack's account",
    ):
        assert str(raised.value).count(each) == 1
