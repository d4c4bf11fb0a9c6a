"""How often a call of InvokeRestApi goes out: each attempt counts towards the account's rate."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mwaactl.airflow import rest
from mwaactl.airflow.client import AirflowApi
from mwaactl.aws import Clients
from mwaactl.errors import Unreachable
from tests.fakes.airflow.api import a_run

Call = Callable[[AirflowApi], object]


class CountingPace(rest.Pace):
    """Lets all pass, and counts them."""

    passed = 0

    def wait(self) -> None:
        self.passed += 1

    def hold_off(self, seconds: float) -> None:
        """Not held off."""


@dataclass
class Amazon:
    """InvokeRestApi, which answers with `status` and `code`; status 0: it closes the connection."""

    api: AirflowApi
    pace: CountingPace
    status: int = 0
    code: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            there.asked.append(f"{request['Method']} {request['Path']}")
            if not there.status:
                self.close_connection = True
                return
            self.send_response(there.status)
            self.send_header("x-amzn-errortype", there.code)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL_MWAA": f"http://127.0.0.1:{server.server_address[1]}",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_ACCESS_KEY_ID": "AKID",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    pace = CountingPace()
    there = Amazon(AirflowApi(Clients("us-east-1").rest_api, "env", 3, pace), pace)
    yield there
    server.shutdown()
    server.server_close()


def reading(api: AirflowApi) -> object:
    return api.pools()


def listing(api: AirflowApi) -> object:
    return api.unfinished_runs()


def pausing(api: AirflowApi) -> None:
    api.set_paused("etl", True)


def creating(api: AirflowApi) -> None:
    api.create(a_run(), "why")


MOST, ONCE = len(rest.AGAIN_AFTER) + 1, 1


@pytest.mark.parametrize(
    ("call", "attempts"), [(reading, MOST), (listing, MOST), (pausing, MOST), (creating, ONCE)]
)
@pytest.mark.parametrize(("status", "code"), [(0, ""), (500, "InternalServerException"), (503, "")])
def test_a_call_without_an_answer_is_made_again_if_that_does_no_harm(
    amazon: Amazon, call: Call, attempts: int, status: int, code: str
) -> None:
    amazon.status, amazon.code = status, code
    with pytest.raises(Unreachable):
        call(amazon.api)
    assert len(amazon.asked) == amazon.pace.passed == attempts, "every attempt is within the rate"


@pytest.mark.parametrize("call", [reading, creating])
def test_every_attempt_of_a_throttled_call_is_within_the_rate(amazon: Amazon, call: Call) -> None:
    amazon.status, amazon.code = 429, "ThrottlingException"
    with pytest.raises(Unreachable, match="AWS is throttling the calls"):
        call(amazon.api)
    assert len(amazon.asked) == amazon.pace.passed == len(rest.PATIENCE) + 1


def test_a_call_that_was_never_sent_is_made_again(monkeypatch: pytest.MonkeyPatch, amazon: Amazon) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_MWAA", "http://127.0.0.1:9")
    api = AirflowApi(Clients("us-east-1").rest_api, "env", 3, amazon.pace)
    with pytest.raises(Unreachable, match="not reachable"):
        api.create(a_run(), "why")
    assert amazon.pace.passed == MOST


@pytest.mark.parametrize("status", [400, 403, 404])
def test_what_amazon_refuses_is_asked_once(amazon: Amazon, status: int) -> None:
    amazon.status, amazon.code = status, "AccessDeniedException"
    with pytest.raises(Unreachable):
        reading(amazon.api)
    assert len(amazon.asked) == ONCE
