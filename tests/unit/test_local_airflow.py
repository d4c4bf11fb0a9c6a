"""How the local MWAA configures and lays out an Airflow environment (no Airflow is started)."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local import locks, postgres
from local.airflow import FORGET_SECONDS, BackOff, _is_airflow
from local.airflow_config import (
    CELERY,
    EXECUTOR_TAG,
    EXECUTOR_VARIABLE,
    LOCAL,
    Installation,
    components,
    executor_of,
    option_variable,
    variables,
)
from local.airflow_files import IMAGE_TAG, Files
from local.airflow_install import Image, install_requirements
from local.bucket import Bucket, DagSync, extract
from local.home import Home
from local.mwaa_rules import ValidationError
from local.processes import LocalError, wait_until


def installation(version: str = "3.3.1") -> Installation:
    return Installation(
        name="shop-blue",
        version=version,
        airflow_home=Path("/home/airflow"),
        venv=Path("/home/venv"),
        constraints=locks.lock(version),
        database_url="postgresql+psycopg2://here",
        port=8123,
        fernet_key="fernet",
        secret="secret",
    )


def configured(options: dict[str, str], version: str = "3.3.1") -> dict[str, str]:
    return variables(installation(version), options, {"AWS_ENDPOINT_URL": "http://cloud"}, {"LANG": "C"})


# Options


def test_an_option_becomes_airflows_environment_variable() -> None:
    assert option_variable("bluegreen.lead_seconds") == "AIRFLOW__BLUEGREEN__LEAD_SECONDS"
    assert option_variable("a.b.c") == "AIRFLOW__A_B__C"


def test_the_customers_option_wins_over_what_mwaa_only_suggests() -> None:
    assert configured({})["AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT"] == "1800.0"
    chosen = configured({"scheduler.task_queued_timeout": "60", "core.parallelism": "9"})
    assert chosen["AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT"] == "60"
    assert chosen["AIRFLOW__CORE__PARALLELISM"] == "9"


@pytest.mark.parametrize("version", locks.VERSIONS)
def test_what_mwaa_forces_wins_over_the_customers_option(version: str) -> None:
    chosen = configured(
        {
            "core.executor": "SequentialExecutor",
            "core.load_examples": "True",
            "core.fernet_key": "mine",
            "database.sql_alchemy_conn": "sqlite://",
        },
        version,
    )
    assert chosen["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert chosen["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert chosen["AIRFLOW__CORE__FERNET_KEY"] == "fernet"
    assert chosen["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql+psycopg2://here"


def test_options_that_mwaa_keeps_for_itself_are_dropped() -> None:
    chosen = configured(
        {"celery.broker_url": "x", "metrics.statsd_host": "x", "logging.logging_config_class": "x"}
    )
    assert not [key for key, value in chosen.items() if value == "x"]


def test_airflow_is_pointed_at_the_local_cloud() -> None:
    chosen = configured({"openlineage.namespace": "shop"})
    assert chosen["AWS_ENDPOINT_URL"] == "http://cloud"
    assert chosen["AWS_REGION"] == "us-east-1"
    assert chosen["AIRFLOW__OPENLINEAGE__NAMESPACE"] == "shop"
    assert chosen["AIRFLOW_HOME"] == "/home/airflow"


def test_each_major_version_runs_its_own_components() -> None:
    names = {v: [c.name for c in components(installation(v))] for v in ("2.10.3", "3.0.6")}
    assert names["2.10.3"][0] == "webserver"
    assert names["3.0.6"] == [
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
    ]


@pytest.mark.parametrize("version", ["2.11.2", "3.3.1"])
def test_celery_has_a_worker_and_its_queue_in_the_environments_own_database(version: str) -> None:
    of = replace(installation(version), executor=CELERY)
    chosen = variables(of, {"core.executor": LOCAL, "celery.broker_url": "mine"}, {}, {})
    assert chosen["AIRFLOW__CORE__EXECUTOR"] == CELERY
    assert chosen["AIRFLOW__CELERY__BROKER_URL"] == "sqla+postgresql+psycopg2://here"
    assert chosen["AIRFLOW__CELERY__RESULT_BACKEND"] == "db+postgresql+psycopg2://here"
    assert [c.name for c in components(of)][-1] == "worker"
    assert len(components(of)) == len(components(installation(version))) + 1


def test_an_environments_tag_chooses_the_executor_before_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(EXECUTOR_VARIABLE, raising=False)
    shop = {"Name": "shop", "AirflowVersion": "3.3.1", "Tags": {}}
    assert executor_of(shop) == LOCAL
    monkeypatch.setenv(EXECUTOR_VARIABLE, CELERY)
    assert executor_of(shop) == CELERY
    assert executor_of(shop | {"Tags": {EXECUTOR_TAG: LOCAL}}) == LOCAL
    with pytest.raises(ValidationError, match="allowed are LocalExecutor and CeleryExecutor"):
        executor_of(shop | {"Tags": {EXECUTOR_TAG: "Celery"}})
    with pytest.raises(ValidationError, match="loses every task"):
        executor_of(shop | {"AirflowVersion": "2.11.2"})


# Locks


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


# The customer's cluster policy


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


# The bucket


class FakeS3:
    """A bucket's objects as S3 lists and serves them."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def get_paginator(self, _operation: str) -> FakeS3:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's names
        return [
            {"Contents": [{"Key": key, "ETag": f'"{hash(body)}"'}]}
            for key, body in self.objects.items()
            if key.startswith(Prefix)
        ]

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        return {"Body": io.BytesIO(self.objects[Key])}


