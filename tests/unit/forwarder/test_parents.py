"""DAG runs and their tasks: Marquez makes a run from a task's event when it does not know the DAG's own."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import at
from tests.fakes.lineage.events import write
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez

DAG_RUN = str(uuid.uuid4())


def dag(s3: FakeS3, seconds: float, kind: str, run: str = DAG_RUN, late: float = 0) -> str:
    event = {"eventType": kind, "run": {"runId": run}, "job": {"namespace": "n", "name": "dag"}}
    key = write(s3, at(seconds), event)
    s3.lineage.modified[key] += timedelta(seconds=late)
    return key


def task(s3: FakeS3, seconds: float, kind: str, name: str = "a") -> str:
    facet = {"run": {"runId": DAG_RUN}, "job": {"namespace": "n", "name": "dag"}}
    run = {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, name)), "facets": {"parent": facet}}
    job = {"namespace": "n", "name": f"dag.{name}"}
    return write(s3, at(seconds), {"eventType": kind, "run": run, "job": job})


def set_aside(s3: FakeS3) -> list[str]:
    return [key for key in s3.lineage.objects if key.startswith("set-aside/")]


def times(marquez: FakeMarquez) -> tuple[str, str | None, str | None]:
    run = marquez.known(DAG_RUN)
    return run.state, run.startedAt, run.endedAt


def z(seconds: float) -> str:
    return at(seconds).isoformat().replace("+00:00", "Z")


def test_a_task_waits_for_its_dags_start_that_is_on_its_way(s3: FakeS3, marquez: FakeMarquez) -> None:
    marquez.more_seconds = lambda event: 0.1 if event["job"]["name"] == "dag" else 0.3
    dag(s3, 1, "START")
    for number in range(4):
        task(s3, 1.1 + number / 10, "START", f"task{number}")
    forwarder(s3, marquez, seconds=60).once(1)
    assert times(marquez) == ("RUNNING", z(1), None)
    assert marquez.concurrency > 1
    assert len(marquez.posted) == 5


def test_tasks_of_one_dag_do_not_wait_for_each_other(s3: FakeS3, marquez: FakeMarquez) -> None:
    marquez.seconds = 0.05
    for number in range(8):
        task(s3, number / 10, "START", f"task{number}")
    forwarder(s3, marquez, seconds=60).once(1)
    assert marquez.concurrency > 4


@pytest.mark.parametrize("kind", ["START", "COMPLETE"])
def test_a_dags_start_that_comes_after_its_tasks_events_is_posted(
    s3: FakeS3, marquez: FakeMarquez, kind: str
) -> None:
    task(s3, 12, kind)
    forwarder(s3, marquez, seconds=40).once(1)
    dag(s3, 10, "START", late=35)
    forwarder(s3, marquez, seconds=46).once(1)
    assert times(marquez)[:2] == ("RUNNING", z(10))
    assert set_aside(s3) == []


@pytest.mark.parametrize("order", ["in order", "late"])
def test_a_dag_run_that_was_started_again_and_ended_has_its_last_times(
    s3: FakeS3, marquez: FakeMarquez, order: str
) -> None:
    if order == "in order":
        dag(s3, 5, "START")
    dag(s3, 20, "FAIL")
    dag(s3, 30, "START")
    dag(s3, 40, "COMPLETE")
    forwarder(s3, marquez, seconds=60).once(1)
    if order == "late":
        dag(s3, 5, "START", late=62)
        forwarder(s3, marquez, seconds=70).once(1)
    assert times(marquez) == ("COMPLETED", z(30), z(40))


def test_a_late_start_of_a_run_that_was_started_again_does_not_move_its_start(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    dag(s3, 30, "START")
    forwarder(s3, marquez, seconds=60).once(1)
    dag(s3, 5, "START", late=62)
    forwarder(s3, marquez, seconds=70).once(1)
    assert times(marquez) == ("RUNNING", z(30), None)
