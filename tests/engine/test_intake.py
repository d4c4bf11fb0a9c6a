"""OpenLineage's own client posts to the intake, a forwarder takes on what that writes to the log."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

from local.processes import LOOPBACK, answers, free_port
from tests.engine.deployment import LocalCloud
from tests.engine.forwarding import Bucket, Double, Node, temporary_bucket, wait


@pytest.fixture
def log(cloud: LocalCloud) -> Iterator[Bucket]:
    s3 = cloud.client("s3")
    with temporary_bucket(s3) as bucket:
        yield Bucket(s3, bucket)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(
    cloud: LocalCloud, log: Bucket, port: int, clean: ExitStack
) -> Callable[[], subprocess.Popen[bytes]]:
    def run() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "intake", "--bucket", log.bucket, "--port", str(port)]
        process = subprocess.Popen(command, env=dict(cloud.env))
        clean.callback(process.wait, 10)
        clean.callback(process.kill)
        wait(lambda: answers(f"http://{LOOPBACK}:{port}/healthcheck"), 20, "the intake answers")
        return process

    return run


def event(number: int, state: RunState) -> RunEvent:
    return RunEvent(
        eventTime=datetime.now(UTC).isoformat(),
        eventType=state,
        run=Run(runId=str(uuid.UUID(int=number + 1))),
        job=Job(namespace="spark", name=f"job-{number}"),
        producer="https://example.com/spark",
    )


def test_what_openlineages_client_was_told_is_in_marquez_whatever_is_killed(
    cloud: LocalCloud,
    log: Bucket,
    start: Callable[[], subprocess.Popen[bytes]],
    port: int,
    clean: ExitStack,
    tmp_path: Path,
) -> None:
    process, url = start(), f"http://{LOOPBACK}:{port}"
    client = OpenLineageClient(config={"transport": {"type": "http", "url": url, "retry": {"total": 0}}})
    acknowledged, refused = set[tuple[str, str]](), 0
    for number in range(40):
        for state in (RunState.START, RunState.COMPLETE):
            told = event(number, state)
            while (told.run.runId, state.value) not in acknowledged:
                try:
                    client.emit(told)
                except requests.RequestException:
                    refused += 1
                    process = start()  # systemd does so
                else:
                    acknowledged.add((told.run.runId, state.value))
            if number % 10 == 5 and state is RunState.START:
                process.kill()
                process.wait()
    assert refused >= 4
    marquez = Double.start(clean)
    Node.start(clean, cloud.env, tmp_path, log.bucket, marquez.url, 2)
    wait(lambda: len(marquez.raw()) >= len(acknowledged), 30, "Marquez knows all")
    assert {(post[1], post[0]) for post in marquez.posts()} == acknowledged
    assert set(marquez.state()["runs"].values()) == {"COMPLETED"}
    process.terminate()
    assert process.wait(10) == 0


def test_what_is_posted_again_is_left_as_it_is(
    log: Bucket, start: Callable[[], subprocess.Popen[bytes]], port: int
) -> None:
    start()
    client = OpenLineageClient(config={"transport": {"type": "http", "url": f"http://{LOOPBACK}:{port}"}})
    told = [event(number, RunState.START) for number in range(2)]
    told[1].eventTime = "2099-01-01T00:00:00Z"  # a wrong clock
    for each in told:
        client.emit(each)
    once = log.s3.list_objects_v2(Bucket=log.bucket)["Contents"]
    time.sleep(1.1)  # S3 has whole seconds
    for each in told:
        client.emit(each)
    assert log.s3.list_objects_v2(Bucket=log.bucket)["Contents"] == once
    assert sorted(entry["Size"] > 0 for entry in once) == [False, True, True]
