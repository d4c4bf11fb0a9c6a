"""The commands `mwaactl lineage` on an S3 in memory and a real HTTP server."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from lineage_log.patient_client import Patience
from mwaactl.lineage import replay as lineage_replay
from mwaactl.lineage import set_aside as lineage_set_aside
from tests.fakes.aws.clients import FakeClients
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import START
from tests.fakes.mwaactl.commands import Command

QUICK = Patience(longest_pause=0.01, give_up=0.05)


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3(page_size=7)


@pytest.fixture
def run(
    run: Command, aws: FakeClients, s3: FakeS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Command:
    """Runs a command of `mwaactl lineage`."""
    aws.s3 = s3
    aws.ssm.clock.now = START + timedelta(hours=2)
    for function in (lineage_replay.replay, lineage_set_aside.retry):
        defaults = {**cast(Any, function).__kwdefaults__, "patience": QUICK}
        monkeypatch.setattr(function, "__kwdefaults__", defaults)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    return lambda *arguments: run("lineage", *arguments)
