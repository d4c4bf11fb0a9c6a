"""`dags check` without an Airflow, and before a push. tests/e2e/long/test_dags_check.py has real ones."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mwaactl.dag_check import airflows
from mwaactl.dag_check.airflows import Checkout, check_version
from mwaactl.dag_check.check import failed, special
from mwaactl.dag_check.model import CheckResult, DagFacts, ImportFailure, Installed, TaskFacts, VersionCheck
from mwaactl.errors import CheckFailed, UsageError
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients
from tests.fakes.mwaactl.commands import Command, output

SINCE = datetime(2026, 11, 23, tzinfo=UTC)


def facts(**changes: Any) -> DagFacts:
    standard: dict[str, Any] = {
        "file": "daily.py",
        "schedule": "@daily",
        "timetable": "airflow.timetables.interval.CronDataIntervalTimetable",
        "due": ("2026-11-24T00:00:00+00:00",),
        "catchup": False,
        "max_active_runs": 16,
        "max_active_tasks": 16,
        "watchers": (),
        "tasks": (),
    }
    return DagFacts(**(standard | changes))


def task(**changes: Any) -> TaskFacts:
    standard: dict[str, Any] = {"task_id": "t", "operator": "BashOperator", "template_fields": ()}
    standard |= {"names": None, "depends_on_past": False, "wait_for_downstream": False}
    return TaskFacts(**(standard | {"pool": "default_pool", "pool_slots": 1} | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"max_active_runs": 1}, "serial (one run or task at a time): it moves when it is idle"),
        ({"max_active_tasks": 1}, "serial (one run or task at a time): it moves when it is idle"),
        ({"tasks": (task(depends_on_past=True),)}, "serial (its runs depend on the previous one)"),
        ({"tasks": (task(wait_for_downstream=True),)}, "serial (its runs depend on the previous one)"),
        (
            {"tasks": (task(template_fields=("external_dag_id",), names="etl"),)},
            "waits for etl: they move together",
        ),
        ({"tasks": (task(template_fields=("external_dag_id",), names="x"),)}, None),  # itself
        (
            {
                "tasks": (
                    task(template_fields=("external_dag_id",), names="etl", operator="ExternalTaskMarker"),
                )
            },
            None,
        ),
        ({"watchers": ("queue",)}, "its assets have watchers (queue)"),
        ({"schedule": "Asset"}, "triggered by assets"),
        ({"timetable": "calendars.Workdays"}, "a timetable of its own (calendars.Workdays)"),
        ({"schedule": "@continuous"}, "its instants count from the first parsing"),
    ],
)
def test_what_a_switch_treats_unlike_others(changes: dict[str, Any], reason: str | None) -> None:
    reasons = list(special("x", facts(**changes)))
    assert [each[: len(reason or each)] for each in reasons] == ([reason] if reason else [])


def test_a_lookup_that_found_nothing_is_no_verdict() -> None:
    known = ImportFailure(file="a.py", message="KeyError", traceback="")
    lost = known.model_copy(update={"file": "b.py", "unknown": True})

    def result(*errors: ImportFailure) -> CheckResult:
        version = VersionCheck(airflow_version="3.3.1", python="3.12.1", import_errors=errors)
        return CheckResult(folder="dags", since=SINCE, versions=(version,))

    assert failed(result(lost)) is None
    assert "Airflow 3.3.1: a.py: KeyError" in str(failed(result(known, lost)))
    assert "b.py" not in str(failed(result(known, lost)))


def program(tmp_path: Path, body: str) -> Path:
    """Something that stands for Airflow's Python."""
    file = tmp_path / "python"
    told = "def tell(answer):\n    with open(sys.argv[-1], 'w') as file:\n        json.dump(answer, file)\n"
    file.write_text(f"#!{sys.executable}\nimport json, os, sys\n{told}{body}\n")
    file.chmod(0o755)
    return file


