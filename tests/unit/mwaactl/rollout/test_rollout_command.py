"""What is no rollout, wrong options, and what the command shows."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from mwaactl.canary.progressive import Canary
from mwaactl.errors import CheckFailed, UsageError
from mwaactl.rollout.engine import Change, Engine
from mwaactl.rollout.how import How
from mwaactl.rollout.rollout import look
from tests.fakes.aws.clients import FakeClients, deployment
from tests.fakes.mwaactl.commands import commands
from tests.fakes.mwaactl.engine import ENVIRONMENTS, LIVES_OF, VPC, FakeEngine
from tests.unit.mwaactl.rollout.test_rollout import SOAK, rolled_out, working


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Change(VPC, "replace", ("cidrBlock",)), "network .Vpc., which both sides need"),
        (
            Change(LIVES_OF["blue"], "replace", ("keepers.airflow_major", "keepers.kms_key_arn")),
            "mwaa-blue would be replaced for kms_key_arn, as",
        ),
        (Change(LIVES_OF["blue"], "replace", ("keepers.name",)), "mwaa-blue would be replaced for name"),
    ],
    ids=["network", "key", "name"],
)
def test_what_takes_both_sides_at_once_is_refused_before_anything_is_touched(
    engine: FakeEngine, change: Change, why: str
) -> None:
    engine.wanted |= {change.urn: change}
    with pytest.raises(CheckFailed, match=why):
        rolled_out(engine)
    assert engine.runs == []


def test_another_major_version_is_rolled_out_as_a_replacement(engine: FakeEngine) -> None:
    for colour, environment in ENVIRONMENTS.items():
        engine.wanted[environment] = Change(environment, "replace", ("airflowVersion",))
        life = LIVES_OF[colour]
        engine.wanted[life] = Change(life, "replace", ("keepers.airflow_major",))
    rolled_out(engine)
    assert engine.wanted == {}


def test_what_removes_the_standby_is_no_rollout(engine: FakeEngine) -> None:
    engine.wanted = {ENVIRONMENTS["green"]: Change(ENVIRONMENTS["green"], "delete")}
    with pytest.raises(CheckFailed, match="this removes mwaa-green") as raised:
        rolled_out(engine)
    assert "pulumi up -s fullha" in str(raised.value)


def test_what_removes_the_standby_and_changes_the_owner_is_rolled_out_first(engine: FakeEngine) -> None:
    engine.wanted[ENVIRONMENTS["green"]] = Change(ENVIRONMENTS["green"], "delete")
    with pytest.raises(CheckFailed, match=r"removes mwaa-green.* changes mwaa-blue, which owns") as raised:
        rolled_out(engine)
    order = ["enable_blue_green true", "mwaactl rollout --return", "enable_blue_green false", "pulumi up -s"]
    said = str(raised.value)
    assert sorted(order, key=said.index) == order
    assert engine.runs == []


def test_one_environment_alone_is_no_rollout(aws: FakeClients, engine: FakeEngine) -> None:
    with pytest.raises(UsageError, match="has one environment"):
        look(deployment(aws, "standard"), cast(Engine, engine), How())


# --- wrong options ---


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"force": {"polls"}}, "--force: there is no check polls"),
        ({"canary": Canary(dags=("w_1", "nope"), soak=SOAK)}, "--canary: blue has no DAG 'nope', but .*w_1"),
    ],
    ids=["force", "canary"],
)
def test_a_wrong_option_is_found_before_anything_is_touched(
    monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], why: str
) -> None:
    aws, engine, _ = working(monkeypatch)
    with pytest.raises(UsageError, match=why):
        rolled_out(engine, **how)
    with pytest.raises(UsageError, match=why):
        look(deployment(aws), cast(Engine, engine), How(**how))
    assert engine.runs == []


def test_percents_of_no_dag_are_found_before_anything_is_touched(
    aws: FakeClients, engine: FakeEngine
) -> None:
    for each in aws.mwaa.models.values():
        for dag in each.dags.values():
            dag.paused = True
    with pytest.raises(UsageError, match="no DAG has a next run to count percents of"):
        rolled_out(engine, canary=Canary(percents=(10,), soak=SOAK))
    assert engine.runs == []


@pytest.mark.parametrize(
    "options",
    [("--force", "polls"), ("--canary", "nope"), ("--canary-percent", "abc")],
    ids=" ".join,
)
def test_a_dry_run_finds_wrong_options(
    options: tuple[str, ...], aws: FakeClients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = commands(monkeypatch, aws)
    monkeypatch.setattr("mwaactl.rollout.engine.Engine", lambda *_: engine)
    for dry in ((), ("--dry-run",)):
        result = run("rollout", "-s", "fullha", *options, *dry)
        assert (result.exit_code, options[1] in result.stderr) == (2, True), result.output
    assert engine.runs == []


# --- the command ---


def test_the_command_shows_the_plan_and_tells_each_step(
    aws: FakeClients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = commands(monkeypatch, aws)
    monkeypatch.setattr("mwaactl.rollout.engine.Engine", lambda *_: engine)
    shown = run("rollout", "-s", "fullha", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert engine.runs == []
    for expected in (
        "2 steps; then a switch to green; then 1 step of blue",
        "mwaa-green",
        "maxWorkers",
        "30",
    ):
        assert expected in shown.stdout, shown.stdout

    done = run("rollout", "-s", "fullha", "--json")
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["stage"] for event in events if event["stage"] not in ("wait", "step")] == [
        "plan",
        "apply",
        "ready",
        "switch",
        "drain",
        "apply",
        "done",
    ]
    assert {step["side"] for step in events[0]["steps"]} == {"shared", "standby", "owner"}


def test_the_command_ends_with_the_error_as_its_last_line(
    aws: FakeClients, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = commands(monkeypatch, aws)
    monkeypatch.setattr("mwaactl.rollout.engine.Engine", lambda *_: engine)
    engine.wanted = {VPC: Change(VPC, "replace", ("cidrBlock",))}
    refused = run("rollout", "-s", "fullha", "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout.splitlines()[-1])["exit_code"] == 1
