"""The check of serial DAGs when the side that the work leaves does not answer."""

from __future__ import annotations

import pytest
from bluegreen.proof import PROBE

from mwaactl.errors import CheckFailed
from mwaactl.switching.write import carry_out
from tests.fakes.airflow.schedule import NAMES, ScheduledAirflows, Work
from tests.fakes.aws.clients import FakeClients
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.mwaactl.switches import check_of, planned, switched

BLUE, GREEN = NAMES["blue"], NAMES["green"]


def test_a_source_that_cannot_be_asked_stops_a_switch_of_serial_dags(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"daily": Work(3600, 60), "off": Work(60, 60, paused=True)})
    aws.mwaa.silence(BLUE)
    made = planned(aws)
    result, detail = check_of(made, "serial-dags")
    assert result == "fail"
    assert "blue cannot report whether these DAGs still run there" in detail
    assert "daily" in detail
    assert "off" not in detail
    with pytest.raises(CheckFailed, match="serial-dags"):
        carry_out(made)
    assert len(aws.ssm.values()) == 1
    done = switched(aws, force=["serial-dags", "gate"])
    assert (done.changed, done.held) == (True, ())
    assert "[forced: gate, serial-dags]" in aws.ssm.stored[OWNERSHIP][-1]["Description"]


def test_a_source_that_cannot_be_asked_stops_dags_that_depend_on_their_past_too(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"past": Work(3600, 60, alone=False, past=True)})
    aws.mwaa.silence(BLUE)
    assert check_of(planned(aws), "serial-dags")[0] == "fail"


def test_a_source_that_cannot_be_asked_is_no_hindrance_if_nothing_is_serial(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"plain": Work(3600, 60, alone=False)})
    aws.mwaa.silence(BLUE)
    made = planned(aws, force=["gate"])
    assert check_of(made, "serial-dags") == ("pass", "green has no serial DAG")
    assert carry_out(made).changed


def test_serial_dags_are_not_checked_if_neither_side_answers(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"daily": Work(3600, 60)})
    aws.mwaa.silence(BLUE)
    aws.mwaa.silence(GREEN)
    made = planned(aws, force=["target-api", "target-scheduler", "gate"])
    assert check_of(made, "serial-dags")[0] == "not checked"
    assert carry_out(made).changed


def asked_about_dags(aws: FakeClients) -> list[str]:
    """What green was asked about single DAGs, apart from the gate's probe."""
    paths = (call["Path"] for call in aws.mwaa.asked if call["Name"] == GREEN)
    return [path for path in paths if path.startswith("/dags/") and path.split("/")[2] not in ("~", PROBE)]


def test_one_serial_dag_by_its_settings_is_enough_if_the_source_cannot_be_asked(aws: FakeClients) -> None:
    """In an outage every call counts."""
    works = {"daily": Work(3600, 60), **{f"dag_{n}": Work(3600, 60, alone=False) for n in range(5)}}
    ScheduledAirflows(aws, works)
    aws.mwaa.silence(BLUE)
    planned(aws)
    assert asked_about_dags(aws) == ["/dags/daily/tasks"]


def test_a_target_is_asked_for_the_tasks_of_active_dags_and_nothing_about_sensors(aws: FakeClients) -> None:
    works = {
        "waits": Work(3600, 60, alone=False, looks_at="plain"),
        "plain": Work(3600, 60, alone=False),
        "off": Work(3600, 60, alone=False, paused=True),
    }
    ScheduledAirflows(aws, works)
    aws.mwaa.silence(BLUE)
    made = planned(aws, force=["gate"])
    assert check_of(made, "serial-dags") == ("pass", "green has no serial DAG")
    assert sorted(asked_about_dags(aws)) == ["/dags/plain/tasks", "/dags/waits/tasks"]
