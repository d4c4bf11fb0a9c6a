"""The lineage log as a witness: it names what was certainly completed, and says when it knows nothing."""

from __future__ import annotations

from typing import Any, cast

import pytest

from mwaactl.aws import Clients
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.recovery.completed_by_lineage import LineageLog
from mwaactl.stack import parse
from tests.fakes.aws.clients import FakeClients, deployment, outputs
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import minutes
from tests.fakes.lineage.events import BLUE, dag_run, log_complete, log_dag, log_task, run_id, write

DUE, END = minutes(10), minutes(12)
OLD = {"run_after": None}  # Airflow 2 has no such field


@pytest.fixture
def s3(aws: FakeClients) -> FakeS3:
    aws.s3 = FakeS3(page_size=3)
    return aws.s3


def witness(aws: FakeClients, **more: Any) -> LineageLog:
    return LineageLog(deployment(aws, "fullha"), "blue", **more)


def known(aws: FakeClients) -> set[tuple[str, Any]]:
    completed = witness(aws).completed(minutes(5), minutes(30))
    assert set(completed.values()) <= {True}, "it never says that a run was not completed"
    return set(completed)


def test_a_run_that_succeeded_is_known(aws: FakeClients, s3: FakeS3) -> None:
    log_dag(s3, "START", "etl", DUE, at=minutes(11))
    log_complete(s3, "etl", DUE, at=END)
    assert known(aws) == {("etl", DUE)}


@pytest.mark.parametrize("kind", ["FAIL", "ABORT", "COMPLETE", "START"])
def test_an_event_without_airflows_facets_is_no_evidence(aws: FakeClients, s3: FakeS3, kind: str) -> None:
    """Anybody in the VPC may post one to the intake, with an id that Marquez shows."""
    log_complete(s3, "etl", DUE, at=END)
    lineage_id = run_id("etl", DUE)
    write(
        s3,
        minutes(14),
        {"eventType": kind, "run": {"runId": lineage_id}, "job": {"namespace": BLUE, "name": "etl"}},
    )
    assert known(aws) == {("etl", DUE)}


def test_a_run_of_airflow_2_is_due_at_the_end_of_its_interval(aws: FakeClients, s3: FakeS3) -> None:
    log_complete(s3, "etl", DUE, at=END, run=dag_run("etl", DUE, **OLD))
    assert known(aws) == {("etl", DUE)}


def test_the_old_provider_says_at_the_start_which_run_it_is(aws: FakeClients, s3: FakeS3) -> None:
    log_dag(s3, "START", "etl", DUE, at=minutes(11), run=dag_run("etl", DUE, **OLD))
    log_complete(s3, "etl", DUE, at=END, run={})
    assert known(aws) == {("etl", DUE)}


def test_the_old_provider_says_with_each_task_which_run_it_is(aws: FakeClients, s3: FakeS3) -> None:
    log_complete(s3, "etl", DUE, at=END, run={})
    log_task(s3, "COMPLETE", "etl", DUE, at=minutes(11), **OLD)
    assert known(aws) == {("etl", DUE)}


def test_a_completion_that_no_event_ties_to_a_run_is_not_known(aws: FakeClients, s3: FakeS3) -> None:
    log_complete(s3, "etl", DUE, at=END, run={})
    log_task(s3, "COMPLETE", "etl", minutes(11), at=minutes(12), **OLD)
    assert known(aws) == set()


def test_a_run_whose_tasks_completed_is_not_completed_itself(aws: FakeClients, s3: FakeS3) -> None:
    log_dag(s3, "START", "etl", DUE, at=minutes(11))
    log_task(s3, "COMPLETE", "etl", DUE, at=END)
    assert known(aws) == set()


@pytest.mark.parametrize(
    "more",
    [
        {"state": "failed"},
        {"states": {"a": "skipped", "b": "skipped"}},
        {"states": {}},
        {"states": None},
        {"run": dag_run("etl", DUE, run_type="manual")},
        {"run": dag_run("etl", DUE, run_type="backfill")},
        {"run": dag_run("etl", DUE, run_after="soon")},
        {"run": dag_run("etl", DUE, run_after="2026-11-23T10:10:00")},
        {"run": dag_run("etl", DUE, run_after=7)},
        {"run": dag_run("etl", DUE) | {"dag_id": None}},
        {"namespace": "mwaa-openlineage-fullha-green"},
    ],
)
def test_anything_less_than_a_scheduled_run_that_succeeded_there_is_not_known(
    aws: FakeClients, s3: FakeS3, more: dict[str, Any]
) -> None:
    log_complete(s3, "other", DUE, at=END)
    log_complete(s3, "etl", DUE, at=END, **more)
    assert known(aws) == {("other", DUE)}


