"""Access logs and flow logs: where they go, who may deliver them, and for how long they stay."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.pulumi_mocks import ACCOUNT, MODES, Deployment, deploy
from tests.unit.components.config.test_settings import complaint

BUCKET = "traffic-logs-1234567"
ACCESS, FLOWS = {"access_log_days": 90}, {"flow_log_days": 30}


def policy(deployment: Deployment) -> dict[str, dict[str, Any]]:
    statements = json.loads(deployment.resource("BucketPolicy", "traffic-logs").inputs["policy"])["Statement"]
    return {each["Sid"]: each for each in statements}


@pytest.mark.parametrize("mode", MODES)
def test_by_default_there_are_none(mode: str) -> None:
    deployment = deploy(mode)
    assert not deployment.of_type("BucketLogging", "FlowLog", "TrafficLogs")
    assert not [each for each in deployment.of_type("LoadBalancer") if "accessLogs" in each.inputs]


@pytest.mark.parametrize("mode", MODES)
def test_all_buckets_but_their_own_and_the_load_balancer_have_access_logs(mode: str) -> None:
    deployment = deploy(mode, ACCESS)
    logging = {each.name: each.inputs for each in deployment.of_type("BucketLogging")}
    assert logging.keys() == {each.name for each in deployment.of_type("Bucket")} - {"traffic-logs"}
    for name, inputs in logging.items():
        assert (inputs["targetBucket"], inputs["targetPrefix"]) == (BUCKET, f"buckets/{name}/")
    for balancer in deployment.of_type("LoadBalancer"):
        assert balancer.inputs["accessLogs"] == {"bucket": BUCKET, "prefix": "balancer", "enabled": True}
    assert not deployment.of_type("FlowLog")


def test_flow_logs_alone_go_to_the_bucket_and_turn_nothing_else_on() -> None:
    deployment = deploy("fullha", FLOWS)
    (flows,) = deployment.of_type("FlowLog")
    assert flows.inputs["logDestination"] == f"arn:aws:s3:::{BUCKET}/flows"
    assert flows.inputs["trafficType"] == "ALL"
    assert not deployment.of_type("BucketLogging")
    (balancer,) = deployment.of_type("LoadBalancer")
    assert "accessLogs" not in balancer.inputs


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ACCESS, {"buckets/": 90, "balancer/": 90}),
        (FLOWS, {"flows/": 30}),
        ({**ACCESS, **FLOWS}, {"buckets/": 90, "balancer/": 90, "flows/": 30}),
    ],
)
def test_each_kind_expires_after_its_days(settings: dict[str, int], expected: dict[str, int]) -> None:
    (rules,) = [
        each.inputs["rules"]
        for each in deploy("standard", settings).of_type("BucketLifecycleConfiguration")
        if each.name == "traffic-logs"
    ]
    aged = {
        r["filter"]["prefix"]: r["expiration"]["days"] for r in rules if "days" in r.get("expiration", {})
    }
    assert aged == expected
    assert len({rule["id"] for rule in rules}) == len(rules)


def test_only_awss_services_deliver_and_only_this_accounts_logs() -> None:
    allowed = policy(deploy("fullha", {**ACCESS, **FLOWS}))
    assert allowed.pop("RefuseWithoutTls")["Effect"] == "Deny"
    assert {sid: each["Principal"]["Service"] for sid, each in allowed.items()} == {
        "BucketAccess": "logging.s3.amazonaws.com",
        "BalancerAccess": "logdelivery.elasticloadbalancing.amazonaws.com",
        "Flows": "delivery.logs.amazonaws.com",
        "FlowsCheck": "delivery.logs.amazonaws.com",
    }
    for sid, each in allowed.items():
        (resource,) = each["Resource"]
        by_condition = each.get("Condition", {}).get("StringEquals", {}).get("aws:SourceAccount") == ACCOUNT
        assert by_condition or f"/AWSLogs/{ACCOUNT}/" in resource, sid


def test_the_bucket_has_s3s_own_key_because_aws_delivers_to_no_other() -> None:
    deployment = deploy("fullha", {**ACCESS, "create_kms_key": True})
    encryption = deployment.resource("BucketServerSideEncryptionConfiguration", "traffic-logs").inputs
    (rule,) = encryption["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}


@pytest.mark.parametrize("production", [True, False])
def test_the_logs_survive_a_destroy_in_production_only(production: bool) -> None:
    bucket = deploy("standard", {**FLOWS, "production": production}).resource("Bucket", "traffic-logs")
    assert bucket.inputs["forceDestroy"] is not production
    assert bucket.request.retainOnDelete is production


def test_days_are_whole_and_not_negative() -> None:
    text = complaint(access_log_days=-1, flow_log_days="many")
    assert "access_log_days = -1: must be a whole number of days from 1 to 3650, or 0 for no logs" in text
    assert "pulumi config set flow_log_days <value> -s test" in text
