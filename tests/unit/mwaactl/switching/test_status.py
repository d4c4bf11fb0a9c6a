"""What `mwaactl status` tells beside who owns the work: what drains, and what would keep a switch back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from bluegreen.proof import UNGATED

from lineage_log.log import EVENTS, key_at
from mwaactl.switching.plan import plan
from mwaactl.switching.status import Status, status
from mwaactl.switching.write import carry_out
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment
from tests.fakes.aws.ssm import ACTIVE
from tests.fakes.clock import START
from tests.fakes.lineage.events import write_ungated
from tests.fakes.mwaactl.checks import TASK_INSTANCES, dag_answer, set_dags

MINUTE = timedelta(minutes=1)
UNFINISHED = "POST /dags/~/dagRuns/list"


def seen(aws: FakeClients) -> Status:
    return status(deployment(aws))


def running(aws: FakeClients, name: str, *runs: tuple[str, datetime, str]) -> None:
    """An environment's unfinished runs: DAG, due instant, type."""
    found = [
        {
            "dag_id": dag_id,
            "dag_run_id": f"{kind}__{due}",
            "run_type": kind,
            "state": "running",
            "run_after": due.isoformat(),
        }
        for dag_id, due, kind in runs
    ]
    aws.mwaa.airflow[name][UNFINISHED] = {"dag_runs": found, "total_entries": len(found)}


def switch(aws: FakeClients, **options: Any) -> None:
    carry_out(plan(deployment(aws), "green", **options))
    aws.ssm.clock.forward(60)


def test_before_a_switch_nothing_drains(aws: FakeClients) -> None:
    running(aws, BLUE, ("daily", START, "scheduled"))
    running(aws, GREEN, ("daily", START, "scheduled"))
    assert seen(aws).draining == {}, "green only skips"


def test_after_a_switch_the_old_side_finishes_what_was_its_own_and_what_was_made_there(
    aws: FakeClients,
) -> None:
    switch(aws)
    running(
        aws,
        BLUE,
        ("daily", START, "scheduled"),
        ("hourly", START + MINUTE, "scheduled"),  # green's: it is only skipped here
        ("hourly", START + MINUTE, "manual"),
    )
    running(aws, GREEN, ("hourly", START + MINUTE, "scheduled"))
    draining = seen(aws).draining
    assert {colour: [(run.dag_id, run.type) for run in runs] for colour, runs in draining.items()} == {
        "blue": [("daily", "scheduled"), ("hourly", "manual")]
    }


def test_of_a_dag_that_moved_alone_only_its_own_runs_drain(aws: FakeClients) -> None:
    switch(aws, dags=["hourly"])
    running(aws, BLUE, ("daily", START, "scheduled"), ("hourly", START, "scheduled"))
    now = seen(aws)
    assert [run.dag_id for run in now.draining["blue"]] == ["hourly"]
    assert set(now.dags) == {"hourly"}


def test_an_old_side_that_does_not_answer_says_nothing_of_what_drains(aws: FakeClients) -> None:
    switch(aws)
    aws.mwaa.silence(BLUE)
    now = seen(aws)
    assert now.draining == {}
    assert "blue.in_flight" in now.not_checked


def test_differences_between_the_sides_are_shown_without_a_call_per_dag(aws: FakeClients) -> None:
    for name, due in ((BLUE, START + MINUTE), (GREEN, START + 2 * MINUTE)):
        set_dags(aws, name, *(dag_answer(f"dag{i}", due=due, timetable_summary="Asset") for i in range(30)))
    aws.mwaa.airflow[BLUE]["/pools"]["pools"][0]["slots"] = 1
    aws.s3.buckets[f"{BLUE}-dags"].put("dags/etl.py", b"x")
    results = {check.name: check.result for check in seen(aws).switch_checks}
    assert {name for name, result in results.items() if result in ("fail", "warn")} == {
        "same-files",
        "pools",
        "same-instants",
    }
    assert results["asset-events"] == "not checked"
    assert len(aws.mwaa.asked) == 20, "ten of each side"


def test_the_runs_of_the_other_side_take_one_call_more(aws: FakeClients) -> None:
    run = {"dag_id": "daily", "dag_run_id": "r", "run_type": "scheduled", "state": "success"}
    found = [{**run, "run_after": (START - MINUTE).isoformat()}]
    aws.mwaa.airflow[GREEN]["/dags/~/dagRuns"] = {"dag_runs": found, "total_entries": 1}
    results = {check.name: check.result for check in seen(aws).switch_checks}
    assert results["gate"] == "pass"
    asked = [f"{one['Method']} {one['Path']}" for one in aws.mwaa.asked]
    assert len(asked) == 21
    assert asked.count(TASK_INSTANCES) == 3, "one of each probe"


def test_a_plain_parameter_that_is_missing_is_named(aws: FakeClients) -> None:
    del aws.ssm.stored[ACTIVE]
    assert "does not exist" in status(deployment(aws)).not_checked["active_environment"]


def test_ungated_executions_are_looked_for_once_if_there_are_none(aws: FakeClients) -> None:
    assert seen(aws).ungated == ()
    assert aws.s3.listed.count(UNGATED) == 1


@pytest.mark.parametrize(("minutes", "result"), [(1, "fail"), (60, "pass")])
def test_what_was_executed_ungated_counts_for_the_check_if_it_was_lately(
    aws: FakeClients, minutes: int, result: str
) -> None:
    write_ungated(aws.s3, START - minutes * MINUTE)
    found = seen(aws)
    assert [each.dag_id for each in found.ungated] == ["daily"]
    assert [check.result for check in found.switch_checks if check.name == "gate"] == [result]


def test_a_log_that_cannot_be_read_is_no_proof_of_the_gate(aws: FakeClients) -> None:
    aws.s3.lineage.put(UNGATED + key_at(START).removeprefix(EVENTS) + "-1.json.gz", b"no event")
    found = seen(aws)
    assert (found.ungated, "ungated" in found.not_checked) == ((), True)
    assert [check.result for check in found.switch_checks if check.name == "gate"] == ["warn"]
