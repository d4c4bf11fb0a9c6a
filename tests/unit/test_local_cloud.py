"""`make local` before and around the deployment: clear errors instead of half a cloud."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from typer.testing import CliRunner

from local import cloud, lineage
from local.cli import app
from local.home import Home
from local.processes import LocalError


def test_an_unknown_mode_is_refused_before_anything_is_set_up(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="MODE=ha is not one of standard, bluegreen, hamarquez, fullha"):
        cloud.up(Home(tmp_path), "ha", print)
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_told_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * cloud.GIB))
    with pytest.raises(LocalError, match=r"fullha needs about 3.0 GB .*\n.*MODE=standard"):
        cloud.up(Home(tmp_path), "fullha", print)


def test_the_exports_of_a_cloud_that_is_down_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MWAA_LOCAL_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["env"])
    assert isinstance(result.exception, LocalError)
    assert "make local" in str(result.exception)
    assert result.stdout == ""


def test_without_a_container_engine_the_receiver_takes_the_place_of_marquez(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/docker")
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda *a, **k: subprocess.CompletedProcess(a, returncode=1, stdout="", stderr=""),
    )
    assert lineage.docker_runs() is False


def test_marquez_containers_are_published_on_loopback_only() -> None:
    commands = lineage._run_arguments("mwaa-openlineage-fullha")
    published = [a[i + 1] for a in commands for i, word in enumerate(a) if word == "--publish"]
    assert len(published) == 2
    assert all(p.startswith("127.0.0.1:") for p in published)
    assert [a[-1] for a in commands] == [lineage.POSTGRES, lineage.MARQUEZ, lineage.MARQUEZ_WEB]
