"""The checks of runs: the next ones, and which DAGs depend on each other."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import pytest

from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.clock import START
from tests.fakes.mwaactl.checks import TASK_INSTANCES, checked, dag_answer, outcome, set_dags

MINUTE = timedelta(minutes=1)


# --- the next runs ---


@pytest.mark.parametrize(("late", "result"), [(-30, "pass"), (59, "pass"), (61, "fail")])
def test_a_run_that_is_due_for_more_than_a_minute_and_not_made_fails(
    aws: FakeClients, late: float, result: str
) -> None:
    due = START - timedelta(seconds=late)
    set_dags(
        aws,
        GREEN,
        dag_answer("daily", due=due),
        dag_answer("none"),
        dag_answer("p", True, START - 9 * MINUTE),
    )
    actual, detail = outcome(aws, "next-runs")
    assert actual == result
    if result == "fail":
        assert "not created runs that have been due since 2026-11-23T09:58:59.000Z: daily." in detail
        assert "still creating (and skipping) its history" in detail


def test_of_a_single_dag_that_moves_only_its_own_next_run_counts(aws: FakeClients) -> None:
    for name in (BLUE, GREEN):
        set_dags(
            aws, name, dag_answer("daily", due=START + MINUTE), dag_answer("old", due=START - 9 * MINUTE)
        )
    assert outcome(aws, "next-runs")[0] == "fail"
    assert outcome(aws, "next-runs", "daily") == ("pass", "in the future for 1 DAG")


def test_a_run_that_is_created_long_after_it_is_due_is_not_late_before_that(aws: FakeClients) -> None:
    end = (START - 9 * MINUTE).isoformat()
    set_dags(aws, GREEN, dag_answer("daily", due=START + MINUTE, next_dagrun_data_interval_end=end))
    assert outcome(aws, "next-runs")[0] == "pass"


# --- due instants ---


def both_due(
    aws: FakeClients, blue: datetime | None, green: datetime | None, schedule: str = "0 * * * *"
) -> str:
    """The result of the check when daily is next due so on the two sides."""
    for name, due in ((BLUE, blue), (GREEN, green)):
        set_dags(aws, name, dag_answer("daily", due=due, timetable_summary=schedule))
    return outcome(aws, "same-instants")[0]


def test_two_next_instants_in_the_future_must_be_one(aws: FakeClients) -> None:
    assert both_due(aws, START + MINUTE, START + MINUTE) == "pass"
    assert both_due(aws, START + MINUTE, START + 1.5 * MINUTE) == "fail"
    detail = checked(aws)["same-instants"].detail
    assert "daily (next on green at 2026-11-23T10:01:30.000Z, on blue at 2026-11-23T10:01:00.000Z)" in detail


def test_a_run_that_one_side_has_made_and_the_other_not_yet_proves_nothing(aws: FakeClients) -> None:
    assert both_due(aws, START, START + MINUTE) == "pass"
    assert both_due(aws, START + timedelta(seconds=9), START + MINUTE) == "pass", "clocks may differ"
    assert both_due(aws, None, START + MINUTE) == "pass"


@pytest.mark.parametrize(
    ("schedule", "seconds", "result"),
    [
        ("0:05:00", 300, "pass"),
        ("0:05:00", 17, "fail"),
        ("1 day, 0:00:00", 86400, "pass"),
        ("1 day, 0:00:00", 300, "fail"),
        ("0:00:00.500000", 1, "pass"),
        ("relativedelta(months=+1)", 17, "pass"),  # of no fixed length
    ],
)
def test_bare_timedeltas_are_compared_by_their_phase(
    aws: FakeClients, schedule: str, seconds: int, result: str
) -> None:
    assert both_due(aws, START - MINUTE, START - MINUTE + timedelta(seconds=seconds), schedule) == result


def test_a_continuous_dag_always_warns_and_a_paused_one_never(aws: FakeClients) -> None:
    assert both_due(aws, None, None, "@continuous") == "warn"
    for name in (BLUE, GREEN):
        set_dags(aws, name, dag_answer("daily", True, timetable_summary="@continuous"))
    assert outcome(aws, "same-instants")[0] == "pass"


@pytest.mark.parametrize(
    ("versions", "minutes", "result"),
    [
        (("2.11.2", "3.3.1"), 5, "fail"),
        (("2.11.2", "2.11.2"), 5, "fail"),
        (("3.0.6", "3.3.1"), 5, "pass"),  # Airflow 3 keeps the run's own instant
        (("2.11.2", "3.3.1"), 0, "pass"),
        (("2.11.2", "3.3.1"), -5, "pass"),  # created late: due at the end of its interval on both
    ],
)
def test_a_run_before_the_end_of_its_interval_has_no_common_instant_if_a_side_is_airflow_2(
    aws: FakeClients, versions: tuple[str, str], minutes: int, result: str
) -> None:
    due = START + 10 * MINUTE
    end = (due + minutes * MINUTE).isoformat()
    for name, version in zip((BLUE, GREEN), versions, strict=True):
        aws.mwaa.environments[name]["AirflowVersion"] = version
        set_dags(aws, name, dag_answer("daily", due=due, next_dagrun_data_interval_end=end))
    actual, detail = outcome(aws, "same-instants")
    assert (actual, "both sides or neither would execute them: daily" in detail) == (result, result == "fail")


# --- cleared runs ---


def in_the_queue(aws: FakeClients, *runs: tuple[str, str, str], begun: Collection[str] = ()) -> None:
    """Unfinished runs on blue (DAG, run, state); those in `begun` have tasks that started before."""
    answers = [
        {"dag_id": dag_id, "dag_run_id": run_id, "run_type": run_id[0:9], "state": state}
        for dag_id, run_id, state in runs
    ]
    tasks = [
        {"dag_id": dag_id, "dag_run_id": run_id, "task_id": "t", "try_number": 1}
        for dag_id, run_id, _ in runs
        if run_id in begun
    ]

    def task_instances(body: dict[str, Any]) -> dict[str, Any]:
        assert "start_date_gte" in body, "without it Airflow would list those that never started, too"
        chosen = [task for task in tasks if task["dag_run_id"] in body["dag_run_ids"]]
        return {"task_instances": chosen, "total_entries": len(chosen)}

    airflow = aws.mwaa.airflow[BLUE]
    airflow["POST /dags/~/dagRuns/list"] = {"dag_runs": answers, "total_entries": len(answers)}
    airflow[TASK_INSTANCES] = task_instances


def test_cleared_runs_that_wait_on_the_source_are_named_with_their_number(aws: FakeClients) -> None:
    runs = [("daily", f"scheduled__{number}", "queued") for number in range(3)]
    in_the_queue(aws, *runs, begun=["scheduled__0", "scheduled__2"])
    result, detail = outcome(aws, "cleared-runs")
    assert result == "warn"
    assert "2 cleared runs on blue may start after the switch only: daily (2)." in detail
    assert outcome(aws, "cleared-runs", "hourly")[0] == "pass", "daily does not move"


@pytest.mark.parametrize(("run_id", "state"), [("scheduled__0", "running"), ("manual____0", "queued")])
def test_runs_that_have_started_or_that_no_schedule_made_may_be_cleared(
    aws: FakeClients, run_id: str, state: str
) -> None:
    in_the_queue(aws, ("daily", run_id, state), begun=[run_id])
    assert outcome(aws, "cleared-runs") == ("pass", "no cleared run waits on blue")


def test_runs_that_wait_for_the_first_time_pass(aws: FakeClients) -> None:
    in_the_queue(aws, ("daily", "scheduled__0", "queued"))
    assert outcome(aws, "cleared-runs")[0] == "pass"


def test_cleared_runs_of_a_silent_source_are_not_checked(aws: FakeClients) -> None:
    aws.mwaa.silence(BLUE)
    assert outcome(aws, "cleared-runs")[0] == "not checked"


# --- dependencies between DAGs ---


def depends(aws: FakeClients, dag_id: str, field: str, named: str | None) -> None:
    """On blue, a task of the DAG names another in a template field, if it ever ran."""
    task = {"task_id": "link", "template_fields": ["x", field], "operator_name": "OurOwnSensor"}
    run = {"dag_id": dag_id, "dag_run_id": "r", "run_type": "manual", "state": "success"}
    rendered = {"dag_id": dag_id, "dag_run_id": "r", "task_id": "link", "state": "success"}
    airflow = aws.mwaa.airflow[BLUE]
    airflow[f"/dags/{dag_id}/tasks"] = {"tasks": [task, {"task_id": "plain"}]}
    airflow[f"/dags/{dag_id}/dagRuns"] = {"dag_runs": [run] if named else [], "total_entries": 1}
    airflow[TASK_INSTANCES] = {
        "task_instances": [{**rendered, "rendered_fields": {field: named}}, {**rendered, "task_id": "plain"}],
        "total_entries": 2,
    }


def test_dags_that_a_move_would_separate_fail_with_both_names(aws: FakeClients) -> None:
    depends(aws, "daily", "external_dag_id", "hourly")
    assert outcome(aws, "cross-dag", "daily") == (
        "fail",
        "these would be on different sides: daily waits for hourly. "
        "Move them together: repeat --dag for each DAG",
    )
    assert outcome(aws, "cross-dag", "hourly")[0] == "fail", "from either end"
    assert outcome(aws, "cross-dag", "daily", "hourly") == ("pass", "no dependency between DAGs is cut")


def test_a_dag_that_triggers_another_depends_on_it(aws: FakeClients) -> None:
    depends(aws, "hourly", "trigger_dag_id", "daily")
    assert "hourly triggers daily" in outcome(aws, "cross-dag", "daily")[1]


def test_a_dependency_of_other_dags_or_on_itself_does_not_matter(aws: FakeClients) -> None:
    for name in (BLUE, GREEN):
        set_dags(aws, name, *(dag_answer(dag_id) for dag_id in ("daily", "a", "b")))
    depends(aws, "a", "external_dag_id", "b")
    assert outcome(aws, "cross-dag", "daily")[0] == "pass"
    depends(aws, "a", "external_dag_id", "a")
    assert outcome(aws, "cross-dag", "a")[0] == "pass"
    depends(aws, "a", "external_dag_id", "of another Airflow")
    assert outcome(aws, "cross-dag", "a")[0] == "pass"


def test_a_dependency_that_never_ran_warns_for_a_dag_that_moves(aws: FakeClients) -> None:
    depends(aws, "daily", "external_dag_id", None)
    result, detail = outcome(aws, "cross-dag", "daily")
    assert (result, "daily (waits for)" in detail) == ("warn", True)
    assert outcome(aws, "cross-dag", "hourly")[0] == "pass"


def test_the_producer_of_an_asset_and_its_consumer_depend_on_each_other(aws: FakeClients) -> None:
    asset = {
        "id": 1,
        "uri": "s3://b/k",
        "producing_tasks": [{"dag_id": "hourly", "task_id": "t"}],
        "scheduled_dags": [{"dag_id": "daily"}],
    }
    aws.mwaa.airflow[BLUE]["/assets"] = {"assets": [asset], "total_entries": 1}
    assert "daily is triggered by s3://b/k from hourly" in outcome(aws, "cross-dag", "daily")[1]
    assert outcome(aws, "cross-dag", "daily", "hourly")[0] == "pass"


def test_dags_that_were_separated_before_are_joined_by_a_move(aws: FakeClients) -> None:
    depends(aws, "daily", "external_dag_id", "hourly")
    carry_out(plan(deployment(aws), "green", dags=["hourly"], force=["cross-dag"]))
    aws.ssm.clock.forward(60)
    assert outcome(aws, "cross-dag", "daily")[0] == "pass"
    assert standing(aws).owner(aws.ssm.clock.now, "hourly") == "green"


def test_dependencies_that_cannot_be_read_are_not_checked(aws: FakeClients) -> None:
    aws.mwaa.airflow[BLUE]["/assets"] = client_error("InternalServerException", 500)
    assert outcome(aws, "cross-dag", "daily")[0] == "not checked"
