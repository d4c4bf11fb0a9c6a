"""How calls go out through InvokeRestApi: their pace, the form of paths, what errors mean."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from mwaactl.airflow import rest
from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.rest import NotFound, Refused
from mwaactl.errors import Unreachable
from tests.fakes.airflow.api import a_run, api_of, sent
from tests.fakes.aws.clients import deployment, fresh_clients
from tests.fakes.aws.errors import client_error, refused
from tests.fakes.aws.mwaa import FakeMwaa

QUOTED = "/dags/etl/dagRuns/scheduled__2026-11-23T09%3A00%3A00%2B00%3A00"
PLAIN = unquote(QUOTED)
THROTTLED = client_error("ThrottlingException", 429, "InvokeRestApi")


def api_that_takes(form: str, status: int = 404) -> tuple[AirflowApi, FakeMwaa]:
    """An environment where InvokeRestApi quotes paths itself (PLAIN), or not (QUOTED)."""
    answers: dict[str, Any] = {
        f"PATCH {path}": {} if path == form else refused(status, detail="no such run")
        for path in (QUOTED, PLAIN)
    }
    return api_of({**answers, "/pools": {"pools": [], "total_entries": 0}}, 3)


def paths(mwaa: FakeMwaa) -> list[str]:
    return [path for _, path, _ in sent(mwaa)]


@pytest.mark.parametrize("status", [404, 400])
def test_the_form_of_a_path_that_works_is_found_and_remembered(status: int) -> None:
    api, mwaa = api_that_takes(PLAIN, status)
    for _ in range(2):
        api.set_note(a_run(), "why")
    assert paths(mwaa) == [QUOTED, PLAIN, PLAIN]


def test_a_form_that_works_at_once_is_remembered_too() -> None:
    api, mwaa = api_that_takes(QUOTED)
    api.set_note(a_run(), "why")
    mwaa.airflow[api.name][f"PATCH {QUOTED}"] = refused(404, detail="it is gone")
    with pytest.raises(NotFound, match="it is gone"):
        api.set_note(a_run(), "why")
    assert paths(mwaa) == [QUOTED, QUOTED]


def test_that_there_is_no_such_run_is_concluded_from_both_forms_only() -> None:
    api, mwaa = api_that_takes("neither")
    for _ in range(2):
        with pytest.raises(NotFound, match="no such run"):
            api.set_note(a_run(), "why")
    assert paths(mwaa) == [QUOTED, PLAIN] * 2, "no form has worked yet"


def test_what_airflow_understands_and_refuses_is_not_tried_again() -> None:
    api, mwaa = api_that_takes(PLAIN, 403)
    with pytest.raises(Refused, match="403"):
        api.set_note(a_run(), "why")
    assert paths(mwaa) == [QUOTED]


def test_a_path_without_names_to_quote_has_one_form() -> None:
    api, mwaa = api_that_takes(PLAIN)
    api.set_note(a_run(), "why")
    mwaa.asked.clear()
    api.pools()
    assert paths(mwaa) == ["/pools"]
    assert mwaa.asked[0]["QueryParameters"] == {"limit": "100", "offset": "0"}


def test_a_path_that_amazon_finds_too_long_is_named_with_its_limit() -> None:
    error = client_error("ValidationException", 400, "InvokeRestApi")
    path = QUOTED.replace("etl", "etl_of_all_orders")
    api, _ = api_of({f"PATCH {path}": error, f"PATCH {unquote(path)}": error}, 3)
    with pytest.raises(Unreachable, match=f"{len(path)} characters, and Amazon documents at most 64"):
        api.set_note(a_run(dag_id="etl_of_all_orders"), "why")


def test_a_conflict_is_reported_without_the_statement_that_met_it() -> None:
    conflict = refused(409, detail={"reason": "Unique constraint violation", "statement": "INSERT INTO ..."})
    api, _ = api_of({"POST /dags/etl/dagRuns": conflict}, 3)
    with pytest.raises(Unreachable, match=r"it answered 409: Unique constraint violation$"):
        api.create(a_run(), "note")


def test_an_answer_that_is_no_object_is_an_error() -> None:
    api, _ = api_of({"/dags/etl/tasks": "<html>"}, 3)
    with pytest.raises(Unreachable, match="the answer to /dags/etl/tasks is no JSON object"):
        api.tasks("etl")


class Time:
    """Stands in for the machine's, in which only sleeping takes time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        monkeypatch.setattr(rest, "time", self)

    def monotonic(self) -> float:
        return 100 + self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


def test_calls_are_paced_after_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    api, _ = api_of({"PATCH /dags/etl": {}}, 3)
    for _ in range(26):
        api.set_paused("etl", True)
    assert time.passed == pytest.approx(16 / rest.CALLS_PER_SECOND), "10 at once, then so many a second"


def test_both_environments_share_the_rate_of_their_account(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    airflows = deployment(fresh_clients()).airflows
    for _ in range(13):
        for airflow in airflows.values():
            airflow.pools()
    assert time.passed == pytest.approx(16 / rest.CALLS_PER_SECOND)


@pytest.mark.parametrize("times", [1, 5])
def test_a_throttled_call_is_made_again(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    left = [THROTTLED] * times

    def answer(_: Any) -> dict[str, Any]:
        if left:
            raise left.pop()
        return {}

    api, mwaa = api_of({"PATCH /dags/etl": answer}, 3)
    api.set_paused("etl", True)
    assert len(mwaa.asked) == times + 1
    assert time.passed == pytest.approx(sum(rest.PATIENCE[:times]), abs=1)


def test_who_waits_already_is_held_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    time, pace = Time(monkeypatch), rest.Pace()
    for _ in range(rest.BURST):
        pace.wait()
    sleep, held = time.sleep, iter([5.0])

    def interrupted(seconds: float) -> None:
        sleep(seconds)
        for more in held:  # another thread is throttled meanwhile
            pace.hold_off(more)

    monkeypatch.setattr(time, "sleep", interrupted)
    pace.wait()
    assert time.passed >= 5


def test_a_call_that_is_always_throttled_says_so_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    api, mwaa = api_of({"PATCH /dags/etl": THROTTLED}, 3)
    with pytest.raises(Unreachable, match=r"AWS is throttling the calls .*: try again in a minute"):
        api.set_paused("etl", True)
    assert len(mwaa.asked) == 6
    assert time.passed == pytest.approx(31, abs=1)


def test_what_is_refused_for_another_reason_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    api, mwaa = api_of({"PATCH /dags/etl": client_error("AccessDeniedException", 403)}, 3)
    with pytest.raises(Unreachable, match="access denied"):
        api.set_paused("etl", True)
    assert len(mwaa.asked) == 1
