"""A full HA stack at the moment at which an operator fails over to green."""

from __future__ import annotations

import pytest

from tests.fakes.airflow.model import Dag
from tests.fakes.aws.clients import FakeClients, clients_of_models
from tests.fakes.aws.errors import Killed
from tests.fakes.clock import minutes, stop_time
from tests.fakes.lineage.events import log_complete

DAGS = {name: Dag({"first": ("second",), "second": ()}, next_due=minutes(100)) for name in ("a", "b")}
DONE = {"first": "success", "second": "success"}
NOW = 60.0  # minutes: when the operator types the command
LATELY = (50, 52, 54, 56, 58)  # minutes at which runs were due, since 15 minutes before


def blue_died(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """Blue executed what was due until minute 53 and then died: it answers nothing. Green has the mirrors."""
    doubles = clients_of_models(DAGS)
    for dag_id in DAGS:
        for minute in (30, *LATELY):
            doubles.green.mirror(dag_id, minutes(minute))
            run = doubles.blue.add(dag_id, minutes(minute), DONE)
            if minute > 53:
                run.state, run.tasks["second", -1].state = "running", "running"
    doubles.ssm.clock.now = minutes(NOW)
    stop_time(monkeypatch, doubles.ssm.clock)
    doubles.blue.silence()
    return doubles


def completed(aws: FakeClients, *runs: tuple[str, float]) -> None:
    """The lineage log records that blue completed these, each a minute after it was due."""
    for dag_id, minute in runs:
        log_complete(aws.s3, dag_id, minutes(minute), at=minutes(minute + 1))


def killed_at(count: int, aws: FakeClients) -> None:
    """From the count-th call on, of AWS or of green's Airflow, the command is killed."""
    calls = iter(range(count))

    def call(*_: str) -> None:
        if next(calls, None) is None:
            raise Killed

    aws.ssm.before = call
    aws.green.before = call
