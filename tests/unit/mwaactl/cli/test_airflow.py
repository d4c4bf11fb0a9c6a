"""`mwaactl airflow`: Airflow's own commands, through the web server of Amazon MWAA."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.fakes.aws.clients import BLUE, FakeClients
from tests.fakes.aws.mwaa import TOKEN
from tests.fakes.mwaactl.commands import Command


class Web:
    """A web server. `answers`: status and body by path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str, str]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                web.asked.append((self.path, str(self.headers["Authorization"]), body))
                status, answer = web.answers.get(self.path, (404, b"<html>"))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"


@pytest.fixture
def web(aws: FakeClients) -> Iterator[Web]:
    web = Web()
    aws.mwaa.environments[BLUE]["WebserverUrl"] = web.address
    thread = threading.Thread(target=web.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield web
    web.server.shutdown()
    thread.join()
    web.server.server_close()


def printed(out: str, err: str = "") -> bytes:
    parts = {"stdout": out, "stderr": err}
    return json.dumps({key: base64.b64encode(text.encode()).decode() for key, text in parts.items()}).encode()


def test_a_command_goes_there_as_it_was_typed_and_prints_what_it_printed(run: Command, web: Web) -> None:
    web.answers["/aws_mwaa/cli"] = 200, printed("daily\n", "a warning\n")
    result = run("airflow", "blue", "--", "dags", "trigger", "daily", "--conf", '{"a": "b c"}')
    assert (result.exit_code, result.stdout, result.stderr) == (0, "daily\n", "a warning\n")
    assert web.asked == [("/aws_mwaa/cli", f"Bearer {TOKEN}", 'dags trigger daily --conf \'{"a": "b c"}\'')]


def test_where_the_page_is_elsewhere_it_is_found(run: Command, web: Web) -> None:
    web.answers["/pluginsv2/aws_mwaa/cli"] = 200, printed("3.3.1\n")
    assert run("airflow", "blue", "--", "version").stdout == "3.3.1\n"


def test_a_command_that_fails_exits_1(run: Command, web: Web) -> None:
    web.answers["/aws_mwaa/cli"] = 400, printed("", "no such command\n")
    result = run("airflow", "blue", "--json", "--", "nonsense")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "environment": BLUE,
        "command": "nonsense",
        "ok": False,
        "stdout": "",
        "stderr": "no such command\n",
    }


@pytest.mark.parametrize(
    ("status", "body"), [(403, b'{"message": "Forbidden"}'), (502, b"<html>"), (200, b"[]"), (404, b"")]
)
def test_another_answer_is_an_error_that_shows_it(run: Command, web: Web, status: int, body: bytes) -> None:
    web.answers = dict.fromkeys(("/aws_mwaa/cli", "/pluginsv2/aws_mwaa/cli"), (status, body))
    result = run("airflow", "blue", "--", "version")
    assert result.exit_code == 4
    assert f"HTTP {status}" in result.stderr
    assert TOKEN not in result.output


def test_a_server_that_does_not_answer_may_be_private(run: Command, aws: FakeClients, web: Web) -> None:
    aws.mwaa.environments[BLUE]["WebserverUrl"] = "127.0.0.1:9"
    result = run("airflow", "blue", "--", "version")
    assert result.exit_code == 4
    assert "webserver_access" in result.stderr
