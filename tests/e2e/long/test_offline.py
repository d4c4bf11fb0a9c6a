"""Requirements as wheels: packaged by the command, installed as the local MWAA does, without an index."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.airflow.plugins import plugins_files, requirements_txt
from components.python_archive import built
from local.airflow.files import Files
from local.airflow.install import Image
from local.home import CHECKOUT, Home
from tests.unit.components.config.test_settings import parse

ENVIRONMENT = {"RequirementsS3Path": "requirements.txt", "PluginsS3Path": "plugins.zip"}
# Pure Python, so that they can be installed here, too: this machine's Python may not be Amazon's.
LINES = ("inflect<8", "cowsay")


class Objects:
    """The environment's bucket, as the program fills it."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def fetch(self, path: str, _version: str | None, target: Path) -> None:
        target.write_bytes(self._objects[path])


def package(folder: Path, version: str, *lines: str) -> subprocess.CompletedProcess[str]:
    file = folder / "requirements.txt"
    file.write_text("\n".join([*lines, ""]))
    options = ("-o", str(folder / "wheels"), "--airflow-version", version, "-C", str(CHECKOUT))
    return subprocess.run(
        [CHECKOUT / ".venv" / "bin" / "mwaactl", "requirements", "package", str(file), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize("version", ["2.11.2", "3.3.1"])
def test_wheels_are_installed_without_an_index(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = package(tmp_path, version, *LINES)
    assert done.returncode == 0, done.stderr
    raw: dict[str, Any] = {"airflow_version": version, "wheels_folder": str(tmp_path / "wheels")}
    own = parse({**raw, "requirements": list(LINES)}).environment("blue")
    archive = built("plugins", plugins_files(own)).read_bytes()
    objects = {"requirements.txt": requirements_txt(own).encode(), "plugins.zip": archive}
    monkeypatch.setattr(Files, "_bucket", lambda *_: Objects(objects))

    image = Image(Home.find(), version)
    image.install()
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):  # nobody listens there
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    files = Files(Home(tmp_path / "home"), "shop-blue")
    files.airflow_home.mkdir(parents=True)
    venv = files.venv(image, files.requirements(ENVIRONMENT), print)
    log = (files.folder / "requirements.log").read_text()
    shown = subprocess.run(
        [
            venv / "bin" / "python",
            "-c",
            "import cowsay, inflect, openlineage.client, airflow.providers.openlineage",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"AIRFLOW_HOME": str(files.airflow_home)},
    )
    assert shown.returncode == 0, log + shown.stderr
    installed = {line.strip(" +") for line in log.splitlines() if line.startswith(" + ")}
    pins = set((tmp_path / "wheels" / "constraints.txt").read_text().split())
    assert {each.partition("==")[0] for each in pins} >= {"cowsay", "inflect", "openlineage-sql"}
    assert installed <= pins, "what it requires and the image has is the image's"
    assert {each for each in pins if each.startswith(("cowsay", "inflect", "openlineage"))} <= installed


def test_what_has_no_wheel_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    done = package(tmp_path, "3.3.1", "sgmllib3k")
    assert done.returncode == 1
    assert "sgmllib3k==1.0.0 has no usable wheels" in done.stderr
    assert not (tmp_path / "wheels").exists()
