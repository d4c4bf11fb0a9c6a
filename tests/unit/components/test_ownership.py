"""What the ownership parameters begin with."""

from __future__ import annotations

from datetime import timedelta

from bluegreen.document import parse
from bluegreen.timeline import Timeline

from tests.fakes.pulumi_mocks import deploy, plain


def test_the_timeline_begins_with_blues_life_for_ever_and_states_the_lead() -> None:
    deployment = deploy("fullha", {"switch_lead_seconds": 7})
    parameter = deployment.resource("Parameter", "ownership").inputs
    life = deployment.exports["airflow_environments"]["blue"]["life"]
    assert parameter["name"] == "/mwaa-openlineage/fullha/ownership"
    assert parameter["type"] == "String"
    assert parse(plain(parameter["value"])) == Timeline.initial("blue", life, timedelta(seconds=7))


def test_other_systems_read_blue_at_first() -> None:
    parameter = deploy("fullha").resource("Parameter", "ownership-active").inputs
    assert parameter["name"] == "/mwaa-openlineage/fullha/active-environment"
    assert plain(parameter["value"]) == "blue"
