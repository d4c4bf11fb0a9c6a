"""The startup script on this machine: what it exports, and what it cannot change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local.airflow import startup
from local.airflow.startup import with_startup
from local.processes import LocalError

BASE = {"PATH": os.environ["PATH"], "AIRFLOW__CORE__EXECUTOR": "LocalExecutor", "AIRFLOW__API__WORKERS": "1"}


def run(tmp_path: Path, script: str, fixed: tuple[str, ...] = ()) -> dict[str, str]:
    file = tmp_path / "startup.sh"
    file.write_text(script)
    result = with_startup(file, BASE, fixed, tmp_path, tmp_path / "log")
    assert result.items() >= {key: value for key, value in BASE.items() if key in fixed}.items()
    return result


def test_what_the_script_exports_the_process_has(tmp_path: Path) -> None:
    result = run(
        tmp_path, 'export TEAM="data\nand more"\nexport AIRFLOW__API__WORKERS=2\nLOCAL=1\necho hello\n'
    )
    assert result["TEAM"] == "data\nand more"
    assert result["AIRFLOW__API__WORKERS"] == "2", "what MWAA only suggests"
    assert "LOCAL" not in result
    assert (tmp_path / "log").read_text() == "hello\n"


def test_it_changes_nothing_that_mwaa_forces_or_the_options_set(tmp_path: Path) -> None:
    script = (
        "export AIRFLOW__CORE__EXECUTOR=SequentialExecutor AWS_REGION=eu-west-1 PYTHONPATH=/x MWAA__CORE__A=1"
    )
    result = run(tmp_path, script, ("AIRFLOW__CORE__EXECUTOR",))
    assert result["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not {"AWS_REGION", "PYTHONPATH", "MWAA__CORE__A"} & result.keys()


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("no_such_command\nexit 0", 0), ("false", 1)])
def test_a_script_that_fails_or_ends_the_shell_keeps_the_process_from_starting(
    tmp_path: Path, script: str, code: int
) -> None:
    with pytest.raises(LocalError, match=f"ended with exit code {code}"):
        run(tmp_path, script)


def test_a_script_has_five_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "SECONDS", 0.2)
    with pytest.raises(LocalError, match="took longer"):
        run(tmp_path, "sleep 5")
