"""Reading the ownership parameter."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from bluegreen.timeline import Timeline

from mwaactl.aws import Clients
from mwaactl.ownership.parameter import Ownership
from tests.fakes.aws.clients import LEAD, FakeClients
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START

LEAD_TIME = timedelta(seconds=LEAD)
GREEN = "mwaa-openlineage-fullha-green"


def test_the_reading_carries_the_readers_lead(aws: FakeClients) -> None:
    aws.ssm.store({"Name": OWNERSHIP, "Value": Timeline.initial().switched("green", START, 2).dump()})
    snapshot = Ownership(cast(Clients, aws), OWNERSHIP, LEAD_TIME).read()
    assert snapshot.timeline.owners[-1].since == START + LEAD_TIME


def test_a_version_that_arrives_while_the_history_is_read_is_the_newest(aws: FakeClients) -> None:
    """The answer to GetParameter was an invalid value; somebody switches before the history is asked for."""
    stale = Timeline.initial().dump()
    aws.ssm.store({"Name": OWNERSHIP, "Value": stale})

    def meanwhile(operation: str) -> None:
        if operation == "history" and len(aws.ssm.stored[OWNERSHIP]) == 2:
            valid = Timeline.initial().switched("green", START + LEAD_TIME, version=3)
            aws.ssm.store({"Name": OWNERSHIP, "Value": valid.dump()})

    aws.ssm.before = meanwhile
    seen = Ownership(cast(Clients, aws), OWNERSHIP, LEAD_TIME).read()
    assert (seen.top, seen.reading.version, seen.covered) == (3, 3, False)
