"""The guard of the environment that owns work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pulumi
import pytest
from bluegreen.timeline import Timeline, TimelineError

from components.guard import READ_ATTEMPTS, owners, previous_outputs, touched_environments, violations
from tests.fakes.pulumi_mocks import PROJECT, deploy, run

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
LEAD = timedelta(seconds=5)
HOUR = timedelta(hours=1)
INITIAL = Timeline.initial()
PARAMETER = "/mwaa-openlineage/fullha/ownership"


def outputs(**colours: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "region": "us-east-1",
        "ownership_parameter": PARAMETER,
        "airflow_environments": {colour: {"identity": dict(found)} for colour, found in colours.items()},
    }


# Which environments a change touches


def test_an_environment_that_stays_as_it_is_is_not_touched() -> None:
    # Numbers come back from the engine as floats.
    assert touched_environments(outputs(blue={"airflow_major": 3.0}), {"blue": {"airflow_major": 3}}) == {}


def test_an_environment_that_is_no_longer_planned_is_removed() -> None:
    previous = outputs(blue={"name": "b"}, green={"name": "g"})
    assert touched_environments(previous, {"blue": {"name": "b"}}) == {"green": "removed"}


def test_a_changed_identity_is_a_replacement_that_says_what_changed() -> None:
    touched = touched_environments(
        outputs(blue={"airflow_major": 2.0, "vpc_cidr": "10.0.0.0/16"}),
        {"blue": {"airflow_major": 3, "vpc_cidr": "10.0.0.0/16"}},
    )
    assert touched == {"blue": "replaced (airflow_major 2 -> 3)"}


def test_an_identity_that_knows_more_than_before_changes_nothing() -> None:
    assert touched_environments(outputs(blue={"name": "b"}), {"blue": {"name": "b", "new": 1}}) == {}


def test_the_first_deployment_touches_nothing() -> None:
    assert touched_environments({}, {"blue": {"name": "b"}}) == {}


# Who owns work


def test_at_first_blue_owns_all() -> None:
    assert owners(INITIAL.dump(), 1, NOW, LEAD) == {"blue"}


def test_long_after_a_switch_only_the_target_owns() -> None:
    switched = INITIAL.switched("green", NOW - HOUR, 2)
    assert owners(switched.dump(), 2, NOW, LEAD) == {"green"}


def test_until_a_planned_switch_both_own() -> None:
    planned = INITIAL.switched("green", NOW + HOUR, 2)
    assert owners(planned.dump(), 2, NOW, LEAD) == {"blue", "green"}


def test_within_the_lead_of_a_switch_both_own() -> None:
    just_now = INITIAL.switched("green", NOW - timedelta(seconds=1), 2)
    assert owners(just_now.dump(), 2, NOW, LEAD) == {"blue", "green"}


def test_a_single_dag_on_the_other_side_owns_too() -> None:
    canary = INITIAL.dag_moved("etl", "green", NOW - HOUR, 2)
    assert owners(canary.dump(), 2, NOW, LEAD) == {"blue", "green"}


def test_a_version_that_lost_a_race_tells_nothing() -> None:
    with pytest.raises(TimelineError, match="version 3 is based on version 1"):
        owners(INITIAL.switched("green", NOW, 2).dump(), 3, NOW, LEAD)


# What to do about it


def test_a_standby_may_go() -> None:
    assert violations({"green": "removed"}, {"blue"}, existing={"blue", "green"}, stack="s") == []


def test_the_owner_may_not_go_and_the_commands_are_named() -> None:
    lines = violations({"green": "removed"}, {"green"}, existing={"blue", "green"}, stack="s")
    assert lines[0] == "green owns work and would be removed."
    assert "  mwaactl switch blue -s s" in lines
    assert "  pulumi up -s s" in lines


def test_without_another_environment_one_is_to_be_added_first() -> None:
    lines = violations({"blue": "replaced (x)"}, {"blue"}, existing={"blue"}, stack="s")
    commands = [line.strip() for line in lines if line.startswith("  ")]
    assert commands == [
        "pulumi config set enable_blue_green true -s s",
        "pulumi up -s s",
        "mwaactl switch green -s s",
    ]


def test_a_change_of_both_is_to_be_made_one_by_one() -> None:
    touched = {"blue": "replaced (x)", "green": "replaced (x)"}
    lines = violations(touched, {"blue"}, existing={"blue", "green"}, stack="s")
    assert "green cannot take over, because it would be replaced (x)" in lines[1]


# What the stack has


class Busy(grpc.RpcError):
    """What the engine answers while a file backend writes the state."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return "failed to load checkpoint: EOF"


