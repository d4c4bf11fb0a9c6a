"""`mwaactl dags check` with real Airflows, as an operator types it; no AWS, no stack."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.home import CHECKOUT, Home

OLD, NEW = "2.11.2", "3.3.1"
FILES = {
    "daily.py": """
from airflow.decorators import dag, task
from tools import START

@dag(schedule="@daily", start_date=START, max_active_runs=1)
def daily():
    @task
    def work(): ...
    work()
daily()
""",
    "delta.py": """
from datetime import timedelta
from airflow import DAG
from tools import START

dag = DAG("delta", schedule=timedelta(hours=1), start_date=START)
""",
    "new_only.py": """
from airflow.sdk import DAG, Variable
from tools import START

dag = DAG("new_only", schedule=None, start_date=START)
""",
    "old_only.py": """
from airflow import DAG
from airflow.utils.dates import days_ago

dag = DAG("old_only", schedule=None, start_date=days_ago(1))
""",
    "asks.py": """
from airflow import DAG
from airflow.models import Variable
from tools import START

dag = DAG("asks", schedule=Variable.get("when"), start_date=START)
""",
    "moves.py": """
from airflow import DAG, __version__
from tools import START

dag = DAG("moves", schedule="@daily" if __version__ < "3" else "30 1 * * *", start_date=START)
""",
    "waits.py": """
from airflow import DAG
from airflow.sensors.external_task import ExternalTaskSensor
from tools import START

with DAG("waits", schedule="@daily", start_date=START):
    ExternalTaskSensor(task_id="wait", external_dag_id="daily")
""",
    "tools.py": "from datetime import datetime\nSTART = datetime(2026, 1, 1)\n",
    "broken_template.py": "{{ airflow dag }}}\n",
    ".airflowignore": "broken_template.py\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dags")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def check(folder: Path, *arguments: str, **environ: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [str(CHECKOUT / ".venv" / "bin" / "mwaactl"), "dags", "check", str(folder), "--json", *arguments],
        cwd=CHECKOUT,
        env=os.environ | {"MWAA_LOCAL_TOOLS": str(Home.find().tools)} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def answer(folder: Path) -> dict[str, Any]:
    code, answer = check(folder, "--airflow-version", NEW, "--airflow-version", OLD)
    assert code == 1
    return answer


def test_each_version_says_what_it_cannot_import(answer: dict[str, Any]) -> None:
    old, new = answer["versions"]
    assert (old["airflow_version"], new["airflow_version"]) == (OLD, NEW)
    files = [
        {error["file"]: error["unknown"] for error in version["import_errors"]} for version in (old, new)
    ]
    assert files[0] == {"asks.py": True, "new_only.py": False}
    assert files[1] == {"asks.py": True, "old_only.py": False}
    assert "new_only.py: ModuleNotFoundError: No module named 'airflow.sdk'" in answer["error"]
    assert "asks.py" not in answer["error"], "nobody knows"


def test_what_differs_between_the_versions_is_named(answer: dict[str, Any]) -> None:
    changes = {(each["dag_id"], each["what"]) for each in answer["changes"]}
    assert ("new_only", f"not on Airflow {OLD}") in changes
    assert ("old_only", f"not on Airflow {NEW}") in changes
    moved = [what for dag_id, what in changes if dag_id == "moves"]
    assert "the schedule is 0 0 * * * before, and 30 1 * * * then" in moved
    assert [
        what
        for what in moved
        if re.fullmatch(r"due instants differ: .*T00:00.* before, .*T01:30.* then", what)
    ]
    same = ("daily", "waits", "delta")
    assert not [each for each in changes if each[0] in same], "the pinned options keep them"


def test_what_a_switch_treats_unlike_others_is_named(answer: dict[str, Any]) -> None:
    assert answer["special"]["daily"] == ["serial (one run or task at a time): it moves when it is idle"]
    assert answer["special"]["waits"] == ["waits for daily: they move together"]


def test_ruff_says_what_the_next_major_version_has_moved(answer: dict[str, Any]) -> None:
    found = {(each["file"], each["rule"]) for each in answer["findings"]}
    assert ("old_only.py", "AIR301") in found


def test_a_variable_may_be_given_and_the_rest_is_then_judged(folder: Path) -> None:
    _, answer = check(folder, "--airflow-version", NEW, AIRFLOW_VAR_WHEN="@hourly")
    (version,) = answer["versions"]
    assert "asks.py" not in {error["file"] for error in version["import_errors"]}
    assert len(version["dags"]["asks"]["due"]) == 5


def test_the_projects_own_dags_pass(tmp_path: Path) -> None:
    code, answer = check(CHECKOUT / "dags", "--airflow-version", NEW)
    assert (code, answer["versions"][0]["import_errors"]) == (0, [])


def test_requirements_that_cannot_be_installed_are_explained(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "requirements.txt"
    bad.write_text("requests==2.0.0\n")  # the constraints have another
    code, answer = check(folder, "--airflow-version", NEW, "--requirements", str(bad))
    assert code == 1
    assert f"the requirements cannot be installed with Airflow {NEW}" in answer["error"]
    assert "requests" in answer["error"]


def test_requirements_are_installed_and_what_they_change_is_shown(tmp_path: Path) -> None:
    lines = tmp_path / "requirements.txt"
    lines.write_text("cowsay\n")
    done = subprocess.run(
        [
            *(str(CHECKOUT / ".venv" / "bin" / "mwaactl"), "requirements", "check", str(lines)),
            *("--airflow-version", NEW, "--json"),
        ],
        cwd=CHECKOUT,
        env=os.environ | {"MWAA_LOCAL_TOOLS": str(Home.find().tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    (version,) = json.loads(done.stdout)["versions"]
    assert done.returncode == 0, version
    names = {line.split("==")[0] for line in version["changes"]}
    assert {"+ cowsay", "+ openlineage-python"} <= names