def test_an_airflow_gets_the_projects_plugins_without_the_gate_and_nothing_of_the_operators_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = tmp_path / "plugins"
    (plugins / "bluegreen_policy-1.dist-info").mkdir(parents=True)
    for name in ("airflow_local_settings.py", "bluegreen_plugin.py", "calendars.py"):
        (plugins / name).write_text("")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AIRFLOW_VAR_X", "1")
    told = (
        "place = os.environ['AIRFLOW__CORE__PLUGINS_FOLDER']\n"
        "seen = sorted(os.listdir(place)) + [name for name in os.environ if name in "
        "('AIRFLOW_VAR_X', 'AWS_SECRET_ACCESS_KEY')]\n"
        "tell({'python': ' '.join(seen), 'import_errors': {'b.py': 'NameError: y'}, 'dags': {}})\n"
        "os.write(1, b'bye \\xff')\n"
        "sys.exit(3)"  # of a DAG file's own end
    )
    done = check_version("3.3.1", program(tmp_path, told), tmp_path, SINCE, plugins)
    assert done.python == "calendars.py AIRFLOW_VAR_X"
    assert done.import_errors[0].message == "NameError: y"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("sys.exit('Segmentation fault')", "ends while it imports the folder: Segmentation fault"),
        ("os._exit(0)", "ends while it imports the folder: exit code 0"),
        (r"os.write(2, b'caf\xe9'); os._exit(3)", "ends while it imports the folder: caf\ufffd"),
        ("os._exit(3)", "ends while it imports the folder: exit code 3"),
        ("import time; time.sleep(60)", "did not import"),
    ],
)
def test_an_airflow_that_ends_or_hangs_is_a_failed_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, why: str
) -> None:
    monkeypatch.setattr(airflows, "IMPORTS_WITHIN", 1)
    with pytest.raises(CheckFailed, match=why):
        check_version("3.3.1", program(tmp_path, body), tmp_path, SINCE, None)


def test_a_folder_without_a_checkout_is_named(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("")
    with pytest.raises(UsageError, match="has no `local` package"):
        Checkout(tmp_path)


# --- before a push ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "daily.py").write_text("x = 1\n")
    return tmp_path / "dags"


@pytest.fixture
def says(
    run: Command, aws: FakeClients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, str]], None]:
    """Lets the stack's Airflow say that it cannot import these files."""
    for name in (BLUE, GREEN):
        aws.s3.buckets[f"{name}-dags"].put("requirements.txt", b"requests\n")

    def answer(errors: dict[str, str]) -> None:
        python = program(tmp_path, f"tell({ {'python': '3.12.1', 'import_errors': errors, 'dags': {}}!r})")
        monkeypatch.setattr(
            Checkout,
            "_ask",
            lambda _, version, text, *options: Installed(
                version=version, python=python if text == "requests\n" else None
            ),
        )

    return answer


def test_a_push_imports_the_files_first_where_an_airflow_is_installed(
    run: Command, says: Callable[[dict[str, str]], None], folder: Path, aws: FakeClients
) -> None:
    says({"daily.py": "Traceback\nNameError: name 'x' is not defined"})
    result = run("dags", "push", str(folder), "--json")
    assert result.exit_code == 1
    error = output(result)["error"]
    assert error.startswith(
        "nothing was uploaded; these DAG files cannot be imported: Airflow 3.0.6: daily.py"
    )
    assert error.endswith("To push them all the same: --no-check")
    assert aws.s3.written == []
    assert run("dags", "push", str(folder), "--no-check").exit_code == 0
    assert aws.s3.buckets[f"{GREEN}-dags"].keys("dags/") == ["dags/daily.py"]
    says({})
    assert output(run("dags", "push", str(folder), "--json"))["unchecked"] is None


def test_a_push_says_so_where_no_airflow_is_installed(run: Command, folder: Path, aws: FakeClients) -> None:
    for name in (BLUE, GREEN):
        aws.s3.buckets[f"{name}-dags"].put("requirements.txt", b"requests\n")
    shown = run("dags", "push", str(folder)).stdout
    assert "no Airflow with the stack's requirements is installed here" in shown
    assert "To do so: mwaactl dags check" in shown


def test_a_dry_run_imports_nothing_and_says_why(run: Command, folder: Path) -> None:
    for options, why in (((), "--dry-run"), (("--no-check",), "--no-check")):
        assert output(run("dags", "push", str(folder), "--dry-run", *options, "--json"))["unchecked"] == why


def test_a_check_uses_the_stacks_versions_and_requirements(
    run: Command, says: Callable[[dict[str, str]], None], folder: Path
) -> None:
    says({"daily.py": "x\nNameError: y"})
    result = run("dags", "check", str(folder), "--json")
    assert result.exit_code == 1
    assert [each["airflow_version"] for each in output(result)["versions"]] == ["3.0.6"]
    shown = run("dags", "check", str(folder)).stdout
    assert "  daily.py: NameError: y" in shown


