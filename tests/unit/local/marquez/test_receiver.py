"""The receiver: takes what OpenLineage's own client writes, refuses what the spec forbids, forgets none."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import nominal_time_run, schema_dataset
from openlineage.client.serde import Serde
from starlette.testclient import TestClient

from lineage_log.http_server import Answer
from lineage_log.marquez_client import MarquezClient
from local.marquez.receiver import application
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import START
from tests.fakes.lineage.events import write
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez

RUN = "01939c5e-7e57-7000-8000-000000000001"


def event(kind: str = "COMPLETE", **changes: Any) -> dict[str, Any]:
    """An event as OpenLineage's own client writes it; a change to None leaves the key out."""
    written = RunEvent(
        eventType=RunState[kind],
        eventTime=datetime(2026, 11, 23, 10, tzinfo=UTC).isoformat(),
        run=Run(RUN, {"nominalTime": nominal_time_run.NominalTimeRunFacet("2026-11-23T10:00:00Z")}),
        job=Job("mwaa-blue", "etl.load"),
        producer="https://example.org/airflow",
        inputs=[InputDataset("s3://lake", "orders")],
        outputs=[
            OutputDataset(
                "s3://lake",
                "totals",
                facets={
                    "schema": schema_dataset.SchemaDatasetFacet(
                        [schema_dataset.SchemaDatasetFacetFields("a")]
                    )
                },
            )
        ],
    )
    text: dict[str, Any] = json.loads(Serde.to_json(written)) | changes
    return {key: value for key, value in text.items() if value is not None}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(application(tmp_path)) as client:
        yield client


def post(client: TestClient, sent: object) -> tuple[int, str]:
    answer = client.post("/api/v1/lineage", json=sent)
    return answer.status_code, answer.json()["message"] if answer.content else ""


def test_an_event_of_the_official_client_is_taken(client: TestClient) -> None:
    assert post(client, event()) == (201, "")
    assert client.get("/api/v1/namespaces").json() == {"namespaces": [{"name": "mwaa-blue"}]}


def test_a_packed_event_is_taken(client: TestClient) -> None:
    packed = gzip.compress(json.dumps(event()).encode())
    answer = client.post("/api/v1/lineage", content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"job": None}, "'job' is a required property"),
        ({"job": {"name": "x"}}, "job: 'namespace' is a required property"),
        ({"eventTime": None}, "'eventTime' is a required property"),
        ({"eventTime": "yesterday"}, "eventTime: 'yesterday' is not a 'date-time'"),
        ({"eventTime": "2026-11-23T10:00:00"}, "eventTime"),
        ({"eventType": "DONE"}, "eventType: 'DONE' is not one of"),
        ({"producer": "airflow"}, "producer: 'airflow' is not a 'uri'"),
        ({"schemaURL": None}, "'schemaURL' is a required property"),
        ({"run": {"runId": "7"}}, "run.runId: '7' is not a 'uuid'"),
        ({"run": {"runId": RUN, "facets": {"f": {"x": 1}}}}, "run.facets.f: '_producer' is a required"),
        ({"inputs": [{"namespace": "n"}]}, "inputs.0: 'name' is a required property"),
        ({"outputs": {}}, "outputs: {} is not of type 'array'"),
    ],
)
def test_what_the_spec_forbids_is_refused_with_its_place(
    client: TestClient, changes: dict[str, Any], where: str
) -> None:
    status, message = post(client, event(**changes))
    assert status == 422
    assert where in message
    assert client.get("/api/v1/events/lineage").json() == {"events": [], "totalCount": 0}


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe\x00", b""])
def test_what_is_not_json_is_refused(client: TestClient, body: bytes) -> None:
    assert client.post("/api/v1/lineage", content=body).status_code == 400


