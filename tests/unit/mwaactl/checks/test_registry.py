"""What is observed of the environments, what the checks conclude, and where they are documented."""

from __future__ import annotations

from pathlib import Path

from mwaactl.checks.registry import CHECKS, markdown_table
from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment
from tests.fakes.aws.errors import client_error
from tests.fakes.mwaactl.checks import checked

DOCS = Path(__file__).parents[4] / "docs"


def test_the_docs_have_the_table_of_the_registry() -> None:
    assert f"\n\n{markdown_table()}\n" in (DOCS / "checks.md").read_text(), (
        "print(mwaactl.checks.registry.markdown_table())"
    )


def test_two_healthy_and_equal_sides_pass_every_check_that_has_something_to_go_by(aws: FakeClients) -> None:
    checks = checked(aws, "daily")
    assert set(checks) == set(CHECKS)
    assert {check.result for check in checks.values()} == {"pass"}


def test_a_target_that_is_being_updated_fails(aws: FakeClients) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    check = checked(aws)["target-available"]
    assert (check.result, "UPDATING" in check.detail) == ("fail", True)


def test_a_target_that_is_still_created_is_not_asked(aws: FakeClients) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "CREATING"
    checks = checked(aws)
    assert checks["target-api"].result == "fail"
    assert checks["same-dags"].result == "not checked"
    assert {request["Name"] for request in aws.mwaa.asked} == {BLUE}


def test_a_target_whose_api_is_silent_fails_once_and_leaves_the_rest_not_checked(aws: FakeClients) -> None:
    error = client_error(
        "RestApiServerException", 400, RestApiStatusCode=502, RestApiResponse={"detail": "down"}
    )
    aws.mwaa.airflow[GREEN] = dict.fromkeys(aws.mwaa.airflow[GREEN], error)
    checks = checked(aws)
    assert checks["target-api"].result == "fail"
    assert "it answered 502: down" in checks["target-api"].detail
    assert {name for name, check in checks.items() if check.result == "not checked"} == {
        "import-errors",
        "same-dags",
        "pause-state",
        "pools",
        "variables",
        "connections",
        "next-runs",
        "same-instants",
        "asset-events",
    }
    assert checks["pause-state"].detail == "for the same reason as target-api"


def test_a_source_that_is_dead_hinders_by_its_gate_alone(aws: FakeClients) -> None:
    aws.mwaa.airflow[BLUE] = dict.fromkeys(
        aws.mwaa.airflow[BLUE], client_error("InternalServerException", 500)
    )
    checks = checked(aws)
    assert checks["target-api"].result == "pass"
    assert checks["same-dags"].result == checks["pause-state"].result == "not checked"
    assert [check.name for check in checks.values() if check.stops] == ["gate"]


def test_an_unhealthy_scheduler_fails(aws: FakeClients) -> None:
    aws.mwaa.airflow[GREEN]["/monitor/health"] = {"scheduler": {"status": "unhealthy"}}
    assert checked(aws)["target-scheduler"].result == "fail"


def test_an_import_error_fails_with_the_file_and_the_last_line(aws: FakeClients) -> None:
    aws.mwaa.airflow[GREEN]["/importErrors"] = {
        "import_errors": [{"filename": "etl.py", "stack_trace": "Traceback:\n  ...\nNameError: no x\n"}],
        "total_entries": 1,
    }
    check = checked(aws)["import-errors"]
    assert (check.result, check.detail) == (
        "fail",
        f"1 on {GREEN}, the first in etl.py: NameError: no x. Fix the file, then: mwaactl dags push",
    )


def test_a_dag_on_one_side_only_fails_and_names_side_and_command(aws: FakeClients) -> None:
    aws.mwaa.airflow[BLUE]["/dags"]["dags"].append({"dag_id": "new", "is_paused": False})
    aws.mwaa.airflow[BLUE]["/dags"]["total_entries"] = 3
    check = checked(aws)["same-dags"]
    assert (check.result, check.detail) == (
        "fail",
        "only on blue: new. Upload the same directory to both: mwaactl dags push",
    )


def test_a_dag_paused_on_one_side_only_fails(aws: FakeClients) -> None:
    aws.mwaa.airflow[GREEN]["/dags"]["dags"][0]["is_paused"] = True
    check = checked(aws)["pause-state"]
    assert (check.result, check.detail) == (
        "fail",
        "paused on green only: daily. Add --sync to copy blue's pause state",
    )


def test_the_pause_state_of_a_dag_that_the_target_owns_already_does_not_matter(aws: FakeClients) -> None:
    carry_out(plan(deployment(aws), "green", dags=["daily"]))
    aws.mwaa.airflow[BLUE]["/dags"]["dags"][0]["is_paused"] = True
    assert checked(aws)["pause-state"].result == "pass"
    aws.mwaa.airflow[BLUE]["/dags"]["dags"][1]["is_paused"] = False
    assert checked(aws)["pause-state"].detail.startswith("paused on green only: hourly.")


def test_single_dags_that_are_alike_on_both_sides_pass(aws: FakeClients) -> None:
    check = checked(aws, "hourly", "daily")["moving-dags"]
    assert (check.result, check.detail) == ("pass", "on both sides, in the same pause state: daily, hourly")
    assert "moving-dags" not in checked(aws), "nothing to say when all DAGs move"


def test_a_single_dag_that_a_side_does_not_have_fails_and_names_the_side(aws: FakeClients) -> None:
    aws.mwaa.airflow[BLUE]["/dags"]["dags"].append({"dag_id": "new", "is_paused": False})
    aws.mwaa.airflow[BLUE]["/dags"]["total_entries"] = 3
    assert checked(aws, "new")["moving-dags"].detail == "not on green: new"
    check = checked(aws, "daily", "typo")["moving-dags"]
    assert (check.result, check.detail) == ("fail", "not on green: typo; not on blue: typo")
    assert checked(aws, "daily")["moving-dags"].result == "pass", "whatever other DAGs are like"


def test_a_single_dag_paused_on_one_side_only_fails(aws: FakeClients) -> None:
    aws.mwaa.airflow[GREEN]["/dags"]["dags"][0]["is_paused"] = True
    check = checked(aws, "daily")["moving-dags"]
    assert (check.result, check.detail) == ("fail", "paused on green only: daily")
    assert checked(aws, "hourly")["moving-dags"].result == "pass"


def test_a_dead_source_leaves_a_single_dag_unchecked_unless_the_target_lacks_it(aws: FakeClients) -> None:
    aws.mwaa.airflow[BLUE] = dict.fromkeys(
        aws.mwaa.airflow[BLUE], client_error("InternalServerException", 500)
    )
    assert checked(aws, "daily")["moving-dags"].result == "not checked"
    assert checked(aws, "typo")["moving-dags"].detail == "not on green: typo"


def test_an_environment_that_is_gone_fails_with_its_name(aws: FakeClients) -> None:
    del aws.mwaa.environments[GREEN]
    check = checked(aws)["target-available"]
    assert check.result == "fail"
    assert GREEN in check.detail
