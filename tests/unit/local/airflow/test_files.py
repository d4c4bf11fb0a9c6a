"""How an environment's files are laid out, and how MWAA's images load the customer's cluster policy."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from local.airflow.config import IGNORING, IMAGE_TAG
from local.airflow.files import Files
from local.home import Home


def load_image_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **files: str) -> Any:
    """Import MWAA's own airflow_local_settings.py over a home with these files of the customer."""
    files_of_home = Files(Home(tmp_path), "shop-blue")
    files_of_home.plugins({"Tags": {}})
    for folder, text in files.items():
        (files_of_home.airflow_home / folder).mkdir(exist_ok=True)
        (files_of_home.airflow_home / folder / "airflow_local_settings.py").write_text(text)
    monkeypatch.setenv("AIRFLOW_HOME", str(files_of_home.airflow_home))
    path = files_of_home.airflow_home / "config" / "airflow_local_settings.py"
    spec = importlib.util.spec_from_file_location("airflow_local_settings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NOTE = "import os\nos.environ['SEEN'] += __name__ + ' '\ndef task_policy(task): ...\n"


def test_the_newer_image_runs_the_customers_files_but_takes_no_name_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEEN", "")
    module = load_image_settings(monkeypatch, tmp_path, dags=NOTE, plugins=NOTE)
    assert os.environ["SEEN"].split() == [
        "customer_dags_airflow_local_settings",
        "customer_plugins_airflow_local_settings",
    ]
    assert module.__all__ == []
    assert not hasattr(module, "task_policy")


def test_a_policy_file_that_raises_ends_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        load_image_settings(monkeypatch, tmp_path, plugins="raise RuntimeError('broken')")


def test_an_image_that_ignores_policies_lets_airflow_register_none_of_the_modules_functions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As aws/amazon-mwaa-docker-images issue 627 says; the functions stand on the module."""
    policies: Any = ModuleType("airflow.policies")
    airflow: Any = ModuleType("airflow")
    airflow.policies = policies
    for module in (airflow, policies):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    ours = "import sys\nsys.modules['airflow'].ran = True\n"
    load_image_settings(monkeypatch, tmp_path, plugins=ours)
    assert not hasattr(policies, "make_plugin_from_local_settings")
    [(name, value)] = IGNORING.items()
    monkeypatch.setenv(name, value)
    load_image_settings(monkeypatch, tmp_path, plugins=ours)
    assert airflow.ran
    manager = SimpleNamespace(hook=SimpleNamespace(task_policy=None))
    taken = policies.make_plugin_from_local_settings(manager, None, {"task_policy", "another"})
    assert taken == {"task_policy"}, "Airflow takes these for registered"


def test_the_older_image_has_no_settings_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = Files(Home(tmp_path), "shop-blue")
    files.plugins({"Tags": {IMAGE_TAG: "old"}})
    assert list((files.airflow_home / "config").iterdir()) == []


class Objects:
    """A bucket of the environment: what is fetched, by path."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def fetch(self, path: str, _version: str | None, target: Path) -> None:
        target.write_bytes(self.objects[path.replace(".", "_")])


def packed(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return content.getvalue()


def test_requirements_are_installed_from_the_wheels_of_plugins_zip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before Airflow gets these plugins: the ones that it has are in use."""
    files = Files(Home(tmp_path), "shop-blue")
    files.airflow_home.mkdir(parents=True)
    text = b"--find-links /usr/local/airflow/plugins\n--no-index\n-c /usr/local/airflow/dags/c.txt\nx==1\n"
    bucket = Objects(requirements_txt=text, plugins_zip=packed(x__whl="1"))
    monkeypatch.setattr(Files, "_bucket", lambda *_: bucket)
    environment = {"RequirementsS3Path": "requirements.txt", "PluginsS3Path": "plugins.zip"}

    def installed() -> list[str]:
        requirements = files.requirements(environment)
        assert requirements is not None
        return requirements.read_text().splitlines()

    first = installed()
    wheels = Path(first[0].removeprefix("--find-links "))
    assert (wheels / "x.whl").read_text() == "1"
    assert first[1:] == ["--no-index", f"-c {files.airflow_home}/dags/c.txt", "x==1"]
    assert not (files.airflow_home / "plugins").exists()
    assert installed() == first
    bucket.objects["plugins_zip"] = packed(x__whl="2")
    other = installed()
    assert other != first, "another text, and so another installation"
    assert not wheels.exists()
