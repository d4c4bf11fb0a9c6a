"""Calls for long names: by listings and patterns, where a path would be longer than Amazon documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaactl.airflow.rest import LONGEST_PATH
from tests.fakes.airflow.api import SCHEDULED, TEN, a_run, api_of, run_answer, sent
from tests.fakes.aws.errors import client_error

LONG = "orders_of_the_day_before_by_customer_and_product_group"
RUNS_LIST = "POST /dags/~/dagRuns/list"
MAJORS = pytest.mark.parametrize("major", [2, 3])


class Refusing(dict[str, Any]):
    """Amazon refuses what is not here for its length."""

    def __missing__(self, key: str) -> Any:
        return client_error("ValidationException", 400, "InvokeRestApi")


def listing(*answers: Any) -> dict[str, Any]:
    return {"dag_runs": list(answers), "total_entries": len(answers)}


@MAJORS
def test_the_newest_runs_of_a_long_dag_are_listed(major: int) -> None:
    manual, scheduled = (run_answer(f"{kind}__1", kind, dag_id=LONG) for kind in ("manual", "scheduled"))
    api, mwaa = api_of({RUNS_LIST: listing(manual, scheduled)}, major)
    assert [run.run_id for run in api.newest_runs(LONG, 25)] == ["scheduled__1"]
    assert [run.run_id for run in api.newest_runs(LONG, 1, of_any_type=True)] == ["manual__1"]
    (_, _, body), _ = sent(mwaa)
    assert body["dag_ids"] == [LONG]
    assert body["order_by"] == ("-execution_date" if major == 2 else "-run_after")


@MAJORS
def test_a_run_with_a_long_path_is_found_among_those_of_its_instant(major: int) -> None:
    run = a_run(dag_id=LONG)
    other, same = run_answer("manual__x", "manual"), run_answer()
    api, mwaa = api_of(Refusing({RUNS_LIST: listing(other, same)}), major)
    found = api.run_like(run, SCHEDULED)
    assert found is not None
    assert found.run_id == SCHEDULED
    assert api.run_like(run, "manual__with_another_id_of_the_same_instant") is None
    body = sent(mwaa)[-1][2]
    field = "execution_date" if major == 2 else "logical_date"
    assert run.logical_date is not None
    for end in ("gte", "lte"):
        assert datetime.fromisoformat(body[f"{field}_{end}"]) == run.logical_date


def test_a_run_without_a_logical_date_is_found_by_its_due_instant() -> None:
    due = TEN.replace(microsecond=123456)
    api, mwaa = api_of(Refusing({RUNS_LIST: listing(run_answer())}), 3)
    assert api.run_like(a_run(dag_id=LONG, logical_date=None, due=due), SCHEDULED) is not None
    body = sent(mwaa)[-1][2]
    # What is created for an instant has it in milliseconds.
    created = due.replace(microsecond=123000)
    first, last = (datetime.fromisoformat(body[f"run_after_{end}"]) for end in ("gte", "lte"))
    assert first <= created <= due <= last


@MAJORS
def test_a_long_dag_is_paused_by_a_pattern_that_finds_no_other(major: int) -> None:
    long = LONG * 2
    only = {"dags": [{"dag_id": long}], "total_entries": 1}
    api, mwaa = api_of({"/dags": only, "PATCH /dags": {}}, major)
    api.set_paused(long, True)
    assert mwaa.asked[-1]["Path"] == "/dags"
    assert mwaa.asked[-1]["Body"] == {"is_paused": True}
    assert mwaa.asked[-1]["QueryParameters"] == mwaa.asked[0]["QueryParameters"] | {
        "dag_id_pattern": long
    } or (mwaa.asked[-1]["QueryParameters"] == {"dag_id_pattern": long})
    assert mwaa.asked[0]["QueryParameters"]["dag_id_pattern"] == long


@MAJORS
def test_a_pattern_that_finds_another_dag_changes_nothing_but_the_one(major: int) -> None:
    long = LONG * 2
    both = {"dags": [{"dag_id": long}, {"dag_id": f"{long}_2"}], "total_entries": 2}
    api, mwaa = api_of({"/dags": both, f"PATCH /dags/{long}": {}}, major)
    api.set_paused(long, True)
    assert sent(mwaa)[-1] == ("PATCH", f"/dags/{long}", {"is_paused": True})


CLEAR = f"POST /dags/etl_of_all_orders/dagRuns/{quote(SCHEDULED)}/clear"
TOO_LONG = client_error("ValidationException", 400, "InvokeRestApi")


@MAJORS
def test_a_run_that_cannot_be_cleared_by_its_long_path_is_cleared_by_its_dag(major: int) -> None:
    path = "/dags/etl_of_all_orders/clearTaskInstances"
    api, mwaa = api_of({CLEAR: TOO_LONG, unquote(CLEAR): TOO_LONG, f"POST {path}": {}}, major)
    api.clear(a_run(dag_id="etl_of_all_orders"))
    whole = {"dag_run_id": SCHEDULED, "dry_run": False, "only_failed": False, "reset_dag_runs": True}
    assert sent(mwaa)[-1] == ("POST", path, whole)


def test_a_path_that_is_too_long_only_when_quoted_is_tried_as_it_is() -> None:
    short = CLEAR.replace("etl_of_all_orders", "etl")
    api, mwaa = api_of({short: TOO_LONG, unquote(short): {}}, 3)
    api.clear(a_run())
    assert len(mwaa.asked[-1]["Path"]) <= LONGEST_PATH < len(mwaa.asked[0]["Path"])


class Recorder(dict[str, Any]):
    """Answers every path with what is empty, or an object."""

    def __missing__(self, key: str) -> Any:
        if "/dagRuns/" in key and not key.endswith("/list"):
            return run_answer()
        return {"dags": [], "dag_runs": [], "task_instances": [], "total_entries": 0}


@given(
    dag_id=st.text("abcdefghij_.-", min_size=1, max_size=250),
    run_id=st.sampled_from([SCHEDULED, "manual__" + "y" * 200]),
    major=st.sampled_from([2, 3]),
)
def test_what_has_a_short_form_is_never_called_by_a_long_path(dag_id: str, run_id: str, major: int) -> None:
    api, mwaa = api_of(Recorder(), major)
    run = a_run(run_id, dag_id=dag_id, due=datetime(2026, 11, 23, 10, tzinfo=UTC))
    api.newest_runs(dag_id, 5)
    api.unfinished_runs()
    api.first_scheduled_run(dag_id)
    api.scheduled_runs(TEN, TEN, [dag_id])
    api.task_instances([run])
    assert [call["Path"] for call in mwaa.asked if len(call["Path"]) > LONGEST_PATH] == []
