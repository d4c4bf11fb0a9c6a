"""The alarm on lineage that never reached the log."""

from __future__ import annotations

import json

import pytest
from bluegreen.proof import LOST

from tests.fakes.pulumi_mocks import MODES, deploy


@pytest.mark.parametrize("mode", MODES)
def test_each_log_that_tells_of_a_lost_event_is_counted_and_one_raises_an_alarm(mode: str) -> None:
    stack = deploy(mode, {"enable_monitoring": False})
    filters = [
        each.inputs
        for each in stack.of_type("LogMetricFilter")
        if each.inputs["metricTransformation"]["name"] == "LineageEventsLost"
    ]
    environments = [each["name"] for each in stack.exports["airflow_environments"].values()]
    assert {each["logGroupName"] for each in filters} == {
        f"airflow-{name}-{group}" for name in environments for group in ("Task", "Scheduler")
    }
    assert {each["pattern"] for each in filters} == {f'"{LOST}"'}
    alarm = stack.resource("MetricAlarm", "lineage-lost").inputs
    assert (alarm["metricName"], alarm["statistic"]) == ("LineageEventsLost", "Sum")
    assert alarm["namespace"] == filters[0]["metricTransformation"]["namespace"]
    assert (alarm["comparisonOperator"], alarm["threshold"]) == ("GreaterThanThreshold", 0)
    assert (alarm["evaluationPeriods"], alarm["treatMissingData"]) == (1, "notBreaching")


def test_the_dashboard_shows_lost_events_beside_those_that_were_delivered() -> None:
    stack = deploy("fullha")
    widgets = json.loads(stack.of_type("Dashboard")[0].inputs["dashboardBody"])["widgets"]
    (events,) = [each for each in widgets if each["properties"]["title"] == "Lineage: events"]
    lines = {line[1]: line[0] for line in events["properties"]["metrics"]}
    assert lines["LineageEventsLost"] == "MwaaOpenLineage/mwaa-openlineage-fullha", "the stack's own"
