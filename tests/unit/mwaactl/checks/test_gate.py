"""The check `gate`: what the target's own runs prove."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from bluegreen.timeline import Timeline

from mwaactl.airflow.notes import copied_note
from mwaactl.aws import Clients
from mwaactl.checks.registry import observe_sides, run_checks
from mwaactl.deployment import Deployment
from mwaactl.stack import parse
from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out
from tests.fakes.aws.clients import GREEN, FakeClients, deployment, outputs
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START
from tests.fakes.mwaactl.checks import TASK_INSTANCES, outcome
from tests.fakes.timeline import LIVES, dumped, initial

MINUTE = timedelta(minutes=1)


def ran(
    aws: FakeClients,
    *tasks: dict[str, Any],
    due: datetime = START - MINUTE,
    note: str | None = None,
    **more: Any,
) -> None:
    """Green has one scheduled run of daily, with these task instances."""
    run = {
        "dag_id": "daily",
        "dag_run_id": "r1",
        "run_type": "scheduled",
        "state": "success",
        "run_after": due.isoformat(),
        "note": note,
        **more,
    }
    airflow = aws.mwaa.airflow[GREEN]
    airflow["/dags/~/dagRuns"] = {"dag_runs": [run], "total_entries": 1}

    def task_instances(body: dict[str, Any]) -> dict[str, Any]:
        assert body["dag_run_ids"] == ["r1"]
        instances = [
            {"dag_id": "daily", "dag_run_id": "r1", "task_id": f"t{i}", "map_index": -1, **task}
            for i, task in enumerate(tasks)
            if task["state"] in body["state"]
        ]
        return {"task_instances": instances, "total_entries": len(instances)}

    airflow[TASK_INSTANCES] = task_instances


def skipped(aws: FakeClients) -> int:
    """The number of DAGs of whose newest run the target is seen to have skipped; the check passes."""
    result, detail = outcome(aws, "gate")
    assert result == "pass"
    match = re.search(r"green skipped the newest scheduled runs of (\d+) DAG", detail)
    return int(match[1]) if match else 0


SKIPPED = {"state": "skipped", "hostname": ""}
EXECUTED = {"state": "success", "hostname": "worker", "start_date": (START - MINUTE).isoformat()}


def test_a_run_of_the_other_side_that_was_skipped_is_shown_beside_the_probes(aws: FakeClients) -> None:
    ran(aws, SKIPPED, SKIPPED)
    assert outcome(aws, "gate") == (
        "pass",
        "blue's probe due at 2026-11-23T10:00:00.000Z was executed by dag_policy (settings_module), "
        "version 1; green's probe due at 2026-11-23T10:00:00.000Z was skipped; "
        "green skipped the newest scheduled runs of 1 DAG",
    )


@pytest.mark.parametrize("state", ["success", "running", "failed", "up_for_retry", "deferred"])
def test_a_run_of_the_other_side_that_was_worked_on_fails_and_is_named(aws: FakeClients, state: str) -> None:
    ran(aws, SKIPPED, {**EXECUTED, "state": state, "rendered_fields": {"bash_command": "true"}})
    result, detail = outcome(aws, "gate")
    assert (result, "green executed what blue owned: daily, due at 2026-11-23T09:5" in detail) == (
        "fail",
        True,
    )


@pytest.mark.parametrize("state", ["running", "up_for_retry", "failed"])
def test_a_task_that_waits_for_a_verdict_or_had_none_is_no_failure(aws: FakeClients, state: str) -> None:
    """As after an outage of the parameter store: the gate stops it before its templates are rendered."""
    ran(aws, SKIPPED, {**EXECUTED, "state": state, "rendered_fields": {}})
    assert outcome(aws, "gate")[0] == "pass"


def test_an_empty_task_that_no_process_worked_on_is_no_failure(aws: FakeClients) -> None:
    ran(aws, {"state": "success", "hostname": ""})
    assert outcome(aws, "gate")[0] == "pass"


def test_a_mirror_with_copied_states_is_neither_proof_nor_failure(aws: FakeClients) -> None:
    ran(aws, EXECUTED, note=f"{copied_note('blue')} blue")
    assert skipped(aws) == 0


def test_a_run_that_is_not_finished_proves_nothing_yet(aws: FakeClients) -> None:
    ran(aws, state="queued")
    assert skipped(aws) == 0


def switched_there_and_back(aws: FakeClients) -> None:
    """Green owned from 10:00:05 to 10:10:05."""
    stack = parse(outputs())
    for colour, seconds in (("green", 600.0), ("blue", 600.0)):
        carry_out(plan(Deployment(stack, cast(Clients, aws)), cast(Any, colour)))
        aws.ssm.clock.forward(seconds)


def test_a_run_that_the_target_owned_says_nothing(aws: FakeClients) -> None:
    switched_there_and_back(aws)
    ran(aws, EXECUTED, due=START + 5 * MINUTE)
    assert skipped(aws) == 0


def test_a_run_that_was_cleared_while_the_target_owned_was_rightly_executed(aws: FakeClients) -> None:
    switched_there_and_back(aws)
    ran(aws, {**EXECUTED, "start_date": (START + 5 * MINUTE).isoformat()}, due=START - MINUTE)
    assert outcome(aws, "gate")[0] == "pass"
    ran(aws, {**EXECUTED, "start_date": (START + 15 * MINUTE).isoformat()}, due=START - MINUTE)
    assert outcome(aws, "gate")[0] == "fail"


def test_runs_from_before_the_timelines_memory_are_not_judged(aws: FakeClients) -> None:
    timeline = initial().switched("green", START - timedelta(days=9), 2, known=["daily"])
    timeline = timeline.with_books("blue", {}, 3, closed=True).switched("blue", START, 4, known=["daily"])
    aws.ssm.stored[OWNERSHIP] *= 3
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(timeline, START)})
    ran(aws, EXECUTED, due=START - timedelta(days=20))
    assert skipped(aws) == 0


def test_a_run_of_a_former_environment_that_its_successor_executed_again_fails(aws: FakeClients) -> None:
    former = Timeline.initial("green", "green-0").seen_with(LIVES).switched("blue", START - MINUTE, 2)
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(former)})
    ran(aws, EXECUTED, due=START - timedelta(days=2))
    assert outcome(aws, "gate")[0] == "fail"


def test_without_the_ownership_nobody_knows_whose_runs_they_were(aws: FakeClients) -> None:
    sides = observe_sides(deployment(aws), "green", None, dags=("daily",))
    checks = {check.name: check for check in run_checks(sides)}
    assert checks["gate"].result == "fail"
    assert "ownership timeline cannot be read" in checks["gate"].detail
    assert checks["cross-dag"].result == "not checked"
