"""The locks, and what is installed from them (nothing is downloaded)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local.airflow import locks
from local.airflow.install import Image, install_requirements
from local.home import Home
from local.processes import LocalError


@pytest.mark.parametrize(("version", "of"), locks.VERSIONS.items())
def test_each_lock_fits_its_airflow_and_openlineage(version: str, of: locks.Version) -> None:
    lines = locks.lock(version).read_text().splitlines()
    pinned = {line.rstrip(" \\") for line in lines if "==" in line}
    assert f"apache-airflow=={version}" in pinned
    assert f"apache-airflow-providers-openlineage=={of.provider}" in pinned
    assert f"openlineage-python=={of.client}" in pinned
    assert len([line for line in lines if "--hash=sha256:" in line]) > len(pinned)


@pytest.mark.parametrize("version", locks.VERSIONS)
def test_a_lock_names_no_registry(version: str) -> None:
    assert "://" not in locks.lock(version).read_text()


@pytest.mark.parametrize("version", locks.VERSIONS)
def test_the_image_has_airflow_but_not_openlineage(version: str) -> None:
    image = locks.image(version)
    assert f"\napache-airflow=={version}" in image
    assert "openlineage" not in image
    assert image.count("==") == locks.lock(version).read_text().count("==") - 4


def test_a_version_without_lock_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"Airflow 2\.7\.2 does not run on this machine"):
        Image(Home(tmp_path), "2.7.2")


def test_requirements_without_constraints_get_the_whole_lock(tmp_path: Path) -> None:
    image = Image(Home(tmp_path), "3.3.1")
    assert image.constraints(tmp_path, "pandas\n") == [locks.lock("3.3.1")]


def test_requirements_with_constraints_still_cannot_change_airflow(tmp_path: Path) -> None:
    (file,) = Image(Home(tmp_path), "3.3.1").constraints(tmp_path, "--constraint mine.txt\npandas\n")
    names = {line.split("==")[0] for line in file.read_text().splitlines()}
    assert {"apache-airflow", "celery", "sqlalchemy"} <= names
    assert "boto3" not in names


def test_requirements_that_cannot_be_installed_are_logged_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "no solution for $*"\nexit 1\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    log = tmp_path / "requirements.log"
    requirements, constraints = tmp_path / "requirements.txt", tmp_path / "constraints.txt"
    assert install_requirements(Home(tmp_path), tmp_path, requirements, [constraints], log) is False
    assert f"-r {requirements} -c {constraints}" in log.read_text()
