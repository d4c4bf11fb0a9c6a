"""`mwaactl rollout` to another major version beneath the load: both environments are replaced, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.e2e.load.rollout import Rolling, Rollout, assert_rolled_out, rolling
from tests.e2e.load.twins import STACK


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rolling, datetime]]:
    with rolling(tmp_path_factory.mktemp("rollout"), airflow_version="2.11.2") as work:
        yield work


def test_from_airflow_2_to_3_nothing_is_lost_or_executed_twice(work: tuple[Rolling, datetime]) -> None:
    twins, since = work
    done = twins.run("pulumi", "config", "set", "airflow_version", "3.3.1", "-s", STACK)
    assert done.code == 0, done.err
    begun = datetime.now(UTC)
    rollout = Rollout(twins, ["mwaactl", "rollout", "-s", STACK])
    assert rollout.end() == 0, rollout.events
    versions = {colour: twins.environment(colour)["AirflowVersion"] for colour in twins.names}
    assert versions == {"blue": "3.3.1", "green": "3.3.1"}
    assert_rolled_out(twins, since, rollout.events, begun, action="replace")
