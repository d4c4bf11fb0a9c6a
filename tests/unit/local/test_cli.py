"""What `make -s local-env` prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from local.cli import app
from local.processes import LocalError


def test_the_exports_of_a_cloud_that_is_down_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MWAA_LOCAL_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["env"])
    assert isinstance(result.exception, LocalError)
    assert "make local" in str(result.exception)
    assert result.stdout == ""
