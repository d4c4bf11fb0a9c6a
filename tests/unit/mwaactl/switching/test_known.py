"""A DAG that appears while a switch is written is known to it; one that appears later is not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bluegreen.settings import RECENT
from bluegreen.timeline import CONFIRMED

from mwaactl.errors import Unreachable
from mwaactl.switching.drain import wait_until_drained
from mwaactl.switching.known import complete
from tests.fakes.airflow.model import Dag
from tests.fakes.aws.clients import LEAD, FakeClients, clients_of_models, deployment, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START, minutes, stop_time
from tests.fakes.mwaactl.switches import switched

CHAIN = {"first": ()}
BEGIN = START + timedelta(seconds=LEAD)
PAST = minutes(-60)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    clients = clients_of_models({"daily": Dag(CHAIN, next_due=minutes(60))})
    stop_time(monkeypatch, clients.ssm.clock)
    return clients


def appear(aws: FakeClients) -> None:
    for side in (aws.blue, aws.green):
        side.dags["new"] = Dag(CHAIN, next_due=minutes(60), catchup=True)


def completed(aws: FakeClients) -> tuple[str, ...]:
    stack = deployment(aws)
    return complete(stack, stack.airflow("blue"), standing(aws).newest().version)


def test_the_list_is_completed_once_every_process_knows_the_switch(models: FakeClients) -> None:
    switched(models)
    appear(models)
    assert standing(models).owner(PAST, "new") == "green"
    (note,) = completed(models)
    assert note.endswith("their past stays with the old side: new")
    assert models.ssm.clock.now == START + RECENT
    assert standing(models).owner(PAST, "new") == "blue"
    assert standing(models).newest().since == BEGIN, "the switch itself is as it was"


def test_with_nothing_new_nothing_is_written(models: FakeClients) -> None:
    switched(models)
    written = len(models.ssm.stored[OWNERSHIP])
    assert completed(models) == ()
    assert len(models.ssm.stored[OWNERSHIP]) == written


def test_the_drain_completes_it_too(models: FakeClients) -> None:
    switched(models)
    appear(models)
    progress = wait_until_drained(deployment(models), "green", timeout=25)
    assert standing(models).owner(PAST, "new") == "blue"
    assert progress.trouble is None


def test_what_appears_once_the_target_may_have_begun_with_it_is_the_targets(models: FakeClients) -> None:
    switched(models)
    models.ssm.clock.now = BEGIN + CONFIRMED
    appear(models)
    wait_until_drained(deployment(models), "green", timeout=25)
    assert completed(models) == ()
    assert standing(models).owner(PAST, "new") == "green"


def test_another_operators_switch_in_the_meantime_has_a_list_of_its_own(models: FakeClients) -> None:
    stack = deployment(models)
    first = switched(models).version
    switched(models, "blue")
    appear(models)
    assert complete(stack, stack.airflow("blue"), first) == ()
    assert "new" not in standing(models).known


def test_another_writer_is_waited_out(models: FakeClients) -> None:
    switched(models)
    appear(models)
    models.ssm.puts = [client_error("TooManyUpdates", 400)]
    assert len(completed(models)) == 1
    assert standing(models).owner(PAST, "new") == "blue"


def test_a_side_that_does_not_answer_is_reported(models: FakeClients) -> None:
    switched(models)
    models.blue.silence()
    (note,) = completed(models)
    assert note.startswith("it is unknown whether a DAG appeared")
    with pytest.raises(Unreachable):
        deployment(models).airflow("blue").dag_ids()


def test_the_drain_does_not_complete_it_before_every_process_knows_the_switch(models: FakeClients) -> None:
    """A DAG that appears three seconds later may be executed by one that does not."""
    for target in ("green", "blue", "green"):
        switched(models, target)
        models.ssm.clock.forward(60)
    switched(models, "blue")
    begun = standing(models).newest().since
    appear(models)
    written = len(models.ssm.stored[OWNERSHIP])
    wait_until_drained(deployment(models), "blue", timeout=(begun - models.ssm.clock.now).total_seconds() + 4)
    assert len(models.ssm.stored[OWNERSHIP]) == written
    wait_until_drained(deployment(models), "blue", timeout=5)
    assert standing(models).owner(PAST, "new") == "green"


def test_the_drain_waits_out_another_writer_too(models: FakeClients) -> None:
    switched(models)
    appear(models)
    models.ssm.puts = [client_error("TooManyUpdates", 400)]
    wait_until_drained(deployment(models), "green", timeout=25)
    assert standing(models).owner(PAST, "new") == "blue"


def test_a_dag_that_moves_at_that_moment_is_moved_after_the_list_is_written(models: FakeClients) -> None:
    """Else the drain would lose a race against itself."""
    for side in (models.blue, models.green):
        side.dags["daily"].max_active_runs = 1
    run = models.blue.add("daily", minutes(-1), {"first": "running"}, state="running")
    models.green.mirror("daily", minutes(-1))
    switched(models)
    models.ssm.clock.forward(LEAD + 6)
    models.blue.end(run, "success")
    appear(models)
    assert set(wait_until_drained(deployment(models), "green", timeout=60).moved) == {"daily"}
    written = [record.get("Description", "") for record in models.ssm.stored[OWNERSHIP]][2:]
    assert written == [
        "mwaactl: DAGs appeared during the switch",
        "mwaactl switch green, only daily, once idle",
        "mwaactl: blue's books are closed",
    ]