def test_dags_follow_the_bucket_and_other_files_stay(tmp_path: Path) -> None:
    s3 = FakeS3(**{"dags/a.py": b"1", "dags/sub/b.py": b"2", "plugins.zip": b"3", "dags/sub/": b""})
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "own.pyc").touch()
    sync = DagSync(Bucket("arn:aws:s3:::shop", s3), "dags/", folder, tmp_path / "dags.json")
    assert sync.sync() == 2
    assert (folder / "sub" / "b.py").read_text() == "2"
    assert sync.sync() == 0
    s3.objects = {"dags/a.py": b"changed"}
    assert sync.sync() == 2
    assert (folder / "a.py").read_text() == "changed"
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["a.py", "own.pyc"]


def test_a_key_that_points_outside_the_dags_folder_is_ignored(tmp_path: Path) -> None:
    bucket = Bucket("arn:aws:s3:::shop", FakeS3(**{"dags/../evil.py": b"1", "dags/good.py": b"2"}))
    assert list(bucket.list("dags")) == ["good.py"]


def test_plugins_are_replaced_as_a_whole(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "old.py").touch()
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("gate/new.py", "")
    extract(archive, plugins)
    assert [p.name for p in plugins.rglob("*.py")] == ["new.py"]


def test_plugins_that_are_no_zip_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "plugins.zip"
    archive.write_text("no zip")
    with pytest.raises(LocalError, match=r"plugins\.zip is not a zip file"):
        extract(archive, tmp_path / "plugins")


def test_an_object_version_that_cannot_be_read_is_a_validation_error() -> None:
    from botocore.exceptions import ClientError

    class Empty:
        def head_object(self, **request: str) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")

    bucket = Bucket("arn:aws:s3:::shop", Empty())
    with pytest.raises(ValidationError, match=r"unable to read version 7 of plugins\.zip in bucket shop"):
        bucket.newest_versions({"PluginsS3Path": "plugins.zip", "PluginsS3ObjectVersion": "7"})


# Processes


def test_a_process_that_keeps_dying_is_started_ever_more_slowly() -> None:
    back_off = BackOff()
    started = [second for second in range(0, 200) if back_off.may_start("scheduler", float(second))]
    assert started[:4] == [0, 5, 20, 50]
    assert started[-1] - started[-2] == 60
    assert back_off.may_start("triggerer", 1.0)
    assert back_off.may_start("scheduler", 200.0 + FORGET_SECONDS)


def test_a_persons_shell_in_an_airflow_folder_is_not_taken_for_airflow(tmp_path: Path) -> None:
    import subprocess

    import psutil

    folder = tmp_path / "shop" / "airflow"
    folder.mkdir(parents=True)
    shell = subprocess.Popen(["sleep", "30"], cwd=folder)
    worker = subprocess.Popen(["airflow worker", "30"], executable="/bin/sleep", cwd=folder)
    try:
        # The kernel shows a process's arguments an instant after its start.
        seen = [psutil.Process(worker.pid), psutil.Process(shell.pid)]
        wait_until(lambda: _is_airflow(seen[0], folder), "the worker is recognised", seconds=5)
        wait_until(lambda: seen[1].cmdline() == ["sleep", "30"], "the shell has started", seconds=5)
        assert not _is_airflow(psutil.Process(worker.pid), tmp_path / "other")
        assert not _is_airflow(psutil.Process(shell.pid), folder)
    finally:
        for process in (shell, worker):
            process.kill()
            process.wait()


def test_postgresql_keeps_a_database_over_a_restart_and_lets_nobody_in_without_password(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    server = postgres.start(home)
    try:
        server.create("shop-blue")
        server.dump("shop-blue", tmp_path / "dump.sql")
        server.create("shop-green", tmp_path / "dump.sql")
        server.drop("shop-green")
        assert not postgres.Server(server.port, "wrong").answers()
        postgres.stop(home)
        assert postgres.start(home) == server
        assert server.exists("shop-blue")
        assert not server.exists("shop-green")
    finally:
        postgres.stop(home)
    assert json.loads((tmp_path / "state" / "postgres" / "server.json").read_text())["port"] == server.port
