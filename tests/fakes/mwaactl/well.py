"""A full HA stack in which all is well: the probe runs, and its lineage has arrived in Marquez."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bluegreen.proof import FACET, PROBE

from tests.fakes.airflow.probed import probed_clients
from tests.fakes.aws.clients import BLUE, FakeClients
from tests.fakes.clock import minutes
from tests.fakes.lineage.events import run_id, write
from tests.fakes.lineage.forwarders import forwarder, keeper_of
from tests.fakes.lineage.marquez import FakeMarquez


def all_well(monkeypatch: pytest.MonkeyPatch, marquez: FakeMarquez) -> FakeClients:
    aws = probed_clients(monkeypatch)
    log_probe(aws)
    carried(aws, marquez)
    return aws


def log_probe(aws: FakeClients, minute: int = 10, **changes: Any) -> None:
    """Blue's execution of the probe due at that minute, in the log."""
    event = {
        "eventType": "COMPLETE",
        "run": {"runId": run_id(PROBE, minutes(minute)), "facets": {FACET: {}}},
        "job": {"namespace": BLUE, "name": f"{PROBE}.report"},
        **changes,
    }
    write(aws.s3, minutes(minute) + timedelta(seconds=4), event)


def carried(aws: FakeClients, marquez: FakeMarquez) -> None:
    """A forwarder has carried everything to Marquez just now, and goes on."""
    drop(aws, "forwarder/")
    forwarder(aws.s3, marquez, posters=1).once(1)
    keeper_of(aws.s3, "node-1").try_take(aws.ssm.clock.now)
    for key in aws.s3.lineage.modified:
        if key.startswith("forwarder/"):
            aws.s3.lineage.modified[key] = aws.ssm.clock.now


def drop(aws: FakeClients, prefix: str) -> None:
    """Remove what is below a prefix of the lineage log."""
    for key in [key for key in aws.s3.lineage.objects if key.startswith(prefix)]:
        del aws.s3.lineage.objects[key]
