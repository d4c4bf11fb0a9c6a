"""Reading the ownership parameter."""

from __future__ import annotations

from datetime import timedelta

from tests.fakes.aws.clients import LEAD, FakeClients, deployment
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START
from tests.fakes.timeline import dumped, initial

LEAD_TIME = timedelta(seconds=LEAD)
GREEN = "mwaa-openlineage-fullha-green"


def test_the_reading_carries_the_readers_lead(aws: FakeClients) -> None:
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(initial().switched("green", START, 2))})
    snapshot = deployment(aws).ownership.read()
    assert snapshot.timeline.owners[-1].since == START + LEAD_TIME


def test_a_version_that_arrives_while_the_history_is_read_is_the_newest(aws: FakeClients) -> None:
    """The answer to GetParameter was an invalid value; somebody switches before the history is asked for."""
    stale = dumped(initial())
    aws.ssm.store({"Name": OWNERSHIP, "Value": stale})

    def meanwhile(operation: str) -> None:
        if operation == "history" and len(aws.ssm.stored[OWNERSHIP]) == 2:
            valid = initial().switched("green", START + LEAD_TIME, version=3)
            aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(valid)})

    aws.ssm.before = meanwhile
    seen = deployment(aws).ownership.read()
    assert (seen.top, seen.reading.version, seen.covered) == (3, 3, False)
