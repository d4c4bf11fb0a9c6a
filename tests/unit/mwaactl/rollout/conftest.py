"""Two proven sides, and an engine with changes for both."""

from __future__ import annotations

import pytest

from tests.fakes.airflow.probed import probed_clients
from tests.fakes.aws.clients import FakeClients
from tests.fakes.mwaactl.engine import EVERYTHING, FakeEngine, changes


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    return probed_clients(monkeypatch)


@pytest.fixture
def engine(aws: FakeClients) -> FakeEngine:
    return FakeEngine(aws, changes(*EVERYTHING))
