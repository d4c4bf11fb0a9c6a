"""Requirements as wheels: packaged by the command, installed as the local MWAA does, without an index."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.airflow.plugins import plugins_files, requirements_txt
from components.python_archive import built
from local.airflow.config import NEW
from local.airflow.files import Files
from local.airflow.install import Image
from local.home import CHECKOUT, Home
from tests.e2e.zoo.environment import Kind, Zoo, ZooCloud
from tests.unit.components.config.test_settings import parse

ENVIRONMENT = {"RequirementsS3Path": "requirements.txt", "PluginsS3Path": "plugins.zip"}
# Pure Python, so that they can be installed here, too: this machine's Python may not be Amazon's.
NOWHERE = "http://127.0.0.1:9/simple"  # nobody listens there
LINES = ("inflect<8", "cowsay")

DAG = """
import cowsay
from airflow.sdk import DAG, task

with DAG("offline", schedule=None, is_paused_upon_creation=False):
    @task
    def work() -> None:
        cowsay.cow("no index")
    work()
"""


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
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.setenv(name, NOWHERE)
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


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Zoo, Path]]:
    """One of the local MWAA with these wheels, and their folder. No index answers its installation."""
    folder = tmp_path_factory.mktemp("offline")
    done = package(folder, "3.3.1", *LINES)
    assert done.returncode == 0, done.stderr
    own = parse({"wheels_folder": str(folder / "wheels"), "requirements": list(LINES)}).environment("blue")

    (folder / "dags").mkdir()
    (folder / "dags" / "offline.py").write_text(DAG)

    class Offline(Zoo):
        files = folder

        def plugins(self) -> bytes:
            return built("plugins", plugins_files(own)).read_bytes()

        def _put(self, key: str, content: bytes) -> None:
            super()._put(key, requirements_txt(own).encode() if key == "requirements.txt" else content)

    with pytest.MonkeyPatch.context() as patch:  # as long as the cloud starts
        for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
            patch.setenv(name, NOWHERE)
        patch.setenv("UV_CACHE_DIR", str(folder / "cache"))
        cloud: ZooCloud = request.getfixturevalue("zoo_cloud")
    zoo = Offline(cloud, Kind("3.3.1", NEW, "LocalExecutor"), "offline")
    zoo.create()
    yield zoo, cloud.home.root / "state" / "mwaa" / zoo.name
    zoo.delete()


def test_an_environment_of_the_local_mwaa_starts_with_them(environment: tuple[Zoo, Path]) -> None:
    zoo, folder = environment
    (python,) = folder.glob("venv-*/bin/python")
    shown = subprocess.run(
        [python, "-c", "import cowsay, inflect, openlineage.client"], capture_output=True, check=False
    )
    assert shown.returncode == 0, (folder / "requirements.log").read_text()
    assert list((folder / "airflow" / "plugins").glob("cowsay-*.whl"))
    zoo.wait_for(lambda: zoo.api("GET", "/dags/offline"), "its DAG imports one of them", seconds=120)
    run = zoo.trigger("offline")
    zoo.wait_for(lambda: zoo.run("offline", run)["state"] == "success", "a run by hand", seconds=120)


def test_what_has_no_wheel_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    done = package(tmp_path, "3.3.1", "sgmllib3k")
    assert done.returncode == 1
    assert "sgmllib3k==1.0.0 has no usable wheels" in done.stderr
    assert not (tmp_path / "wheels").exists()
