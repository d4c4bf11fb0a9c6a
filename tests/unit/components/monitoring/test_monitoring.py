"""The dashboard, the alarms, and whom they tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest

from components.config.settings import SettingsError
from components.monitoring.monitoring import owner_rule
from tests.fakes.pulumi_mocks import MODES, ROOT, Deployment, deploy

TOPIC = "arn:aws:sns:us-east-1:123456789012:ours"
GUIDE = ROOT / "docs" / "alarms.md"
ACTIONS = ("alarmActions", "okActions")


@pytest.fixture(scope="module", params=MODES)
def told(request: pytest.FixtureRequest) -> Deployment:
    """Each mode, with a topic."""
    return deploy(request.param, {"alarm_topic_arn": TOPIC, "nightly_audit": True})


def alarms(deployment: Deployment) -> dict[str, Any]:
    found = [*deployment.of_type("MetricAlarm"), *deployment.of_type("CompositeAlarm")]
    return {each.name: each.inputs for each in found}


def test_all_that_may_lose_work_or_lineage_tells_the_topic_when_it_begins_and_ends(told: Deployment) -> None:
    tells = {
        name for name, alarm in alarms(told).items() if all(alarm.get(way) == [TOPIC] for way in ACTIONS)
    }
    assert {
        "monitoring-owner-unhealthy",
        "gate-ungated",
        "gate-unproven",
        "marquez-behind",
        "marquez-set-aside",
        "lineage-lost",
        "audit-finding",
        "audit-fence",
        "audit-missing",
    } <= tells


def test_the_alarms_of_one_environment_tell_nobody_by_themselves(told: Deployment) -> None:
    silent = {name for name, alarm in alarms(told).items() if not alarm.get("alarmActions")}
    of_environments = {name for name in alarms(told) if re.match(r"monitoring-(blue|green)-", name)}
    assert "monitoring-blue-heartbeat" in of_environments
    assert silent == of_environments


def test_the_alarm_of_the_owner_looks_at_each_alarm_of_each_environment(told: Deployment) -> None:
    rule = alarms(told)["monitoring-owner-unhealthy"]["alarmRule"]
    named = set(re.findall(r'ALARM\("([^"]+)"\)', rule))
    expected = {name for name in alarms(told) if name.startswith(("monitoring-blue-", "monitoring-green-"))}
    assert named == {f"{name}-id" for name in expected | {"gate-unproven"}}, "an alarm's id is its name"


def evaluated(rule: str, *on: str) -> bool:
    """The rule of a composite alarm, while these alarms are on."""
    python = re.sub(r'ALARM\("([^"]+)"\)', lambda match: str(match.group(1) in on), rule)
    return bool(eval(python.replace("AND", "and").replace("OR", "or")))


def test_the_alarm_of_the_owner_follows_the_owner() -> None:
    rule = owner_rule(
        {"blue": ["blue-heart", "blue-cpu"], "green": ["green-heart"]},
        {"blue": "blue-owns", "green": "green-owns"},
        "unproven",
    )
    assert not evaluated(rule)
    assert not evaluated(rule, "green-owns", "blue-heart", "blue-cpu"), "a standby may be maintained"
    assert evaluated(rule, "blue-owns", "blue-heart")
    assert evaluated(rule, "blue-owns", "blue-cpu")
    assert evaluated(rule, "green-owns", "green-heart")
    assert not evaluated(rule, "blue-owns", "green-heart")
    assert evaluated(rule, "unproven"), "nobody is known to own the work: it may be dead"


def test_one_environment_is_the_owner_even_if_its_probe_is_silent() -> None:
    rule = owner_rule({"blue": ["heart"]}, {}, "unproven")
    assert evaluated(rule, "heart")
    assert not evaluated(rule)


def rows_of_the_guide() -> set[str]:
    return {
        name
        for line in GUIDE.read_text().splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z-]+)`", line.split("|")[1])
    }


def in_the_guide(names: Iterable[str]) -> set[str]:
    """The names of alarms as the guide has them, which are the same for blue and green."""
    return {re.sub(r"^monitoring-((blue|green)-)?", "", name) for name in names}


def test_each_alarm_says_what_to_do_and_has_a_row_in_the_guide(told: Deployment) -> None:
    names, rows = in_the_guide(alarms(told)), rows_of_the_guide()
    assert names <= rows, names - rows
    for name, alarm in alarms(told).items():
        assert len(alarm["alarmDescription"]) > 40, name


def test_the_guide_has_no_row_without_an_alarm() -> None:
    assert rows_of_the_guide() == in_the_guide(
        name for mode in MODES for name in alarms(deploy(mode, {"nightly_audit": True}))
    )


def test_without_a_topic_the_alarms_can_still_be_seen() -> None:
    plain = deploy("fullha")
    assert all(
        not alarm.get(way) for alarm in alarms(plain).values() for way in ACTIONS if "ec2" not in str(alarm)
    )
    assert not plain.of_type("EventRule")
    assert not plain.of_type("Topic")


def test_for_an_address_the_stack_makes_a_topic_that_alarms_and_events_may_use() -> None:
    stack = deploy("fullha", {"alarm_email": "on-call@example.com"})
    subscription = stack.of_type("TopicSubscription")[0].inputs
    assert (subscription["protocol"], subscription["endpoint"]) == ("email", "on-call@example.com")
    [statement] = json.loads(stack.of_type("TopicPolicy")[0].inputs["policy"])["Statement"]
    assert statement["Principal"] == {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]}
    assert statement["Action"] == ["sns:Publish"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    topic = stack.of_type("TopicPolicy")[0].inputs["arn"]
    assert alarms(stack)["gate-ungated"]["alarmActions"] == [topic]


def test_a_change_of_ownership_is_announced_with_who_and_why(told: Deployment) -> None:
    pattern = json.loads(told.of_type("EventRule")[0].inputs["eventPattern"])
    assert pattern["source"] == ["aws.ssm"]
    assert pattern["detail"]["name"] == [told.exports["ownership_parameter"]]
    target = told.of_type("EventTarget")[0].inputs
    assert target["arn"] == TOPIC
    transformer = target["inputTransformer"]
    text = transformer["inputTemplate"]
    for name, path in transformer["inputPaths"].items():
        assert path.startswith("$.detail.")
        text = text.replace(f"<{name}>", name)
    assert "mwaactl history" in json.loads(text)


@pytest.mark.parametrize("mode", MODES)
def test_the_dashboard_shows_blue_beside_green_and_its_address_is_an_output(mode: str) -> None:
    stack = deploy(mode)
    dashboard = stack.of_type("Dashboard")[0].inputs
    widgets = json.loads(dashboard["dashboardBody"])["widgets"]
    titles = {widget["properties"]["title"]: widget for widget in widgets}
    blue = {title.removeprefix("blue: ") for title in titles if title.startswith("blue: ")}
    green = {title.removeprefix("green: ") for title in titles if title.startswith("green: ")}
    assert len(blue) == 5
    assert green == (blue if mode in ("bluegreen", "fullha") else set())
    for title in green:
        left, right = titles[f"blue: {title}"], titles[f"green: {title}"]
        assert (left["y"], left["x"] + left["width"]) == (right["y"], right["x"])
    assert stack.exports["dashboard_url"].endswith(f"#dashboards/dashboard/{dashboard['dashboardName']}")
    places = [(widget["x"], widget["y"]) for widget in widgets]
    assert len(set(places)) == len(places)
    assert all(widget["x"] + widget["width"] <= 24 for widget in widgets)


def test_everything_can_be_switched_off_but_what_guards_the_work_and_the_lineage() -> None:
    stack = deploy("fullha", {"enable_monitoring": False})
    assert not stack.of_type("Dashboard")
    of_the_gate = {"gate-ungated", "gate-unfinished", "gate-unproven"}
    assert set(alarms(stack)) == of_the_gate | {"marquez-behind", "marquez-set-aside", "lineage-lost"}
    assert stack.exports["dashboard_url"] == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"alarm_email": "nobody"}, "alarm_email"),
        ({"alarm_topic_arn": f"{TOPIC}.fifo"}, "alarm_topic_arn"),
        ({"alarm_topic_arn": TOPIC.replace("us-east-1", "eu-west-1")}, "in the stack's region"),
        ({"alarm_topic_arn": TOPIC, "alarm_email": "on-call@example.com"}, "removed, or alarm_topic_arn"),
    ],
)
def test_what_aws_or_nobody_would_hear_is_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        deploy("fullha", settings)