@pytest.mark.parametrize("old_provider", [False, True])
@pytest.mark.parametrize("undone", ["dag", "task", "failed", "same instant"])
def test_a_run_that_was_cleared_or_failed_afterwards_is_not_known(
    aws: FakeClients, s3: FakeS3, undone: str, old_provider: bool
) -> None:
    run = dag_run("etl", DUE, **OLD) if old_provider else dag_run("etl", DUE)
    log_dag(s3, "START", "etl", DUE, at=minutes(11), run=run)
    log_complete(s3, "etl", DUE, at=END, run={} if old_provider else run)
    if undone == "task":
        log_task(s3, "START", "etl", DUE, at=minutes(14))
    elif undone == "failed":
        log_dag(
            s3, "FAIL", "etl", DUE, at=minutes(14), run={} if old_provider else run, states={"a": "failed"}
        )
    else:
        log_dag(s3, "START", "etl", DUE, at=minutes(14) if undone == "dag" else END, run=run)
    assert known(aws) == set()
    log_complete(s3, "etl", DUE, at=minutes(15), run={} if old_provider else run)
    assert known(aws) == {("etl", DUE)}


def test_a_task_that_ends_after_its_run_by_another_machines_clock_undoes_nothing(
    aws: FakeClients, s3: FakeS3
) -> None:
    log_complete(s3, "etl", DUE, at=END)
    log_task(s3, "COMPLETE", "etl", DUE, at=minutes(12.001))
    assert known(aws) == {("etl", DUE)}


def test_only_runs_of_the_window_are_reported(aws: FakeClients, s3: FakeS3) -> None:
    for minute in (4, 5, 29, 30):
        log_complete(s3, "etl", minutes(minute), at=minutes(40))
    assert known(aws) == {("etl", minutes(5)), ("etl", minutes(29))}


def test_other_producers_events_are_ignored(aws: FakeClients, s3: FakeS3) -> None:
    log_complete(s3, "etl", DUE, at=END)
    job = {"namespace": "mwaa-openlineage-fullha-blue", "name": "spark"}
    write(s3, END, {"eventType": "COMPLETE", "run": {"runId": "7", "facets": []}, "job": job})
    write(s3, END, {"eventType": "COMPLETE", "run": {"runId": 7}, "job": job})
    write(s3, END, {"dataset": {"namespace": "s3://lake", "name": "x"}})
    assert known(aws) == {("etl", DUE)}


def test_in_a_shared_namespace_both_environments_events_count(aws: FakeClients, s3: FakeS3) -> None:
    shared = outputs("fullha")
    for environment in shared["airflow_environments"].values():
        environment["lineage_namespace"] = "shared"
    log_complete(s3, "etl", DUE, at=END, namespace="shared")
    asked = LineageLog(Deployment(parse(shared), cast(Clients, aws)), "green")
    assert asked.completed(minutes(5), minutes(30)) == {("etl", DUE): True}


def test_an_event_is_read_once_and_a_late_one_is_found(aws: FakeClients, s3: FakeS3) -> None:
    reported: list[tuple[int, int]] = []
    asked = witness(aws, progress=lambda read, total: reported.append((read, total)))
    for minute in range(6, 16):
        log_dag(s3, "START", "etl", minutes(minute), at=minutes(minute))
    assert asked.completed(minutes(5), minutes(30)) == {}
    assert reported == [(10, 10)]
    log_complete(s3, "etl", DUE, at=minutes(11.5))
    assert asked.completed(minutes(5), minutes(30)) == {("etl", DUE): True}
    assert reported == [(10, 10), (1, 1)]


def test_a_log_without_an_event_of_the_environment_knows_nothing(aws: FakeClients, s3: FakeS3) -> None:
    log_complete(s3, "etl", DUE, at=END, namespace="mwaa-openlineage-fullha-green")
    log_complete(s3, "etl", minutes(1), at=minutes(2))
    with pytest.raises(Unreachable, match="no event of mwaa-openlineage-fullha-blue's runs since"):
        known(aws)


@pytest.mark.parametrize("content", [b"\x1f\x8bcut off", b"{", None])
def test_a_log_with_an_event_that_cannot_be_read_knows_nothing(
    aws: FakeClients, s3: FakeS3, content: bytes | None
) -> None:
    log_complete(s3, "etl", DUE, at=END)
    key = log_dag(s3, "START", "etl", DUE, at=minutes(14))
    if content is None:
        aws.s3 = VanishingObject(s3, key)
    else:
        s3.lineage.objects[key] = content
    with pytest.raises(Unreachable, match=f"{key} cannot be read"):
        known(aws)


class VanishingObject(FakeS3):
    """An S3 from which an object is removed after it was listed."""

    def __init__(self, s3: FakeS3, key: str) -> None:
        super().__init__(page_size=s3.page_size)
        self.buckets, self._key = s3.buckets, key

    def get_object(self, **request: Any) -> dict[str, Any]:
        if request["Key"] == self._key:
            self.lineage.remove(self._key)
        return super().get_object(**request)


@pytest.mark.parametrize(
    ("operation", "code"), [("list_objects_v2", "NoSuchBucket"), ("get_object", "AccessDenied")]
)
def test_a_bucket_that_refuses_is_reported(
    aws: FakeClients, s3: FakeS3, monkeypatch: pytest.MonkeyPatch, operation: str, code: str
) -> None:
    def refuses(**_: str) -> None:
        raise client_error(code, operation=operation)

    log_complete(s3, "etl", DUE, at=END)
    monkeypatch.setattr(s3, operation, refuses)
    with pytest.raises(
        Unreachable, match="could not read the lineage log s3://mwaa-openlineage-fullha-lineage"
    ):
        known(aws)
