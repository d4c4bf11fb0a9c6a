"""How an environment's files are laid out, and how MWAA's images load the customer's cluster policy."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from local.airflow.files import IMAGE_TAG, Files
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


def test_the_older_image_has_no_settings_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = Files(Home(tmp_path), "shop-blue")
    files.plugins({"Tags": {IMAGE_TAG: "old"}})
    assert list((files.airflow_home / "config").iterdir()) == []
    monkeypatch.setenv("MWAA_LOCAL_IMAGE", "old")
    assert files.newer_image({"Tags": {}}) is False
    assert files.newer_image({"Tags": {IMAGE_TAG: "new"}}) is True
