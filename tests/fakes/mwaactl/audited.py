"""Two environments that an audit looks at, one hour after the beginning."""

from __future__ import annotations

from typing import Any

import pytest

from mwaactl.recovery import audit
from mwaactl.recovery.audit import Audit
from tests.fakes.airflow.model import Dag
from tests.fakes.aws.clients import FakeClients, clients_of_models, deployment, standing
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import minutes, stop_time
from tests.fakes.timeline import dumped

CHAIN = Dag({"first": ("second",), "second": ()}, next_due=minutes(100))
DONE = {"first": "success", "second": "success"}


def switched_at_half_time(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """Green owns what is due from minute 30 on."""
    doubles = clients_of_models({"chain": CHAIN})
    doubles.ssm.clock.now = minutes(20)
    timeline = standing(doubles).switched("green", minutes(30), 2)
    doubles.ssm.store({"Name": OWNERSHIP, "Value": dumped(timeline)})
    doubles.ssm.clock.now = minutes(60)
    stop_time(monkeypatch, doubles.ssm.clock)
    doubles.blue.add("chain", minutes(-90), DONE)  # the DAG is not new
    return doubles


def compare(aws: FakeClients, **options: Any) -> Audit:
    """The audit of that hour."""
    return audit.audit(deployment(aws), since=minutes(0), until=minutes(60), **options)