def read(answers: list[dict[str, Any] | None]) -> Mapping[str, Any]:
    """`previous_outputs` where the engine answers one after the other; None: it is busy."""
    outputs_read: list[Mapping[str, Any]] = []

    def answer(args: Mapping[str, Any]) -> dict[str, Any]:
        assert args["name"] == f"organization/{PROJECT}/test"
        given = answers.pop(0)
        if given is None:
            raise Busy
        return given

    run(
        lambda: outputs_read.append(previous_outputs()),
        invokes={"pulumi:pulumi:readStackOutputs": answer},
    )
    return outputs_read[0]


def test_the_stacks_own_outputs_are_asked_of_the_engine() -> None:
    assert read([{"outputs": {"mode": "fullha"}}]) == {"mode": "fullha"}


def test_a_state_that_is_being_written_is_read_again() -> None:
    assert read([None, None, {"outputs": {"mode": "fullha"}}]) == {"mode": "fullha"}


def test_a_state_that_stays_unreadable_stops_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.guard.READ_PAUSE_SECONDS", 0)
    with pytest.raises(pulumi.RunError, match=r"Cannot read the current outputs.*checkpoint: EOF"):
        read([None] * READ_ATTEMPTS)


# The whole program


def before(mode: str, **changes: Any) -> dict[str, Any]:
    return deploy(mode, changes, stack="fullha").exports


def parameter(timeline: Timeline, version: int) -> dict[str, Any]:
    return {"value": timeline.dump(), "version": version}


GREEN_OWNS = parameter(INITIAL.switched("green", NOW - 1000 * HOUR, 2), 2)
BLUE_OWNS = parameter(INITIAL, 1)


def test_disabling_blue_green_while_green_works_stops_before_anything_is_registered() -> None:
    with pytest.raises(pulumi.RunError, match="green owns work and would be removed") as raised:
        deploy("hamarquez", stack="fullha", previous=before("fullha"), parameter=GREEN_OWNS)
    assert "mwaactl switch blue -s fullha" in str(raised.value)


def test_disabling_blue_green_while_blue_works_goes_on() -> None:
    deployment = deploy("hamarquez", stack="fullha", previous=before("fullha"), parameter=BLUE_OWNS)
    assert [each.name for each in deployment.of_type("Environment")] == ["mwaa-blue"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"airflow_version": "3.3.1"}, "airflow_major 2 -> 3"),
        ({"vpc_cidr": "10.1.0.0/16"}, "vpc_cidr"),
        ({"availability_zones": ["us-east-1c", "us-east-1d"]}, "availability_zones"),
        (
            {"kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"},
            "kms_key_arn",
        ),
    ],
)
def test_replacing_the_owner_stops_the_program(changes: dict[str, Any], what: str) -> None:
    previous = before("fullha", airflow_version="2.11.2")
    with pytest.raises(pulumi.RunError, match="blue owns work and would be replaced") as raised:
        deploy("fullha", {"airflow_version": "2.11.2", **changes}, previous=previous, parameter=BLUE_OWNS)
    assert what in str(raised.value)


def test_upgrading_the_standby_to_the_next_major_version_goes_on() -> None:
    changes = {"airflow_version": "2.11.2", "green": {"airflow_version": "3.3.1"}}
    previous = before("fullha", airflow_version="2.11.2")
    deployment = deploy("fullha", changes, previous=previous, parameter=BLUE_OWNS)
    assert deployment.resource("Environment", "mwaa-green").inputs["airflowVersion"] == "3.3.1"


def test_an_update_in_place_of_the_owner_goes_on() -> None:
    # The parameter is not even read: no answer is mocked for it.
    deploy("fullha", {"airflow_version": "3.2.1", "max_workers": 9}, previous=before("fullha"))


def test_a_parameter_that_cannot_be_read_stops_the_program_with_the_ways_out() -> None:
    lost = parameter(INITIAL.switched("green", NOW, 2), 3)
    with pytest.raises(pulumi.RunError, match="a lost race") as raised:
        deploy("hamarquez", stack="fullha", previous=before("fullha"), parameter=lost)
    assert "mwaactl status -s fullha" in str(raised.value)
