from __future__ import annotations

import json

import pytest

from components import lineage_log
from lineage_log.log import EVENTS, SET_ASIDE, SINKS
from tests.fakes.pulumi_mocks import Deployment, deploy, plain


def parts(deployment: Deployment, type: str) -> dict[str, object]:
    return dict(deployment.resource(type, "lineage-log").inputs)


@pytest.mark.parametrize("production", [True, False])
def test_events_survive_a_destroy_in_production_only(production: bool) -> None:
    assert parts(deploy("standard", {"production": production}), "Bucket")["forceDestroy"] is not production


def test_events_and_copies_of_those_refused_expire_after_the_retention_and_no_forwarders_place() -> None:
    rules = parts(deploy("standard", {"lineage_retention_days": 45}), "BucketLifecycleConfiguration")["rules"]
    assert isinstance(rules, list)
    aged = [r for r in rules if "days" in r.get("expiration", {})]
    expiring = [(r["filter"]["prefix"], r["expiration"]["days"]) for r in aged]
    assert expiring == [("events/", 45), ("set-aside/", 45), ("sinks/", 45)]


@pytest.mark.parametrize("production", [True, False])
def test_no_rule_reaches_the_objects_of_the_ownership_timeline(production: bool) -> None:
    configuration = parts(deploy("fullha", {"production": production}), "BucketLifecycleConfiguration")
    rules = configuration["rules"]
    assert isinstance(rules, list)
    uploads = [rule for rule in rules if "abortIncompleteMultipartUpload" in rule]  # removes no object
    assert [rule["filter"]["prefix"] for rule in uploads] == [""]
    assert not {"expiration", "noncurrentVersionExpiration"} & uploads[0].keys()
    prefixes = [rule["filter"]["prefix"] for rule in rules if rule not in uploads]
    assert not [prefix for prefix in prefixes if "ownership/x.json".startswith(prefix)]
    assert len({rule["id"] for rule in rules}) == len(rules)
    # All else loses its old versions.
    old = {rule["filter"]["prefix"] for rule in rules if "noncurrentVersionExpiration" in rule}
    assert old == {"events/", "forwarder/", "set-aside/", "sinks/", "deploy/", "dag-pushes/"}


def test_the_programs_prefixes_are_those_of_the_log() -> None:
    assert (lineage_log.EVENTS, lineage_log.SET_ASIDE, lineage_log.SINKS) == (EVENTS, SET_ASIDE, SINKS)


def test_the_log_is_private_and_answers_over_tls_only() -> None:
    deployment = deploy("standard")
    closed = parts(deployment, "BucketPublicAccessBlock")
    assert all(closed[key] is True for key in closed if key.startswith(("block", "ignore", "restrict")))
    (refusal,) = json.loads(str(parts(deployment, "BucketPolicy")["policy"]))["Statement"]
    assert (refusal["Effect"], refusal["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_the_airflows_are_told_the_logs_name() -> None:
    deployment = deploy("bluegreen")
    assert deployment.exports["lineage_log_bucket"] == "lineage-log-1234567"
    environments = deployment.of_type("Environment")
    assert len(environments) == 2
    for environment in environments:
        transport = plain(environment.inputs["airflowConfigurationOptions"])["openlineage.transport"]
        assert json.loads(transport)["bucket"] == "lineage-log-1234567"
