"""Commands of `mwaactl` as an operator types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mwaactl.cli import app as cli
from mwaactl.dag_check.airflows import Checkout
from mwaactl.dag_check.model import Installed
from mwaactl.deployment import Deployment
from tests.fakes.aws.clients import FakeClients, deployment

Command = Callable[..., Result]


def commands(monkeypatch: pytest.MonkeyPatch, aws: FakeClients) -> Command:
    """What runs a command with these arguments; every command finds a stack whose AWS is `aws`."""
    # no Airflow is installed for `dags check`, and none is looked for in a process of its own
    monkeypatch.setattr(Checkout, "_ask", lambda _, version, *__: Installed(version=version, python=None))
    monkeypatch.setattr(Deployment, "open", lambda stack, *_: deployment(aws, stack or "fullha"))
    return lambda *arguments: CliRunner().invoke(cli.app, arguments)


def output(result: Result) -> dict[str, Any]:
    """The JSON object that a command printed."""
    value: dict[str, Any] = json.loads(result.stdout)
    return value
