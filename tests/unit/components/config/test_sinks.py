"""`lineage_sinks`: what is refused, all at once, and what becomes of a valid one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from components.config.settings import SettingsError
from components.config.sinks import MOST
from tests.fakes.pulumi_mocks import deploy

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:catalog-AbCdEf"
URL = "https://catalog.example.com/openapi/openlineage/api/v1/lineage"
HTTP = {"url": URL, "header_arn": SECRET}
ZONE = {"datazone_domain": "dzd_4kq9example"}


def refused(sinks: Any, **more: Any) -> dict[str, str]:
    """Which keys are refused, and what they must be."""
    with pytest.raises(SettingsError) as refusal:
        deploy("standard", {"lineage_sinks": sinks, **more})
    return dict(re.findall(r"^  (lineage_sinks\S*) .*?: must be (.*)$", str(refusal.value), re.M))


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, "a.url"),
        ({"url": URL, **ZONE}, "a.datazone_domain"),
        ({"url": URL.replace("https", "http")}, "a.url"),
        ({"url": "https://user:pass@catalog.example.com/"}, "a.url"),
        ({"url": "https://catalog.example.com:8080/"}, "a.url"),
        ({"url": f"{URL}?token=1"}, "a.url"),
        ({"url": f"{URL} --bucket x"}, "a.url"),
        ({"url": f"{URL}\n"}, "a.url"),
        ({"url": URL, "header": "X-Key"}, "a.header_arn"),
        ({**HTTP, "header": "Content-Type"}, "a.header"),
        ({**HTTP, "header": "X Key"}, "a.header"),
        ({**HTTP, "header_arn": "Bearer abc"}, "a.header_arn"),
        ({**HTTP, "header_arn": SECRET.replace("us-east-1", "eu-west-1")}, "a.header_arn"),
        ({**HTTP, "header_arn": SECRET.removesuffix("-AbCdEf")}, "a.header_arn"),
        ({**ZONE, "header_arn": SECRET}, "a.header_arn"),
        ({"datazone_domain": "domain"}, "a.datazone_domain"),
        ({**HTTP, "token": "x"}, "a.token"),
    ],
)
def test_a_wrong_field_is_named_with_its_path(fields: dict[str, str], key: str) -> None:
    assert list(refused({"a": fields})) == [f"lineage_sinks.{key}"]


@pytest.mark.parametrize(
    ("arn", "name"), [(SECRET.removesuffix("-AbCdEf"), "catalog"), ("catalog", "catalog"), ("a b", "<name>")]
)
def test_how_to_find_a_whole_arn_is_said(arn: str, name: str) -> None:
    (allowed,) = refused({"a": {**HTTP, "header_arn": arn}}).values()
    command = "aws secretsmanager describe-secret --query ARN --output text --secret-id"
    assert allowed.endswith(f"it ends with a hyphen and six characters: {command} {name}")


def test_all_that_is_wrong_is_said_at_once_with_commands() -> None:
    sinks = {"catalog": {"url": "x"}, "Bad Name": HTTP, "zone": {"datazone_domain": "y", "header": "z"}}
    with pytest.raises(SettingsError) as refusal:
        deploy("standard", {"lineage_sinks": sinks, "nat": "x"})
    text = str(refusal.value)
    assert text.startswith("5 invalid settings")
    assert "pulumi config set --path lineage_sinks.catalog.url <value> -s standard" in text
    assert "pulumi config rm --path lineage_sinks.zone.header -s standard" in text


def test_sinks_are_few() -> None:
    many = {f"s{number}": ZONE for number in range(MOST + 1)}
    assert refused(many) == {"lineage_sinks": "5 sinks or fewer"}


@pytest.mark.parametrize("lineage", ["log", "none"])
def test_without_marquez_nothing_carries_to_sinks(lineage: str) -> None:
    assert "Marquez's nodes carry the log to sinks" in refused({"a": ZONE}, lineage=lineage)["lineage_sinks"]


@pytest.mark.parametrize("mode", ["standard", "hamarquez"])
def test_a_node_may_do_what_its_sinks_need_and_has_their_alarms(mode: str) -> None:
    deployment = deploy(mode, {"lineage_sinks": {"catalog": HTTP, "zone": ZONE}})
    assert deployment.exports["lineage_sinks"] == ["catalog", "zone"]
    (policy,) = [
        each for each in deployment.of_type("RolePolicy") if each.name in ("marquez-node", "marquez-nodes")
    ]
    by_sid = {each["Sid"]: each for each in json.loads(policy.inputs["policy"])["Statement"]}
    assert by_sid["ReadSinkSecrets"]["Resource"] == [SECRET]
    [domain] = by_sid["PostToDomains"]["Resource"]
    assert domain.endswith("domain/dzd_4kq9example")
    assert by_sid["SetAsideForSinks"]["Resource"] == ["arn:aws:s3:::lineage-log-1234567/sinks/*"]
    alarms = {each.name: each.inputs for each in deployment.of_type("MetricAlarm")}
    for name in ("catalog", "zone"):
        assert {f"marquez-sink-{name}-behind", f"marquez-sink-{name}-set-aside"} <= alarms.keys()
    assert "Sink" in json.dumps(alarms["marquez-sink-zone-behind"])
    assert "Sink" not in json.dumps(alarms["marquez-behind"])


def test_without_sinks_a_node_may_nothing_of_that() -> None:
    policies = json.dumps([each.inputs for each in deploy("standard").of_type("RolePolicy")])
    assert not re.search("datazone|sinks/|ReadSinkSecrets", policies)
