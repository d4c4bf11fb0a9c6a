"""What the local MWAA takes to CloudWatch: each line once, under the names that Amazon MWAA gives."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.airflow import shipping
from local.airflow.shipping import Shipping
from local.mwaa.rules import Json
from mwaactl.logs import Attempt
from tests.fakes.aws.errors import client_error

RUN = "dag_id=daily/run_id=scheduled__2026-11-23T09:00:00+00:00/task_id=load"
STREAM = "dag_id=daily/run_id=scheduled__2026-11-23T09_00_00+00_00/task_id=load/attempt=1.log"
ENVIRONMENT: Json = {
    "Name": "blue",
    "LoggingConfiguration": {
        "TaskLogs": {
            "Enabled": True,
            "CloudWatchLogGroupArn": "arn:aws:logs:r:1:log-group:airflow-blue-Task",
        },
        "SchedulerLogs": {
            "Enabled": True,
            "CloudWatchLogGroupArn": "arn:aws:logs:r:1:log-group:airflow-blue-Scheduler",
        },
        "WorkerLogs": {"Enabled": False},
    },
}


class NoStreamError(ClientError):
    """There is no such stream."""


class FakeWriter:
    """CloudWatch, which knows only streams that were created."""

    exceptions = SimpleNamespace(ResourceNotFoundException=NoStreamError)

    def __init__(self) -> None:
        self.streams: dict[str, list[Json]] = {}
        self.error: Exception | None = None

    def create_log_stream(self, *, logGroupName: str, logStreamName: str) -> None:  # noqa: N803
        assert not set(":*") & set(logStreamName)
        self.streams[f"{logGroupName} {logStreamName}"] = []

    def put_log_events(self, *, logGroupName: str, logStreamName: str, logEvents: list[Json]) -> None:  # noqa: N803
        if self.error is not None:
            raise self.error
        name = f"{logGroupName} {logStreamName}"
        if name not in self.streams:
            raise NoStreamError(client_error("ResourceNotFoundException").response, "PutLogEvents")
        times = [event["timestamp"] for event in logEvents]
        assert times == sorted(times), "the service refuses a batch that is not in order"
        assert all(event["message"] for event in logEvents), "and an empty message"
        assert 0 < len(logEvents) <= 10_000
        assert sum(len(event["message"].encode()) + 26 for event in logEvents) <= 1_048_576
        self.streams[name] += logEvents

    def messages(self, name: str) -> list[str]:
        return [event["message"] for event in self.streams.get(name, [])]


class World:
    """Files, and what has been shipped of them."""

    def __init__(self, root: Path) -> None:
        self.tasks, self.processes = root / "airflow" / "logs", root / "logs"
        self.processes.mkdir()
        self.file = self.tasks / RUN / "attempt=1.log"
        self.file.parent.mkdir(parents=True)
        self.writer, self.kept = FakeWriter(), dict[str, Any]()
        self.start()

    def start(self) -> None:
        self.shipping = Shipping(self.writer, self.kept, self.kept.update)

    def log(self, text: str, file: Path | None = None) -> None:
        with (file or self.file).open("a") as out:
            out.write(text)

    def ship(self) -> None:
        self.shipping.ship(ENVIRONMENT, self.tasks, self.processes)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(shipping, "SECONDS", 0)
    return World(tmp_path)


def line(text: str, second: int) -> str:
    return json.dumps({"timestamp": f"2026-11-23T09:00:0{second}Z", "level": "info", "event": text}) + "\n"


def test_a_try_of_a_task_is_a_stream_with_the_name_that_mwaactl_understands(world: World) -> None:
    world.log(line("one", 1) + line("two", 2))
    world.ship()
    events = world.writer.streams[f"airflow-blue-Task {STREAM}"]
    assert [json.loads(event["message"]) for event in events] == [
        {"level": "info", "event": "one"},
        {"level": "info", "event": "two"},
    ]
    assert events[1]["timestamp"] - events[0]["timestamp"] == 1000
    attempt = Attempt.of(STREAM)
    assert attempt is not None
    assert (attempt.dag_id, attempt.task_id, attempt.attempt) == ("daily", "load", 1)


def test_each_line_is_shipped_once_when_it_is_whole_also_after_a_restart(world: World) -> None:
    name = f"airflow-blue-Task {STREAM}"
    world.log(line("one", 1) + line("two", 2)[:20])
    world.ship()
    assert len(world.writer.messages(name)) == 1
    world.log(line("two", 2)[20:])
    world.start()
    world.ship()
    world.ship()
    assert [json.loads(text)["event"] for text in world.writer.messages(name)] == ["one", "two"]


def test_lines_without_a_time_belong_to_the_event_before(world: World) -> None:
    world.log("[2026-11-23T09:00:02.000+0000] {a.py:1} ERROR - b\nTraceback\n")
    world.log("[2026-11-23T09:00:01.000+0000] {a.py:1} INFO - a\n{not json}\n")
    world.ship()
    assert world.writer.messages(f"airflow-blue-Task {STREAM}") == [
        "[2026-11-23T09:00:01.000+0000] {a.py:1} INFO - a\n{not json}",
        "[2026-11-23T09:00:02.000+0000] {a.py:1} ERROR - b\nTraceback",
    ]


def test_whatever_a_task_prints_and_whatever_vanishes_the_rest_is_shipped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = shipping.Source(world.file.with_name("gone.log"), "TaskLogs", "gone")
    found = shipping.sources
    monkeypatch.setattr(shipping, "sources", lambda *places: [gone, *found(*places)])
    world.log("[2026-99-28T09:00:02.000+0000] no time\n" + line("two", 2))
    world.ship()
    shipped = "".join(world.writer.messages(f"airflow-blue-Task {STREAM}"))
    assert ("no time" in shipped, "two" in shipped) == (True, True)


def test_a_long_log_is_shipped_in_portions_that_the_service_takes(world: World) -> None:
    world.log("".join(line(f"{n} {'x' * 90}", n % 10) for n in range(12_000)))
    world.ship()
    assert len(world.writer.messages(f"airflow-blue-Task {STREAM}")) == 12_000


def test_processes_have_streams_too_unless_their_log_is_off(world: World) -> None:
    world.log("  ____\n", world.processes / "airflow-blue-scheduler.log")
    world.log("2026-11-23T09:00:01.5Z [info] beating\n", world.processes / "airflow-blue-scheduler.log")
    world.log("2026-11-23 09:00:02.5+00:00 [info] resting\n", world.processes / "airflow-blue-scheduler.log")
    world.log("working\n", world.processes / "airflow-blue-worker.log")
    world.log("another\n", world.processes / "airflow-green-scheduler.log")
    world.ship()
    assert list(world.writer.streams) == ["airflow-blue-Scheduler scheduler_local.log"]
    assert set(world.writer.messages("airflow-blue-Scheduler scheduler_local.log")) == {
        "  ____",
        "2026-11-23T09:00:01.5Z [info] beating",
        "2026-11-23 09:00:02.5+00:00 [info] resting",
    }


def test_what_could_not_be_shipped_is_shipped_later(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.log(line("one", 1))
    world.writer.error = client_error("AccessDeniedException", 403)
    world.ship()
    world.ship()
    assert caplog.text.count("its logs do not reach CloudWatch") == 1
    world.writer.error = None
    world.ship()
    assert len(world.writer.messages(f"airflow-blue-Task {STREAM}")) == 1
