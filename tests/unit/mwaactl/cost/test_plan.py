"""How long a deployment or a change takes, from the graph of what the program registers."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mwaactl.cost.bill import bill
from mwaactl.cost.charges import Usage
from mwaactl.cost.duration import Plans
from mwaactl.cost.plan import Plan, plainly, plan
from mwaactl.cost.prices import SHIPPED, load_table
from mwaactl.cost.resources import Resource, resources_of
from mwaactl.screens.plan_time import show_plans
from tests.fakes.pulumi_mocks import MODES, ROOT, Deployment, deploy

Deployed = Callable[[str], Deployment]
ENVIRONMENT, ALARM = "aws:mwaa/environment:Environment", "aws:cloudwatch/metricAlarm:MetricAlarm"


def resource(type_: str, name: str, needs: Sequence[str] = (), **inputs: Any) -> Resource:
    return Resource(type_, name, name, "", inputs, needs)


def after_change(changes: dict[str, Any], stack: str = "standard") -> list[Resource]:
    return resources_of(deploy(stack, changes).resources)


@pytest.mark.parametrize("mode", MODES)
def test_a_deployment_takes_little_longer_than_its_slowest_resource(deployed: Deployed, mode: str) -> None:
    of_mode = plan(mode, [], resources_of(deployed(mode).resources))
    assert of_mode.slowest is not None
    assert of_mode.slowest.type == ENVIRONMENT
    assert of_mode.slowest.minutes <= of_mode.minutes <= 1.1 * of_mode.slowest.minutes
    waits = [each.resource for each in of_mode.path]
    assert waits.index("network-1") < waits.index("mwaa-blue"), "behind the NAT gateway"


def test_a_mode_change_creates_green_and_leaves_blue_alone(deployed: Deployed) -> None:
    change = plan(
        "x", resources_of(deployed("standard").resources), after_change({"enable_blue_green": "true"})
    )
    assert [each.resource for each in change.path if each.minutes > 1] == ["mwaa-green"]
    assert change.minutes <= 1.1 * 30


def test_a_rollout_updates_the_environments_side_by_side(deployed: Deployed) -> None:
    before = resources_of(deployed("bluegreen").resources)
    change = plan("x", before, after_change({"environment_class": "mw1.medium"}, "bluegreen"))
    assert change.minutes == pytest.approx(30, rel=0.02)
    assert {each.action for each in change.path if each.minutes > 1} == {"update"}


def test_what_is_removed_goes_last_and_one_after_the_other(deployed: Deployed) -> None:
    before = resources_of(deployed("bluegreen").resources)
    change = plan("x", before, after_change({"enable_blue_green": "false", "nat": "per_az"}, "bluegreen"))
    actions = [each.action for each in change.path]
    assert actions == sorted(actions, key=("create", "update", "replace", "delete").index)
    assert [each.resource for each in change.path if each.minutes > 1] == ["mwaa-green"]


def test_nothing_to_do_takes_no_time(in_each_mode: Deployment) -> None:
    resources = resources_of(in_each_mode.resources)
    assert (plan("x", resources, resources).minutes, plan("x", resources, resources).steps) == (0, 0)


def test_a_new_life_replaces_the_environment() -> None:
    life = "random:index/randomId:RandomId"
    before = [resource(life, "mwaa-blue", keepers={"name": "a"}), resource(ENVIRONMENT, "mwaa-blue")]
    after = [resource(life, "mwaa-blue", keepers={"name": "b"}), resource(ENVIRONMENT, "mwaa-blue")]
    assert [(each.action, each.minutes) for each in plan("x", before, after).path] == [("replace", 60)]


def test_of_a_deployed_environment_only_plain_settings_are_compared() -> None:
    deployed = resource(ENVIRONMENT, "mwaa-blue", environmentClass="mw1.small", executionRoleArn="arn:real")
    same = resource(ENVIRONMENT, "mwaa-blue", environmentClass="mw1.small", executionRoleArn="arn:dry")
    other = resource(ENVIRONMENT, "mwaa-blue", environmentClass="mw1.medium")
    assert plan("x", [deployed], [same], plainly).steps == 0
    assert plan("x", [deployed], [other], plainly).minutes == 30


@pytest.mark.parametrize(
    ("old", "new", "action"), [("2.11.0", "3.0.6", "replace"), ("3.0.6", "3.3.1", "update")]
)
def test_another_major_version_replaces_a_deployed_environment(old: str, new: str, action: str) -> None:
    before, after = (resource(ENVIRONMENT, "mwaa-blue", airflowVersion=each) for each in (old, new))
    change = plan("x", [before], [after], plainly)
    assert [each.action for each in change.path] == [action]
    shown = show(change)
    assert ("The preview refuses this for the environment that owns the work." in shown) == (
        action == "replace"
    )


@pytest.mark.parametrize(
    "type_",
    [
        "aws:autoscaling/group:Group",
        "aws:ec2/instance:Instance",
        "aws:rds/cluster:Cluster",
        "aws:rds/clusterInstance:ClusterInstance",
    ],
)
def test_an_update_is_assumed_to_take_as_long_as_a_creation(type_: str) -> None:
    (update,) = plan("x", [resource(type_, "x", a=1)], [resource(type_, "x", a=2)]).path
    (create,) = plan("x", [], [resource(type_, "x")]).path
    assert (update.minutes, update.source) == (create.minutes, "assumed: as long as its creation")


def test_steps_are_counted_in_english() -> None:
    alarms = [resource(ALARM, "a"), resource(ALARM, "b", ["a"])]
    assert "x, 1 step. Critical path: 1 short step, 0.1\n" in show(plan("x", [], alarms[:1]))
    assert "x, 2 steps. Critical path: 2 short steps, 0.1\n" in show(plan("x", [], alarms))
    behind = resource(ALARM, "c", ["mwaa-blue"])
    path = "create Environment mwaa-blue 30, and 1 short step, 0.1\n"
    assert path in show(plan("x", [], [resource(ENVIRONMENT, "mwaa-blue"), behind]))


def show(change: Plan) -> str:
    console = Console(file=io.StringIO(), width=160)
    show_plans(console, Plans(plans=(change,)))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=12))
def test_the_path_is_a_chain_and_none_is_longer(edges: list[set[int]]) -> None:
    """Each resource needs some that come before it."""
    needs = {str(each): [str(one) for one in before if one < each] for each, before in enumerate(edges)}
    kinds = (ENVIRONMENT, "aws:ec2/natGateway:NatGateway", ALARM)
    found = plan("x", [], [resource(kinds[int(name) % 3], name, needs[name]) for name in needs])
    chain = [each.resource for each in found.path]
    assert all(earlier in needs[later] for earlier, later in pairwise(chain))
    assert found.minutes == pytest.approx(max(map(_brute_force(needs, kinds), needs)))


def _brute_force(needs: Mapping[str, Sequence[str]], kinds: Sequence[str]) -> Callable[[str], float]:
    minutes = dict(zip(kinds, (30, 2.1, 0.05), strict=True))

    def longest(name: str) -> float:
        return minutes[kinds[int(name) % 3]] + max(map(longest, needs[name]), default=0)

    return longest


def test_the_readme_and_the_page_have_the_cost_and_the_time_of_each_mode(deployed: Deployed) -> None:
    prices = load_table(SHIPPED).prices("us-east-1")
    table = re.findall(r"^\| `(\w+)` .*\| (\S+) \| (\d+ min) \|$", (ROOT / "README.md").read_text(), re.M)
    computed = []
    for mode in MODES:
        resources = resources_of(deployed(mode).resources)
        total = bill(mode, "us-east-1", resources, Usage(), prices).total
        computed.append((mode, total, plan(mode, [], resources).text))
    assert table == computed
    page = (ROOT / "docs" / "cost.md").read_text()
    costs = re.findall(r"^\| `(\w+)` \| (\$\d+) \| ~\$[\d,]+ \|$", page, re.M)
    times = re.findall(r"^\| `(\w+)` \| (\d+ min) \| ~\d+ min \|$", page, re.M)
    assert costs == [(mode, total) for mode, total, _ in computed]
    assert times == [(mode, minutes) for mode, _, minutes in computed]
    regions = re.findall(r"^\| ([a-z]{2}-[a-z]+-\d) \|", page, re.M)
    assert sorted(regions) == sorted(load_table(SHIPPED).regions)
    assert len(regions) >= 8