def test_ruffs_findings_are_those_of_the_files_that_airflow_loads(
    run: Command, says: Callable[[dict[str, str]], None], folder: Path
) -> None:
    says({})
    code = "from airflow import DAG\nDAG('x', schedule_interval='@daily')\n"
    for name in ("daily.py", "daily.pyi"):
        (folder / name).write_text(code)
    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": [code],
    }
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    (folder / "daily.ipynb").write_text(json.dumps(notebook))
    findings = output(run("dags", "check", str(folder), "--json"))["findings"]
    assert {(each["file"], each["line"]) for each in findings} == {("daily.py", 2)}
    assert "AIR301" in {each["rule"] for each in findings}


def test_requirements_that_amazon_would_not_install_fail_the_check(
    run: Command, aws: FakeClients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def ask(_: Checkout, version: str, text: str, *options: str) -> Installed:
        asked.append((version, text, *options))
        if version.startswith("2"):
            why = "no version of x fits, see https://ci:s3cr3t@pypi.example.com/x"
            return Installed(version=version, python=None, problem=why)
        return Installed(version=version, python=tmp_path, changes=("+ x==1.0",))

    monkeypatch.setattr(Checkout, "_ask", ask)
    (tmp_path / "requirements.txt").write_text("x\n")
    options = ("--airflow-version", "3.3.1", "--airflow-version", "2.11.2")
    result = run("requirements", "check", str(tmp_path / "requirements.txt"), *options)
    assert result.exit_code == 1
    assert "no version of x fits, see https://****@pypi.example.com/x" in result.stdout
    assert "  + x==1.0\n" in result.stdout
    assert "Airflow 2.11.2 would start without any of these requirements" in result.stderr
    lines = "apache-airflow-providers-openlineage\nopenlineage-python\nx\n"
    assert asked == [("2.11.2", lines), ("3.3.1", lines)], "the program adds the first two"
    assert run("requirements", "check", "--airflow-version", "three").exit_code == 2


def test_a_check_for_a_stack_loads_the_plugins_that_it_has(
    run: Command, aws: FakeClients, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("of_a_team.py", "bluegreen_plugin.py", "../outside.py", f"{tmp_path}/slipped.py"):
            archive.writestr(name, "z = 1\n")
    for name in (BLUE, GREEN):
        aws.s3.buckets[f"{name}-dags"].versions["plugins.zip", "v1"] = packed.getvalue()
        aws.s3.buckets[f"{name}-dags"].put("requirements.txt", b"")
    python = program(
        tmp_path,
        "seen = ' '.join(os.listdir(os.environ['AIRFLOW__CORE__PLUGINS_FOLDER']))\n"
        "tell({'python': seen, 'import_errors': {}, 'dags': {}})",
    )
    monkeypatch.setattr(Checkout, "_ask", lambda _, version, *__: Installed(version=version, python=python))
    (version,) = output(run("dags", "check", str(folder), "--json"))["versions"]
    assert version["python"] == "of_a_team.py"
    assert not (tmp_path / "slipped.py").exists()


# --- inside an Airflow ---


AIRFLOW = """
import atexit, os
class DagBag:
    def __init__(self, folder, **options):
        self.dags = {}
        self.import_errors = {f"{folder}/a.py": "ValueError: \\ud800", f"{folder}/b.py": "caf\xe9"}
        print("hello")
        atexit.register(lambda: os.write(1, b"bye \\xff"))
"""


def test_what_dag_files_print_is_no_answer(tmp_path: Path) -> None:
    package = tmp_path / "airflow" / "dag_processing"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "dagbag.py").write_text(AIRFLOW, encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nPYTHONPATH='{tmp_path}' exec '{sys.executable}' \"$@\"\n")
    python.chmod(0o755)
    (tmp_path / "dags").mkdir()
    done = check_version("3.3.1", python, tmp_path / "dags", SINCE, None)
    assert {each.file: each.message for each in done.import_errors} == {
        "a.py": "ValueError: ?",
        "b.py": "caf\xe9",
    }
    assert done.python == ".".join(map(str, sys.version_info[:3]))
    done.model_dump_json()
