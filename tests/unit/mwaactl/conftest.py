"""What the tests of `mwaactl` share."""

from __future__ import annotations

import pytest

from mwaactl.airflow import rest
from tests.fakes.aws.clients import FakeClients, fresh_clients
from tests.fakes.clock import stop_time
from tests.fakes.mwaactl.commands import Command, commands
from tests.fakes.mwaactl.mirrors import FakeMirrorCopy


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of Airflow's REST API that get no answer are made again at once, as often as else."""
    monkeypatch.setattr(rest, "AGAIN_AFTER", (0.0,) * len(rest.AGAIN_AFTER))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """A freshly deployed stack in the hands of `mwaactl`, whose clock moves only when told."""
    clients = fresh_clients()
    stop_time(monkeypatch, clients.ssm.clock)
    return clients


@pytest.fixture
def run(aws: FakeClients, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command of `mwaactl`."""
    return commands(monkeypatch, aws)


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> FakeMirrorCopy:
    copy = FakeMirrorCopy()
    monkeypatch.setattr("mwaactl.switching.final_states.copy_final_states", copy)
    return copy
