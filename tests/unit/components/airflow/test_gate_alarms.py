"""The alarms on the gate, and the lines in the tasks' logs that they count."""

from __future__ import annotations

import pytest
from bluegreen.proof import ABSENT, GATED, UNFINISHED

from tests.fakes.pulumi_mocks import Deployment, deploy


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return deploy("fullha", {"gate_probe_minutes": 10})


@pytest.mark.parametrize(
    ("role", "line"),
    [("ungatedexecutions", ABSENT), ("probereports", GATED), ("switchunfinished", UNFINISHED)],
)
def test_each_environments_tasks_are_counted_by_the_line_that_they_log(
    role: str, line: str, deployment: Deployment
) -> None:
    for colour in ("blue", "green"):
        of_log = deployment.resource("LogMetricFilter", f"gate-{colour}-{role}").inputs
        assert of_log["logGroupName"] == f"airflow-mwaa-openlineage-fullha-{colour}-Task"
        assert of_log["pattern"] == f'"{line}"'
        metric = {
            "ungatedexecutions": "UngatedExecutions",
            "probereports": f"{colour.title()}ProbeReports",
            "switchunfinished": "SwitchUnfinished",
        }
        transformation = of_log["metricTransformation"]
        assert (transformation["name"], transformation["value"]) == (metric[role], "1")
        assert transformation["namespace"] == "MwaaOpenLineage/mwaa-openlineage-fullha", "the stack's own"


def test_one_execution_without_a_gate_raises_an_alarm(deployment: Deployment) -> None:
    alarm = deployment.resource("MetricAlarm", "gate-ungated").inputs
    assert (alarm["metricName"], alarm["statistic"]) == ("UngatedExecutions", "Sum")
    assert (alarm["comparisonOperator"], alarm["threshold"]) == ("GreaterThanThreshold", 0)
    assert (alarm["period"], alarm["evaluationPeriods"], alarm["treatMissingData"]) == (60, 1, "notBreaching")


def test_a_switch_without_an_end_raises_an_alarm_that_names_the_command(deployment: Deployment) -> None:
    alarm = deployment.resource("MetricAlarm", "gate-unfinished").inputs
    assert (alarm["metricName"], alarm["threshold"], alarm["period"]) == ("SwitchUnfinished", 0, 600)
    assert "mwaactl status" in alarm["alarmDescription"]


def test_three_periods_without_a_report_of_any_probe_raise_an_alarm(deployment: Deployment) -> None:
    alarm = deployment.resource("MetricAlarm", "gate-unproven").inputs
    blue, green, result = alarm["metricQueries"]
    assert [query["metric"]["metricName"] for query in (blue, green)] == [
        "BlueProbeReports",
        "GreenProbeReports",
    ]
    assert {query["metric"]["period"] for query in (blue, green)} == {600}
    assert (result["expression"], result["returnData"]) == ("FILL(a, 0) + FILL(b, 0)", True)
    assert (alarm["comparisonOperator"], alarm["threshold"]) == ("LessThanThreshold", 1)
    assert (alarm["evaluationPeriods"], alarm["treatMissingData"]) == (3, "breaching")


def test_there_are_alarms_in_the_modes_with_one_environment_too() -> None:
    standard = deploy("standard")
    assert standard.resource("MetricAlarm", "gate-ungated")
    assert len(standard.of_type("LogMetricFilter")) == 2 + 2, "and those on lost lineage"
