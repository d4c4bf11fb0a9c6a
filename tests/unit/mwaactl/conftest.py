"""What the tests of `mwaactl` share."""

from __future__ import annotations

import pytest

from mwaactl import clock as mwaactl_clock
from tests.fakes.clients import FakeClients, fresh_clients
from tests.fakes.commands import Command, commands
from tests.fakes.mirrors import FakeMirrorCopy


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """A freshly deployed stack in the hands of `mwaactl`, whose clock moves only when told."""
    clients = fresh_clients()
    monkeypatch.setattr(mwaactl_clock, "now", lambda: clients.ssm.clock.now)
    monkeypatch.setattr(mwaactl_clock, "sleep", clients.ssm.clock.forward)
    monkeypatch.setattr("mwaactl.airflow.client._Pace.wait", lambda pace: None)  # no real time passes
    return clients


@pytest.fixture
def run(aws: FakeClients, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command of `mwaactl`."""
    return commands(monkeypatch, aws)


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> FakeMirrorCopy:
    copy = FakeMirrorCopy()
    monkeypatch.setattr("mwaactl.switching.drain.copy_final_states", copy)
    return copy
