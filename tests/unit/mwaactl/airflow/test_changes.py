"""The calls that change something in Airflow, in each version's way"""

from __future__ import annotations

from typing import Any

import pytest

from mwaactl.airflow import client as airflow_api
from mwaactl.airflow import rest
from mwaactl.airflow.rest import NotFound
from mwaactl.errors import Unreachable
from tests.fakes.airflow.api import TEN, a_run, a_task, api_of, sent
from tests.fakes.aws.errors import refused

RUN_PATH = "/dags/etl/dagRuns/scheduled__2026-11-23T09%3A00%3A00%2B00%3A00"


@pytest.mark.parametrize("major", [2, 3])
def test_a_dag_is_paused_by_one_call(major: int) -> None:
    api, mwaa = api_of({"PATCH /dags/etl": {}}, major)
    api.set_paused("etl", True)
    assert sent(mwaa) == [("PATCH", "/dags/etl", {"is_paused": True})]


def test_airflow_3_takes_the_note_of_a_run_before_its_state_too() -> None:
    api, mwaa = api_of({f"PATCH {RUN_PATH}": {}}, 3)
    api.set_run(a_run(), "failed", "why")
    api.set_note(a_run(), "more")
    assert [body for _, _, body in sent(mwaa)] == [{"note": "why"}, {"state": "failed"}, {"note": "more"}]


def test_airflow_2_takes_the_note_of_a_run_before_its_state() -> None:
    api, mwaa = api_of({f"PATCH {RUN_PATH}": {}, f"PATCH {RUN_PATH}/setNote": {}}, 2)
    api.set_run(a_run(), "success", "why")
    assert sent(mwaa) == [
        ("PATCH", f"{RUN_PATH}/setNote", {"note": "why"}),
        ("PATCH", RUN_PATH, {"state": "success"}),
    ]


@pytest.mark.parametrize(
    ("major", "downstream", "body"),
    [
        (2, False, {"new_state": "success", "dry_run": False}),
        (2, True, {"new_state": "success", "dry_run": False}),  # v1 has no such field
        (3, False, {"new_state": "success"}),
        (3, True, {"new_state": "success", "include_downstream": True}),
    ],
)
def test_a_task_gets_its_state_in_each_versions_way(major: int, downstream: bool, body: Any) -> None:
    path = f"{RUN_PATH}/taskInstances/load"
    api, mwaa = api_of({f"PATCH {path}": {}, f"PATCH {path}/3": {}}, major)
    api.set_task(a_task(), "success", downstream=downstream)
    api.set_task(a_task(3), "success", downstream=downstream)
    assert sent(mwaa) == [("PATCH", path, body), ("PATCH", f"{path}/3", body)]
    assert api.reaches_downstream == (major > 2)


@pytest.mark.parametrize(
    ("major", "body"), [(2, {"dry_run": False}), (3, {"dry_run": False, "only_failed": False})]
)
def test_clearing_a_run_takes_its_skipped_tasks_along(major: int, body: Any) -> None:
    api, mwaa = api_of({f"POST {RUN_PATH}/clear": {}}, major)
    api.clear(a_run())
    assert sent(mwaa) == [("POST", f"{RUN_PATH}/clear", body)]


@pytest.mark.parametrize("major", [2, 3])
def test_a_created_run_covers_the_same_interval_under_an_id_that_is_free_for_manual_runs(major: int) -> None:
    """Airflow reserves ids that begin like those of its own runs, and wants both ends of an interval."""
    api, mwaa = api_of({"POST /dags/etl/dagRuns": {}}, major)
    api.create(a_run(), "mwaactl audit")
    body = {
        "dag_run_id": "manual__2026-11-23T09:00:00+00:00",
        "logical_date": "2026-11-23T09:00:00+00:00",
        "data_interval_start": "2026-11-23T09:00:00.000Z",
        "data_interval_end": "2026-11-23T10:00:00.000Z",
        "note": "mwaactl audit",
        "conf": {},
    }
    if major == 3:
        body["run_after"] = "2026-11-23T10:00:00.000Z"  # v1 does not know it
    assert sent(mwaa) == [("POST", "/dags/etl/dagRuns", body)]


@pytest.mark.parametrize(
    ("run_id", "manual_id"),
    [
        ("own id", "manual__own id"),
        ("scheduled__a__b", "manual__a__b"),
        ("scheduled__", "manual__scheduled__"),
    ],
)
def test_a_created_run_keeps_what_is_its_own_of_the_id(run_id: str, manual_id: str) -> None:
    api, mwaa = api_of({"POST /dags/etl/dagRuns": {}}, 3)
    api.create(a_run(run_id, interval=None), "note")
    ((_, _, body),) = sent(mwaa)
    assert body["dag_run_id"] == manual_id
    assert "data_interval_start" not in body


# --- calling ---


def test_what_does_not_exist_differs_from_what_does_not_answer() -> None:
    api, _ = api_of({"/dags/etl/tasks": refused(404, title="DAG not found")}, 2)
    with pytest.raises(NotFound, match="on env: it answered 404: DAG not found"):
        api.tasks("etl")


def test_an_endless_listing_is_an_error_and_not_cut_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest.Pace, "wait", lambda pace: None)
    api, mwaa = api_of({"/pools": {"pools": [{"name": "p", "slots": 1}], "total_entries": 10**9}}, 3)
    with pytest.raises(Unreachable, match="pools has not ended after 1000 pages"):
        api.pools()
    assert len(mwaa.asked) == airflow_api.MOST_PAGES


def test_a_manual_run_keeps_its_id_configuration_and_exact_logical_date() -> None:
    logical = TEN.replace(microsecond=123456)
    api, mwaa = api_of({"POST /dags/etl/dagRuns": {}}, 3)
    api.create(a_run("manual__x", type="manual", conf={"day": 7}, logical_date=logical), "note")
    ((_, _, body),) = sent(mwaa)
    assert (body["dag_run_id"], body["conf"]) == ("manual__x", {"day": 7})
    assert body["logical_date"] == "2026-11-23T10:00:00.123456+00:00"


@pytest.mark.parametrize(("major", "sends"), [(2, False), (3, True)])
def test_a_run_without_a_logical_date_is_created_without_one(major: int, sends: bool) -> None:
    """Airflow 3 wants a null; Airflow 2 refuses one, and takes the present time."""
    api, mwaa = api_of({"POST /dags/etl/dagRuns": {}}, major)
    api.create(a_run("manual__x", type="manual", logical_date=None, due=None), "note")
    ((_, _, body),) = sent(mwaa)
    assert ("logical_date" in body) == sends
    assert body.get("logical_date") is None
    assert "run_after" not in body
