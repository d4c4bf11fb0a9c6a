"""Which wheels are fetched: what uv and pip are asked. tests/e2e/long/test_offline.py fetches real ones."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from local.airflow import locks
from local.airflow.install import Image
from local.airflow.wheels import package
from local.home import Home

UV = """#!/bin/sh
echo "$@" >{folder}/uv.txt
cat {folder}/said.txt >&2
exit {code}
"""


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a uv that says what is in `said.txt`, and a Python whose pip notes what it is asked."""
    monkeypatch.setattr(Image, "install", lambda _: None)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/pip.txt\ncp "${{@: -1}}" {tmp_path}/wanted.txt\n')
    python.write_text(python.read_text().replace("/bin/sh", "/bin/bash", 1))
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "out").mkdir()
    return tmp_path


def says(uv: Path, text: str, code: int = 0) -> None:
    (uv / "said.txt").write_text(text)
    (uv / "uv").write_text(UV.format(folder=uv, code=code))
    (uv / "uv").chmod(0o755)


def pinned(name: str) -> str:
    found = re.search(rf"^{name}==(\S+)", locks.image("3.3.1"), re.MULTILINE)
    assert found is not None
    return found[1]


def test_what_the_image_lacks_is_fetched_and_what_is_named(uv: Path) -> None:
    greenlet = pinned("greenlet")
    says(
        uv,
        "Would install 4 packages\n - greenlet==0\n + greenlet==3.0.0\n"
        f" - wrapt==1\n + wrapt=={pinned('wrapt')}\n + openlineage-python==1.52.0\n"
        " + team.tools @ https://example.com/tools-1.0-py3-none-any.whl\n",
    )
    requirements = uv / "requirements.txt"
    requirements.write_text(
        "--extra-index-url https://example.com/simple\nopenlineage-python\nAttrs>1  # named\ngreenlet<3.1\n"
    )
    assert package(Home(uv), "3.3.1", "3.12", requirements, uv / "out").problem is None
    assert (uv / "wanted.txt").read_text().splitlines() == [
        "--extra-index-url https://example.com/simple",
        "greenlet==3.0.0",
        "openlineage-python==1.52.0",
        "team.tools @ https://example.com/tools-1.0-py3-none-any.whl",
        f"attrs=={pinned('attrs')}",
    ], f"another greenlet than the image's {greenlet}; its wrapt, for this machine's Python, is the same"
    asked = (uv / "uv.txt").read_text()
    assert "--python-version 3.12 --python-platform x86_64-manylinux_2_34 --only-binary :all:" in asked
    assert f"-c {locks.lock('3.3.1')}" in asked
    of_pip = (uv / "pip.txt").read_text()
    assert "--no-deps --only-binary=:all:" in of_pip
    assert "--platform manylinux_2_34_x86_64 " in of_pip
    assert "--platform manylinux_2_17_x86_64 " in of_pip


def test_what_cannot_be_resolved_or_fetched_is_a_problem(uv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = uv / "requirements.txt"
    requirements.write_text("impossible\n")
    says(uv, "impossible has no usable wheels", code=1)
    made = package(Home(uv), "3.3.1", "3.12", requirements, uv / "out")
    assert (made.wheels, made.problem) == ((), "impossible has no usable wheels")
    assert not (uv / "pip.txt").exists()
    says(uv, " + impossible==1\n")
    (uv / "python").write_text("#!/bin/sh\necho gone >&2\nexit 1\n")
    assert package(Home(uv), "3.3.1", "3.12", requirements, uv / "out").problem == "gone"
