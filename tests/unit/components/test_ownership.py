"""What the ownership parameters begin with."""

from __future__ import annotations

from bluegreen.timeline import Timeline

from tests.fakes.pulumi_mocks import deploy, plain


def test_the_timeline_begins_with_blue_for_ever() -> None:
    parameter = deploy("fullha").resource("Parameter", "ownership").inputs
    assert parameter["name"] == "/mwaa-openlineage/fullha/ownership"
    assert parameter["type"] == "String"
    assert Timeline.parse(plain(parameter["value"])) == Timeline.initial("blue")


def test_other_systems_read_blue_at_first() -> None:
    parameter = deploy("fullha").resource("Parameter", "ownership-active").inputs
    assert parameter["name"] == "/mwaa-openlineage/fullha/active-environment"
    assert plain(parameter["value"]) == "blue"
