"""What a producer of lineage that posts to the intake sees, and what is then in the log."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from lineage_log.event import LARGEST, Event
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import START
from tests.fakes.lineage.intake import EVENT, ask


def test_an_event_is_in_the_log_once_it_is_acknowledged(s3: FakeS3) -> None:
    assert ask(s3, EVENT).status == 201
    ((key, packed),) = s3.lineage.objects.items()
    assert key.startswith("events/2026/11/23/10/20261123T100000.000000Z-")
    event = Event.parse(key, packed)
    assert json.loads(event.text) == EVENT
    assert packed == gzip.compress(json.dumps(EVENT).encode(), mtime=0)


def test_a_compressed_event_is_the_same_event(s3: FakeS3) -> None:
    assert ask(s3, EVENT).status == 201
    assert ask(s3, gzip.compress(json.dumps(EVENT).encode())).status == 201
    assert len(s3.lineage.objects) == 1, "an event that is posted again is there once"
    assert ask(s3, {**EVENT, "eventType": "COMPLETE"}).status == 201
    assert len(s3.lineage.objects) == 2


@pytest.mark.parametrize(
    "event",
    [
        {"eventTime": START.isoformat(), "job": {"namespace": "n", "name": "j"}},
        {"eventTime": START.isoformat(), "dataset": {"namespace": "n", "name": "d"}},
    ],
)
def test_events_of_jobs_and_datasets_have_no_run(s3: FakeS3, event: Mapping[str, Any]) -> None:
    assert ask(s3, event).status == 201


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"\x1f\x8bx", 400, "not a complete gzip file"),
        (b"[]", 400, "eventTime must be a time with a zone"),
        (gzip.compress(b" " * (LARGEST + 1)), 413, "larger than 8388608 bytes"),
        (b" " * (LARGEST + 1), 413, "larger than 8388608 bytes"),
        (b"\xef\xbb\xbf" + json.dumps(EVENT).encode(), 400, "BOM"),
        (gzip.compress(json.dumps(EVENT).encode("utf-8-sig")), 400, "BOM"),
        ({**EVENT, "x": float("nan")}, 400, "NaN is not JSON"),
        ({**EVENT, "x": [float("-inf")]}, 400, "-Infinity is not JSON"),
        (json.dumps({**EVENT, "x": 1}).replace("1}", "1" * 5000 + "}").encode(), 400, "not JSON"),
        ({**EVENT, "eventTime": "2026-11-23T10:00:00"}, 400, "a time with a zone"),
        ({**EVENT, "job": {"name": "j"}}, 422, "needs a namespace and a name"),
        ({**EVENT, "job": []}, 422, "needs a namespace and a name"),
        ({**EVENT, "run": {}}, 422, "needs a runId"),
        ({**EVENT, "run": "r"}, 422, "needs a runId"),
        ({**EVENT, "run": {"runId": ["r"]}}, 422, "needs a runId"),
        ({**EVENT, "run": {"runId": ""}}, 422, "needs a runId"),
        ({**EVENT, "run": {"runId": "r", "facets": 5}}, 422, "facets must be an object"),
        ({**EVENT, "eventTime": "0001-01-01T00:00:00+05:00"}, 400, "a time with a zone"),
        (json.dumps(EVENT).encode("utf-16"), 400, "utf-8"),
        ({**EVENT, "run": {"runId": "r", "facets": {"airflow": {}}}}, 403, "an event of an Airflow run"),
        (
            {**EVENT, "run": {"runId": "r", "facets": {"blueGreen_gate": {}}}},
            403,
            "an event of an Airflow run",
        ),
    ],
)
def test_what_marquez_would_refuse_for_good_is_refused_at_once(
    s3: FakeS3, body: Any, status: int, message: str
) -> None:
    answered = ask(s3, body)
    assert answered.status == status
    assert message in answered.message
    assert s3.lineage.objects == {}


@pytest.mark.parametrize(
    "error", [lambda: client_error("SlowDown", 503), lambda: EndpointConnectionError(endpoint_url="s3")]
)
def test_while_s3_is_away_the_producer_is_told_to_post_again(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    def refuse(**_: Any) -> None:
        raise error()  # one that outlived the test would hold the event in its traceback

    monkeypatch.setattr(s3, "put_object", refuse)
    answered = ask(s3, EVENT)
    assert (answered.status, answered.headers["Retry-After"]) == (503, "5")
    assert "post the event again" in answered.message


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthcheck", 200),
        ("POST", "/healthcheck", 404),
        ("GET", "/api/v1/lineage", 405),
        ("POST", "/", 404),
        ("POST", "/api/v1/lineage/../lineage", 404),
    ],
)
def test_it_takes_events_and_nothing_else(s3: FakeS3, method: str, path: str, status: int) -> None:
    assert ask(s3, EVENT, method, path).status == status
    assert s3.lineage.objects == {}