def test_what_is_not_gzip_is_refused(client: TestClient) -> None:
    answer = client.post("/api/v1/lineage", content=b"{}", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400


def test_json_that_is_no_object_is_refused(client: TestClient) -> None:
    assert post(client, [event()]) == (422, "the event is not a JSON object")


def test_events_without_a_run_are_taken(client: TestClient) -> None:
    assert post(client, event(run=None, eventType=None))[0] == 201
    dataset = event(run=None, job=None, dataset={"namespace": "s3://lake", "name": "orders"})
    assert post(client, dataset)[0] == 201
    names = [each["name"] for each in client.get("/api/v1/namespaces").json()["namespaces"]]
    assert names == ["mwaa-blue", "s3://lake"]


def test_the_latest_events_come_first(client: TestClient) -> None:
    for kind in ("START", "RUNNING", "COMPLETE"):
        post(client, event(kind))
    answer = client.get("/api/v1/events/lineage?limit=2").json()
    assert [each["eventType"] for each in answer["events"]] == ["COMPLETE", "RUNNING"]
    assert answer["totalCount"] == 3
    (first,) = client.get("/api/v1/events/lineage?limit=2&offset=2").json()["events"]
    assert first["eventType"] == "START"


@pytest.mark.parametrize("query", ["limit=many", "limit=-1", "offset=-1"])
def test_a_limit_that_is_none_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/api/v1/events/lineage?{query}").status_code == 400


def test_a_restarted_receiver_knows_what_it_knew(tmp_path: Path) -> None:
    with TestClient(application(tmp_path)) as before:
        post(before, event("START"))
        post(before, event("COMPLETE"))
        page = before.get("/").text
    with (tmp_path / "events.jsonl").open("a") as kept:
        kept.write('{"eventTime": "cut off by a cra')
    with TestClient(application(tmp_path)) as after:
        assert after.get("/").text == page
        assert post(after, event("FAIL", run={"runId": RUN.replace("1", "2")}))[0] == 201
    with TestClient(application(tmp_path)) as again:
        assert again.get("/api/v1/events/lineage").json()["totalCount"] == 3


def test_the_page_says_what_it_is_and_shows_the_jobs(client: TestClient) -> None:
    post(client, event(job={"namespace": "mwaa-blue", "name": "<script>"}))
    page = client.get("/").text
    assert "This is not Marquez" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "s3://lake/totals" in page


def test_a_run_is_answered_for_as_marquez_does(tmp_path: Path) -> None:
    """The forwarder asks for it when an event comes late."""
    started = event("START", eventTime="2026-11-23T11:00:00+01:00")
    with TestClient(application(tmp_path)) as before:
        assert before.get(f"/api/v1/jobs/runs/{RUN}").status_code == 404
        post(before, event("COMPLETE", eventTime="2026-11-23T10:05:00Z"))
        post(before, started)
        run = before.get(f"/api/v1/jobs/runs/{RUN}").json()
    assert run["state"] == "RUNNING", "the last write wins"
    assert run["startedAt"] == "2026-11-23T10:00:00Z"
    assert run["endedAt"] == "2026-11-23T10:05:00Z"
    with TestClient(application(tmp_path)) as after:
        assert after.get(f"/api/v1/jobs/runs/{RUN}").json() == run


def test_a_late_start_leaves_no_run_open(tmp_path: Path) -> None:
    """The forwarder itself, and the receiver as the server that it posts to."""
    s3 = FakeS3()
    with (
        TestClient(application(tmp_path)) as client,
        patch.object(MarquezClient, "_request", lambda _, *request: _answer(client, *request)),
    ):
        carrier = forwarder(s3, FakeMarquez(url="http://receiver"), seconds=60)
        write(s3, START + timedelta(seconds=20), event("COMPLETE", eventTime="2026-11-23T10:00:20Z"))
        carrier.once(1)
        assert client.get(f"/api/v1/jobs/runs/{RUN}").json()["state"] == "COMPLETED"
        write(s3, START + timedelta(seconds=10), event("START", eventTime="2026-11-23T10:00:10Z"))
        carrier.once(1)
        run = client.get(f"/api/v1/jobs/runs/{RUN}").json()
        assert client.get("/api/v1/events/lineage").json()["totalCount"] == 3
    assert (run["state"], run["startedAt"]) == ("COMPLETED", "2026-11-23T10:00:10Z")


def _answer(client: TestClient, method: str, path: str, body: bytes | None) -> Answer:
    answer = client.request(method, path, content=body)
    return Answer(answer.status_code, answer.text)
