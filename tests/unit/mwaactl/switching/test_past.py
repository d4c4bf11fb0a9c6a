"""A DAG that moves finds on the target what failed on the source; mirrors follow what happens there later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mwaactl.airflow import notes
from mwaactl.errors import CheckFailed
from mwaactl.switching.drain import DrainProgress, wait_until_drained
from mwaactl.switching.mirrors import TRIES
from mwaactl.switching.write import carry_out, dry_run
from tests.fakes.airflow.model import Dag, Run
from tests.fakes.aws.clients import FakeClients, clients_of_models, deployment, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import minutes, stop_time
from tests.fakes.mwaactl.switches import planned, switched

CHAIN = {"first": ("second",), "second": ()}
FAILED = {"first": "success", "second": "failed"}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """Two model Airflows with the DAGs `past` (depends_on_past) and `plain`."""
    clients = clients_of_models(
        {
            "past": Dag(CHAIN, past=True, next_due=minutes(60)),
            "plain": Dag(CHAIN, next_due=minutes(60)),
        }
    )
    stop_time(monkeypatch, clients.ssm.clock)
    return clients


def ran(aws: FakeClients, dag_id: str, minute: float, state: str = "success") -> Run:
    """A run that blue executed, and that green skipped."""
    states = FAILED if state == "failed" else dict.fromkeys(CHAIN, state)
    aws.green.mirror(dag_id, minutes(minute))
    return aws.blue.add(dag_id, minutes(minute), states, state=state)


def state(aws: FakeClients, dag_id: str, minute: float) -> tuple[str, str | None]:
    """A mirror on green: the state of the run, and of its last task."""
    run = aws.green.scheduled(dag_id, minutes(minute))
    return run.state, run.tasks["second", -1].state


def waited(aws: FakeClients, target: Any = "green", **more: Any) -> DrainProgress:
    return wait_until_drained(deployment(aws), target, **{"timeout": 600, **more})


def at_the_write(aws: FakeClients, look: Callable[[], Any]) -> list[Any]:
    """What `look` returns at each write of the ownership."""
    seen: list[Any] = []
    put = aws.ssm.put_parameter

    def watched(**request: Any) -> Any:
        if request["Name"] == OWNERSHIP:
            seen.append(look())
        return put(**request)

    aws.ssm.put_parameter = watched  # type: ignore[method-assign]
    return seen


# --- before a DAG moves ---


@pytest.mark.parametrize("dag_id", ["past", "plain"])
def test_a_failed_run_is_shown_before_the_switch_is_written(models: FakeClients, dag_id: str) -> None:
    """Also of a DAG that only looks at `prev_data_interval_end_success`, which nothing tells."""
    ran(models, dag_id, -120)
    ran(models, dag_id, -60, "failed")
    seen = at_the_write(models, lambda: state(models, dag_id, -60))
    assert switched(models).held == ()
    assert seen == [("failed", "failed")]
    assert state(models, dag_id, -120) == ("success", "skipped"), "it may wait for the drain"


def test_all_failures_since_the_last_success_are_shown_however_old(models: FakeClients) -> None:
    week = 7 * 24 * 60
    ran(models, "past", -3 * week, "failed")
    ran(models, "past", -2.5 * week)
    ran(models, "past", -2 * week, "failed")
    ran(models, "past", -week, "failed")
    seen = at_the_write(models, lambda: [state(models, "past", -weeks * week)[0] for weeks in (1, 2, 3)])
    switched(models)
    assert seen == [["failed", "failed", "success"]]


def test_a_dag_that_depends_on_a_failure_which_cannot_be_shown_stays_until_that_is_cleared(
    models: FakeClients,
) -> None:
    for dag_id in ("past", "plain"):
        models.blue.add(dag_id, minutes(-60), FAILED, state="failed")  # green is newer than that
    (held,) = switched(models).held
    assert held.dag_id == "past"
    assert held.reason.startswith("its run due 2026-11-23T09:00:00.000Z failed, and ")
    assert "has no run for it): clear it here, or mark it as successful" in held.reason
    assert not waited(models, timeout=60).drained
    models.blue.end(models.blue.scheduled("past", minutes(-60)), "success")
    done = waited(models)
    assert done.finished
    assert set(done.moved) == {"past"}


def test_a_failure_that_is_cleared_during_the_switch_holds_its_dag_no_more(models: FakeClients) -> None:
    models.blue.add("past", minutes(-60), FAILED, state="failed")  # green has no run that could show it
    made = planned(models)
    asked = []

    def clear(method: str, path: str) -> None:
        asked.append(path)
        if path == "/dags/~/dagRuns/list":
            models.blue.end(models.blue.scheduled("past", minutes(-60)), "success")

    models.green.before = clear
    assert carry_out(made).held == ()
    assert "/dags/~/dagRuns/list" in asked


def test_a_dag_moves_once_a_late_mirror_shows_its_failure(models: FakeClients) -> None:
    run = ran(models, "past", -60, "failed")
    models.green.scheduled("past", minutes(-60)).state = "running"
    assert len(switched(models).held) == 1
    assert not waited(models, timeout=10).finished

    def appears(progress: DrainProgress) -> None:
        if progress.held and models.green.scheduled("past", minutes(-60)).state == "running":
            models.green.scheduled("past", minutes(-60)).state = "success"

    done = waited(models, on_change=appears)
    assert (done.finished, set(done.moved), run.state) == (True, {"past"}, "failed")
    assert done.seconds < 60
    assert state(models, "past", -60) == ("failed", "failed")


def test_a_held_dag_whose_run_fails_moves_with_its_failure(models: FakeClients) -> None:
    run = ran(models, "past", -1, "running")
    assert len(switched(models).held) == 1
    seen = at_the_write(models, lambda: state(models, "past", -1))

    def fail(progress: DrainProgress) -> None:
        if progress.seconds >= 0 and run.state == "running":
            models.blue.end(run, "failed")

    done = waited(models, on_change=fail)
    assert (done.finished, set(done.moved)) == (True, {"past"})
    assert seen[0] == ("failed", "failed")


def test_what_fails_while_the_operator_thinks_is_shown_too(models: FakeClients) -> None:
    run = ran(models, "plain", -1, "running")
    made = planned(models)
    models.blue.end(run, "failed")
    seen = at_the_write(models, lambda: state(models, "plain", -1)[0])
    carry_out(made)
    assert seen == ["failed"]


def test_a_dry_run_shows_nothing(models: FakeClients) -> None:
    ran(models, "past", -60, "failed")
    assert dry_run(planned(models)).changed
    assert models.green.changes == 0


def test_a_target_that_falls_silent_stops_the_switch(models: FakeClients) -> None:
    ran(models, "past", -60, "failed")
    made = planned(models)
    models.green.silence()
    with pytest.raises(CheckFailed):
        carry_out(made)
    assert len(models.ssm.stored[OWNERSHIP]) == 1


# --- afterwards ---


def test_a_failure_that_is_cleared_on_the_source_and_succeeds_is_copied_again(models: FakeClients) -> None:
    run = ran(models, "plain", -60, "failed")
    long = ran(models, "past", -1, "running")
    switched(models)
    assert state(models, "plain", -60)[0] == "failed"
    models.ssm.clock.forward(10)
    models.blue.end(run, "success")
    models.ssm.clock.forward(1)
    models.blue.end(long, "success")
    assert waited(models).finished
    assert state(models, "plain", -60) == ("success", "success")


def test_a_mirror_that_was_cleared_on_the_target_keeps_what_it_executed(models: FakeClients) -> None:
    ran(models, "plain", -60, "failed")
    switched(models)
    mirror = models.green.scheduled("plain", minutes(-60))
    models.green._clear(mirror, mirror.tasks)
    models.ssm.clock.forward(10)
    models.green.work()
    assert waited(models).finished
    assert state(models, "plain", -60) == ("success", "success")
    assert mirror.note is not None
    assert notes.copied_note("blue") == mirror.note


def test_a_failure_that_cannot_be_shown_holds_its_dag_after_a_few_attempts(models: FakeClients) -> None:
    ran(models, "past", -60, "failed")
    attempts = []

    def before(method: str, path: str) -> None:
        if method == "PATCH":
            attempts.append(path)
            raise client_error("RestApiServerException", 400, RestApiStatusCode=504)

    models.green.before = before
    switched(models)
    attempts.clear()
    done = waited(models, timeout=600)
    assert [dag.dag_id for dag in done.held] == ["past"]
    assert "not possible, tried 3 times: " in done.held[0].reason
    assert len(attempts) == TRIES


@pytest.mark.parametrize("broken", ["plain", "past"])
def test_a_mirror_that_airflow_cannot_set_is_given_up_after_some_attempts(
    models: FakeClients, broken: str
) -> None:
    """Its call loops until it times out, every time."""
    for dag_id in ("plain", "past"):
        ran(models, dag_id, -60)
    attempts = []

    def before(method: str, path: str) -> None:
        if method == "PATCH" and path.startswith(f"/dags/{broken}/dagRuns"):
            attempts.append(path)
            models.ssm.clock.forward(10)
            raise client_error("RestApiServerException", 400, RestApiStatusCode=504)

    models.green.before = before
    switched(models)
    done = waited(models, timeout=None)
    assert done.finished
    assert done.mirrors is not None
    assert done.mirrors.copied == 1
    (left,) = done.mirrors.left
    assert (left.dag_id, left.final) == (broken, True)
    assert left.reason.startswith(f"not possible, tried {TRIES} times: ")
    assert len(attempts) == TRIES


def test_the_source_is_not_drained_while_its_scheduler_may_have_own_runs_to_create(
    models: FakeClients,
) -> None:
    """It is behind: the next run it creates is green's, but blue's own come after that."""
    switched(models)
    models.ssm.clock.forward(60)
    switched(models, "blue")
    models.ssm.clock.forward(60)
    switched(models)
    since = [entry.since for entry in standing(models).owners]
    blue = models.blue.dags["plain"]
    blue.next_due = since[1]
    models.ssm.clock.forward(10)
    behind = waited(models, timeout=20)
    assert (behind.drained, dict(behind.due)) == (False, {"plain": since[1]})
    blue.next_due = since[-1]
    assert waited(models).finished
