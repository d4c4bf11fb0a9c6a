"""`uv tool install .`: an operator gets `mwaactl` alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from local.home import CHECKOUT
from local.uv import uv


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tools of a machine on which `mwaactl` was just installed."""
    folder = tmp_path_factory.mktemp("tools")
    places = {"UV_TOOL_DIR": str(folder), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    subprocess.run(
        [str(uv()), "tool", "install", "--quiet", str(CHECKOUT)], env=os.environ | places, check=True
    )
    return folder


def test_the_installed_command_runs_outside_of_a_checkout(tools: Path, tmp_path: Path) -> None:
    command = [str(tools / "bin" / "mwaactl"), "status", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "no Pulumi.yaml" in done.stdout) == (2, True)


def test_every_command_can_be_imported(tools: Path, tmp_path: Path) -> None:
    program = (
        "import pkgutil, importlib, mwaactl, lineage_log\n"
        "for package in (mwaactl, lineage_log):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
    )
    (python,) = tools.glob("*/bin/python")
    done = subprocess.run([python, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_else_of_ours_is_installed(tools: Path) -> None:
    (packages,) = tools.glob("*/lib/python*/site-packages")
    ours = {"benchmarks", "components", "dags", "forwarder", "local", "plugins", "tests"}
    assert {path.name for path in packages.iterdir()} & ours == set()
    modules = {path.stem for path in (packages / "bluegreen").glob("*.py")}
    assert modules == {"__init__", "document", "proof", "settings", "timeline"}
