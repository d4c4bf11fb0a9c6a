"""The Marquez double behaves as Marquez 0.51.1 was measured to behave."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.marquez.double import Double, Faults, Marquez, run_uuid
from local.processes import LOOPBACK, free_port

TEN = "2026-11-23T10:00:00.123456Z"


def event(kind: str = "START", **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "eventType": kind,
        "eventTime": "2026-11-23T11:00:00.123456+01:00",
        "run": {"runId": "r"},
        "job": {"namespace": "n", "name": "j"},
    }
    return base | changes


@dataclass(frozen=True)
class Ports:
    api: int
    admin: int

    def ask(
        self, port: int, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=0.5)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def post(self, event: dict[str, Any]) -> int:
        return self.ask(self.api, "POST", "/api/v1/lineage", json.dumps(event).encode())[0]

    def faults(self, **faults: Any) -> int:
        return self.ask(self.admin, "PUT", "/faults", json.dumps(faults).encode())[0]

    def state(self) -> Any:
        return self.ask(self.admin, "GET", "/state")[1]


@pytest.fixture
def double() -> Iterator[Ports]:
    ports = Ports(free_port(), free_port())
    loop, ended = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        await Double(ports.api, ports.admin, Faults()).serve(ended)
        await asyncio.sleep(0.05)  # the connections end

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    deadline = time.monotonic() + 10
    while True:
        try:
            ports.state()
            break
        except OSError:
            assert time.monotonic() < deadline
    yield ports
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)
    loop.close()


def test_a_good_event_is_created_plain_or_packed(double: Ports) -> None:
    assert double.post(event()) == 201
    packed = gzip.compress(json.dumps(event("COMPLETE")).encode())
    path = "/api/v1/lineage"
    assert double.ask(double.api, "POST", path, packed, **{"Content-Encoding": "gzip"})[0] == 201
    assert double.state()["runs"] == {run_uuid("r"): "COMPLETED"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"job": None}, 422), ({"job": {"namespace": "n"}}, 422), ({"eventTime": "yesterday"}, 500)],
)
def test_bad_events_are_answered_as_measured(changes: dict[str, Any], status: int) -> None:
    marquez = Marquez()
    assert marquez.take(event(**changes), "") == status
    assert marquez.runs == {}


def test_the_last_write_wins_whatever_its_time() -> None:
    marquez = Marquez()
    for kind in ("COMPLETE", "START"):
        marquez.take(event(kind), "")
    assert marquez.runs[run_uuid("r")].state == "RUNNING"


@pytest.mark.parametrize("kind", ["START", "RUNNING", "OTHER", "start", "unheard of"])
def test_whatever_ends_no_run_starts_it(kind: str) -> None:
    marquez = Marquez()
    for end in ("COMPLETE", kind):
        marquez.take(event(end), "")
    run = marquez.runs[run_uuid("r")]
    assert (run.state, run.startedAt, run.endedAt) == ("RUNNING", TEN, TEN)


def test_an_event_without_a_kind_is_half_written() -> None:
    marquez = Marquez()
    untyped = event()
    del untyped["eventType"]
    assert marquez.take(untyped, "") == 500
    assert marquez.runs[run_uuid("r")].state == "NEW"


@pytest.mark.parametrize(
    ("text", "known_as"),
    [
        ("hello", "5d41402a-bc4b-3a76-b971-9d911017c592"),
        ("ä", "8419b71c-87a2-35a2-870b-50486fbee545"),
        ("1-2-3-4-ffffffffffffffff", "ba4c6582-7bbd-3434-896c-6f2ed24fe95b"),
        ("1-2-3-4-5", "00000001-0002-0003-0004-000000000005"),
        ("D8F4AAF9-7E5D-42C4-A2B1-0C595C12B56C", "d8f4aaf9-7e5d-42c4-a2b1-0c595c12b56c"),
    ],
)
def test_a_run_is_known_by_its_uuid_and_what_is_none_is_hashed(text: str, known_as: str) -> None:
    marquez = Marquez()
    marquez.take(event(run={"runId": text}), "")
    assert [*marquez.runs] == [known_as]
    assert marquez.query(f"/api/v1/jobs/runs/{known_as}", {})[0] == 200
    assert marquez.query("/api/v1/jobs/runs/hello", {})[0] == 404


def child(kind: str, parent: str) -> dict[str, Any]:
    facet = {"run": {"runId": parent}, "job": {"namespace": "p", "name": "dag"}}
    return event(kind, run={"runId": "child", "facets": {"parent": facet}})


@pytest.mark.parametrize(
    ("kind", "expected"), [("START", ("RUNNING", TEN, None)), ("COMPLETE", ("COMPLETED", None, TEN))]
)
def test_a_child_makes_the_parent_that_is_not_there_yet(kind: str, expected: tuple[str | None, ...]) -> None:
    marquez, parent = Marquez(), str(uuid.uuid4())
    marquez.take(child(kind, parent), "")
    run = marquez.runs[parent]
    assert (run.state, run.startedAt, run.endedAt) == expected
    marquez.take(event("START", eventTime="2026-11-23T09:00:00Z", run={"runId": parent}), "")
    marquez.take(child("COMPLETE", parent), "")
    assert (run.state, run.startedAt) == ("RUNNING", "2026-11-23T09:00:00Z"), "a known one is left alone"


def test_a_parent_that_was_unknown_when_the_childs_post_began_gets_its_time() -> None:
    marquez, parent = Marquez(), str(uuid.uuid4())
    racing = marquez.unknown_parent(child("START", parent))
    marquez.take(event("START", eventTime="2026-11-23T09:00:00Z", run={"runId": parent}), "")
    marquez.take(child("START", parent), "", racing)
    assert marquez.runs[parent].startedAt == TEN


def test_a_parent_that_is_no_uuid_is_hashed_with_its_job() -> None:
    marquez = Marquez()
    marquez.take(child("START", "mydagrun"), "")
    assert "c98c87b9-3e1a-3659-b858-4ff597c2af91" in marquez.runs


def test_a_duplicate_adds_a_raw_event_and_no_run() -> None:
    marquez = Marquez()
    for _ in range(2):
        marquez.take(event(), "")
    assert (len(marquez.raw), len(marquez.runs)) == (2, 1)


def test_runs_are_returned_as_marquez_returns_them() -> None:
    marquez = Marquez()
    marquez.take(event("START", run={"runId": "r", "facets": {"nominalTime": {"x": 1}}}), "")
    marquez.take(event("FAIL"), "")
    status, run = marquez.query(f"/api/v1/jobs/runs/{run_uuid('r')}", {})
    assert status == 200
    assert (run["state"], run["endedAt"]) == ("FAILED", "2026-11-23T10:00:00.123456Z")
    assert run["nominalStartTime"] is None
    assert run["facets"] == {"nominalTime": {"x": 1}}
    assert marquez.query("/api/v1/namespaces/n/jobs/j/runs", {"limit": ["1"]})[1]["runs"] == [run]
    assert marquez.query("/api/v1/namespaces/n/jobs/unknown/runs", {})[0] == 404
    assert marquez.query("/api/v1/jobs/runs/unknown", {})[0] == 404


def test_a_server_that_refuses_is_not_there_and_comes_back(double: Ports) -> None:
    double.faults(kind="refuse")
    with pytest.raises(ConnectionError):
        double.post(event())
    double.faults()
    assert double.post(event()) == 201


def test_a_server_that_hangs_answers_nothing_and_has_written_nothing(double: Ports) -> None:
    double.faults(kind="hang")
    with pytest.raises(TimeoutError):
        double.post(event())
    double.faults()
    assert double.state()["raw"] == 0


def test_what_is_stuck_is_written_when_the_trouble_ends(double: Ports) -> None:
    double.faults(kind="stuck")
    with pytest.raises(TimeoutError):
        double.post(event())
    with pytest.raises(TimeoutError):
        double.ask(double.api, "GET", "/api/v1/namespaces")
    assert double.state()["raw"] == 0
    double.faults()
    assert double.state()["raw"] == 1


@pytest.mark.parametrize(("kind", "written"), [("fail", 0), ("half", 1), ("read-only", 0)])
def test_a_failing_server_answers_500(double: Ports, kind: str, written: int) -> None:
    double.faults(kind=kind)
    assert double.post(event()) == 500
    assert double.state()["raw"] == written


def test_neither_queries_nor_the_health_port_see_a_read_only_database(double: Ports) -> None:
    double.faults(kind="read-only")
    assert double.ask(double.admin, "GET", "/healthcheck")[0] == 200
    assert double.ask(double.api, "GET", "/api/v1/namespaces")[0] == 200
    double.faults(kind="fail")
    assert double.ask(double.admin, "GET", "/healthcheck")[0] == 500
    assert double.ask(double.admin, "GET", "/ping")[0] == 200


def test_the_share_of_posts_that_fail_can_be_set(double: Ports) -> None:
    double.faults(kind="fail", share=0.5)
    statuses = [double.post(event()) for _ in range(60)]
    assert 10 < statuses.count(500) < 50
    assert set(statuses) == {201, 500}


def test_a_fault_can_hit_each_post_once(double: Ports) -> None:
    double.faults(kind="fail", once=True)
    assert [double.post(event(kind)) for kind in ("START", "START", "FAIL")] == [500, 201, 500]


def test_an_unknown_fault_is_refused(double: Ports) -> None:
    assert double.faults(kind="fire") == 400
