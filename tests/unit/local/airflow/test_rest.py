"""The local InvokeRestApi's way to Airflow: tokens, errors, queries."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from local.airflow.rest import RestApi


class FakeAirflow(ThreadingHTTPServer):
    """Airflow 3's token and API, as far as needed: every token works three times."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: list[str] = []
        self.tokens = 0
        self.uses = 0
        self.health: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: FakeAirflow

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.path == "/auth/token":
            self.server.tokens += 1
            self.server.uses = 0
            return self.answer(201, {"access_token": f"token-{self.server.tokens}"})
        if self.path.endswith("/health"):
            return self.answer(200, self.server.health)
        self.server.uses += 1
        good = self.headers["Authorization"] == f"Bearer token-{self.server.tokens}" and self.server.uses <= 3
        if not good:
            return self.answer(401, {"detail": "no"})
        return self.answer(404 if "nope" in self.path else 200, {"path": self.path})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {"got": json.loads(body)})

    def answer(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    server = FakeAirflow()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_token_is_fetched_once_and_again_when_its_time_is_over(airflow: FakeAirflow) -> None:
    rest = RestApi(airflow.url, 3)
    assert [rest.call("GET", "/dags", {}, None)[0] for _ in range(5)] == [200] * 5
    assert airflow.tokens == 2


def test_an_error_status_comes_back_with_its_body(airflow: FakeAirflow) -> None:
    assert RestApi(airflow.url, 3).call("GET", "/nope", {}, None) == (404, {"path": "/api/v2/nope"})


def test_queries_and_bodies_reach_airflow_as_it_reads_them(airflow: FakeAirflow) -> None:
    rest = RestApi(airflow.url, 3)
    query = {"limit": 5, "state": ["a", "b"], "only": True}
    assert rest.call("GET", "/dags/a b/x%2By", query, None) == (
        200,
        {"path": "/api/v2/dags/a%20b/x%2By?limit=5&state=a&state=b&only=true"},
    )
    assert rest.call("POST", "/dags/a/clear", {}, {"dry_run": False})[1] == {"got": {"dry_run": False}}


@pytest.mark.parametrize(
    ("form", "path", "reaches"),
    [
        ("any", "/dags/a/x%2By", "/dags/a/x%2By"),
        ("any", "/dags/a/x+y", "/dags/a/x+y"),
        ("quoted", "/dags/a/x%2By", "/dags/a/x%2By"),
        ("quoted", "/dags/a/x+y", None),
        ("unquoted", "/dags/a/x%2By", "/dags/a/x%252By"),
        ("unquoted", "/dags/a/x+y", "/dags/a/x+y"),
    ],
)
def test_paths_are_taken_as_an_amazon_would_that_quotes_them_or_does_not(
    airflow: FakeAirflow, monkeypatch: pytest.MonkeyPatch, form: str, path: str, reaches: str | None
) -> None:
    monkeypatch.setenv("MWAA_LOCAL_REST_PATHS", form)
    status, body = RestApi(airflow.url, 3).call("GET", path, {}, None)
    assert (status, body.get("path")) == ((404, None) if reaches is None else (200, f"/api/v2{reaches}"))


def test_airflow_2_is_called_at_its_own_address(airflow: FakeAirflow) -> None:
    RestApi(airflow.url, 2).call("GET", "/dags", {}, None)
    assert set(airflow.paths) == {"/api/v1/dags"}


def test_an_airflow_that_is_down_is_a_server_error() -> None:
    status, body = RestApi("http://127.0.0.1:9", 3).call("GET", "/dags", {}, None)
    assert status == 503
    assert "does not answer" in body["detail"]


def test_airflow_is_healthy_only_when_every_part_is(airflow: FakeAirflow) -> None:
    rest = RestApi(airflow.url, 3)
    parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    airflow.health = {part: {"status": "healthy"} for part in parts}
    assert rest.healthy()
    airflow.health["dag_processor"] = None
    assert not rest.healthy()
