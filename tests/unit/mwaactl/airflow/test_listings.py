"""What the observation of an environment asks of Airflow's REST API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from mwaactl.airflow.models import Run
from mwaactl.errors import Unreachable
from tests.fakes.airflow.api import HOUR, TEN, a_run, api_of, run_answer, sent
from tests.fakes.aws.errors import client_error, refused


def test_listings_are_read_to_their_end() -> None:
    names = [f"dag{i}" for i in range(250)]

    def page(query: dict[str, Any]) -> dict[str, Any]:
        start = int(query["offset"])
        dags = [{"dag_id": name, "is_paused": False} for name in names[start : start + int(query["limit"])]]
        return {"dags": dags, "total_entries": len(names)}

    api, mwaa = api_of({"/dags": page}, 3)
    assert list(api.dags()) == names
    assert len(mwaa.asked) == 3


def run(
    dag_id: str, due: str, kind: str = "scheduled", state: str = "success", **more: Any
) -> dict[str, Any]:
    return {"dag_id": dag_id, "dag_run_id": f"{kind}__{due}", "run_type": kind, "state": state, **more}


@pytest.mark.parametrize("interval_end", ["2026-11-23T10:00:00Z", "2026-11-24T00:00:00Z", None])
def test_airflow_3_runs_are_due_at_run_after_at_the_latest(interval_end: str | None) -> None:
    answer = run("daily", "a", run_after="2026-11-23T10:00:00Z", data_interval_end=interval_end)
    api, mwaa = api_of({"/dags/~/dagRuns": {"dag_runs": [answer], "total_entries": 1}}, 3)
    (newest,) = api.last_scheduled_runs()
    assert newest.due is not None
    assert newest.due.isoformat() == "2026-11-23T10:00:00+00:00"
    assert mwaa.asked[0]["QueryParameters"]["run_type"] == "scheduled"


def test_airflow_2_runs_are_due_at_the_end_of_their_interval_and_filtered_here() -> None:
    runs = [
        run("daily", "m", kind="manual", data_interval_end="2026-11-23T11:00:00+00:00"),
        run("daily", "b", data_interval_end="2026-11-23T10:00:00+00:00"),
        run("daily", "a", data_interval_end="2026-11-22T10:00:00+00:00"),
    ]
    api, mwaa = api_of({"/dags/~/dagRuns": {"dag_runs": runs, "total_entries": 3}}, major=2)
    (newest,) = api.last_scheduled_runs()
    assert newest.run_id == "scheduled__b"
    assert "run_type" not in mwaa.asked[0]["QueryParameters"]


def test_runs_in_flight_are_the_queued_and_the_running_of_any_type() -> None:
    def page(body: dict[str, Any]) -> dict[str, Any]:
        runs = [run("daily", state, kind="manual", state=state) for state in body["states"]]
        return {"dag_runs": runs, "total_entries": 2}

    api, _ = api_of({"POST /dags/~/dagRuns/list": page}, 3)
    assert [unfinished.state for unfinished in api.unfinished_runs()] == ["queued", "running"]


def many_unfinished(count: int, ends: dict[int, list[int]]) -> dict[str, Any]:
    """Airflow with so many unfinished runs; `ends` says which of them end before its n-th call."""
    runs = {number: run("busy", f"{number:05}", state="running") for number in range(count)}
    calls = 0

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        nonlocal calls
        for number in ends.get(calls, ()):
            runs.pop(number, None)
        calls += 1
        assert body["order_by"] == "id"
        start = body["page_offset"]
        return {
            "dag_runs": list(runs.values())[start : start + body["page_limit"]],
            "total_entries": len(runs),
        }

    return {"POST /dags/~/dagRuns/list": answer}


def numbers(runs: Iterable[Run]) -> set[int]:
    return {int(unfinished.run_id.rpartition("_")[2]) for unfinished in runs}


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize(
    "ends",
    [
        {},
        {1: [0]},  # one of the first page, before the second is read
        {1: list(range(90))},
        {1: list(range(100))},  # the whole first page
        {1: [99], 2: [199], 3: list(range(150))},  # the very runs at which the next page begins
        {1: list(range(249))},
    ],
)
def test_no_run_that_stays_unfinished_is_missed_whatever_ends_between_two_pages(
    major: int, ends: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mwaactl.airflow.rest.Pace.wait", lambda pace: None)
    api, _ = api_of(many_unfinished(250, ends), major)
    stay = set(range(250)) - {number for several in ends.values() for number in several}
    assert stay <= numbers(api.unfinished_runs())


def test_a_listing_of_unfinished_runs_has_no_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mwaactl.airflow.rest.Pace.wait", lambda pace: None)
    api, _ = api_of(many_unfinished(6000, {}), 3)
    assert numbers(api.unfinished_runs()) == set(range(6000))


@pytest.mark.parametrize(("major", "path"), [(2, "/health"), (3, "/monitor/health")])
def test_health_is_asked_where_the_version_has_it(major: int, path: str) -> None:
    api, _ = api_of({path: {"scheduler": {"status": "healthy"}}}, major)
    assert api.scheduler() == ("healthy", None)


def test_a_refused_call_names_the_permission_it_needs() -> None:
    api, _ = api_of({"/dags": client_error("AccessDeniedException", 403)}, 3)
    with pytest.raises(Unreachable, match="airflow:InvokeRestApi"):
        api.dags()


@pytest.mark.parametrize("major", [2, 3])
def test_the_details_of_a_dag_say_whether_it_catches_up(major: int) -> None:
    answer = {"dag_id": "etl", "is_paused": False, "max_active_runs": 1, "catchup": False}
    api, mwaa = api_of({"/dags/etl/details": answer}, major)
    dag = api.dag("etl")
    assert dag is not None
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    mwaa.airflow["env"]["/dags/etl/details"] = refused(404, detail="no DAG")
    assert api.dag("etl") is None


@pytest.mark.parametrize("major", [2, 3])
def test_a_dags_tasks_say_which_are_mapped(major: int) -> None:
    tasks = [{"task_id": "one", "is_mapped": True}, {"task_id": "two", "is_mapped": False}]
    api, _ = api_of({"/dags/etl/tasks": {"tasks": tasks}}, major)
    assert [task.mapped for task in api.tasks("etl")] == [True, False]


@pytest.mark.parametrize("major", [2, 3])
def test_the_first_scheduled_run_is_the_oldest_in_the_database(major: int) -> None:
    runs = [run_answer("manual__1", "manual"), run_answer("scheduled__1"), run_answer("scheduled__2")]
    api, mwaa = api_of({"POST /dags/~/dagRuns/list": {"dag_runs": runs, "total_entries": 3}}, major)
    first = api.first_scheduled_run("etl")
    assert first is not None
    assert first.run_id == "scheduled__1"
    assert sent(mwaa)[0][2] == {"dag_ids": ["etl"], "order_by": "id", "page_limit": 100, "page_offset": 0}


@pytest.mark.parametrize("major", [2, 3])
def test_the_runs_at_work_in_a_window_began_before_its_end_and_ended_after_its_begin(major: int) -> None:
    listing = {"dag_runs": [run_answer("manual__1", "manual")], "total_entries": 1}
    api, mwaa = api_of({"POST /dags/~/dagRuns/list": listing}, major)
    assert api.runs_at_work([], TEN, TEN + HOUR) == ()
    assert [run.run_id for run in api.runs_at_work({"etl"}, TEN, TEN + HOUR)] == ["manual__1"]
    ((_, _, body),) = sent(mwaa)
    assert body["dag_ids"] == ["etl"]
    assert body["end_date_gte"] == "2026-11-23T10:00:00.000Z"
    assert body["start_date_lte"] == "2026-11-23T11:00:00.000Z"


def test_a_run_says_how_it_was_configured_and_triggered() -> None:
    api, mwaa = api_of({"/dags/etl/dagRuns/x": run_answer("x", conf={"a": 1}, triggered_by="operator")}, 3)
    described = api.run_like(a_run(), "x")
    assert described is not None
    assert (described.conf, described.triggered_by) == ({"a": 1}, "operator")
    mwaa.airflow["env"]["/dags/etl/dagRuns/x"] = run_answer("x", conf=None)
    described = api.run_like(a_run(), "x")
    assert described is not None
    assert (described.conf, described.triggered_by) == ({}, None)
