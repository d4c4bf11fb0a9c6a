"""The check of serial DAGs when the side that the work leaves does not answer."""

from __future__ import annotations

import pytest

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
