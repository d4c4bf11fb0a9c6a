"""Real Airflows on this machine, as the checkout's `local` package installs them (`make local` does, too).

`mwaactl` may be installed alone, and `local` is a part of a checkout only: it runs in a process of the
checkout's own Python.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mwaactl.dag_check import inside
from mwaactl.dag_check.model import DagFacts, ImportFailure, Installed, Packaged, VersionCheck
from mwaactl.dags.masked import masked
from mwaactl.errors import CheckFailed, Unreachable, UsageError
from mwaactl.stack import find_project

# Of every environment (components/airflow/plugins.py); without a stack, nothing else is known.
OPENLINEAGE = "apache-airflow-providers-openlineage\nopenlineage-python\n"
# Pinned in every environment (components/airflow/configuration.py): instants depend on them.
OPTIONS = {
    "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "50",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__SCHEDULER__CATCHUP_BY_DEFAULT": "False",
    "AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS": "True",
}
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
# What DAG files may need of their environment; a variable or connection for the check is given so.
PASSED_ON_PREFIXES = ("AIRFLOW_VAR_", "AIRFLOW_CONN_", "AIRFLOW__")
GATE = (
    "airflow_local_settings.py",
    "bluegreen_plugin.py",
    "bluegreen_policy",
)  # judges tasks, defines nothing
# Frames of a lookup that has found nothing, since the check has no database and no secrets.
LOOKUPS = (
    "airflow/models/variable.py",
    "airflow/models/connection.py",
    "airflow/hooks/base.py",
    "airflow/sdk/definitions/variable.py",
    "airflow/sdk/definitions/connection.py",
    "airflow/sdk/execution_time/context.py",
)
IMPORTS_WITHIN = 600  # seconds, of the whole folder


class Checkout:
    """The checkout whose `local` package installs Airflows."""

    def __init__(self, start: Path | None = None) -> None:
        """Find it. Raises UsageError if there is none that is set up."""
        self.folder = find_project(start)
        self._python = self.folder / ".venv" / "bin" / "python"
        if not (self.folder / "local" / "airflow" / "checks.py").is_file():
            raise UsageError(
                f"{self.folder} has no `local` package, which installs Airflow: name a checkout of "
                "mwaa-openlineage with --cwd"
            )
        if not self._python.exists():
            raise UsageError(f"{self.folder} is not set up. Run there: make .venv/.synced")

    def installed(self, version: str, requirements: str) -> Path | None:
        """The Python of an Airflow with these requirements, if it is installed."""
        return self._ask(version, requirements, "--find").python

    def install(self, version: str, requirements: str) -> Path:
        """The same, installed if it was not. Raises CheckFailed if the requirements cannot be."""
        installed = self.try_to_install(version, requirements)
        if installed.python is None:
            raise CheckFailed(
                f"the requirements cannot be installed with Airflow {version}: {installed.problem}"
            )
        return installed.python

    def try_to_install(self, version: str, requirements: str) -> Installed:
        """The same, with the reason if the requirements cannot be installed. Raises Unreachable."""
        return self._ask(version, requirements)

    def wheels(self, version: str, requirements: str, python: str, folder: Path) -> Packaged:
        """Fetch the wheels of these requirements into the folder. Raises Unreachable."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "requirements.txt"
            file.write_text(requirements)
            arguments = ["wheels", version, str(file), str(folder.resolve()), "--python", python]
            return Packaged.model_validate(self._local(arguments))

    def _ask(self, version: str, requirements: str, *options: str) -> Installed:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "requirements.txt"
            file.write_text(requirements)
            return Installed.model_validate(self._local(["airflow", version, str(file), *options]))

    def _local(self, arguments: Sequence[str]) -> dict[str, Any]:
        done = subprocess.run(  # noqa: S603 - no shell, and the checkout's own program
            [str(self._python), "-m", "local", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = masked(done.stderr.strip().removeprefix("error: "))
            raise Unreachable(said or "`python -m local` failed")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


def check_version(
    version: str, python: Path, dags: Path, since: datetime, plugins: Path | None
) -> VersionCheck:
    """What this Airflow makes of a folder. Raises Unreachable if it does not get so far."""
    with tempfile.TemporaryDirectory(prefix="dags-check-") as home:
        environ = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environ |= {name: text for name, text in os.environ.items() if name.startswith(PASSED_ON_PREFIXES)}
        environ |= OPTIONS | {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(_own_plugins(plugins, Path(home))),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/none.db",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        answer = Path(home) / "answer.json"
        command = [str(python), inside.__file__, str(dags), since.isoformat(), str(answer)]
        try:
            done = subprocess.run(  # noqa: S603
                command,
                env=environ,
                cwd=home,
                stdout=subprocess.DEVNULL,  # of the DAG files
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
                timeout=IMPORTS_WITHIN,
            )
        except subprocess.TimeoutExpired as error:
            raise CheckFailed(f"Airflow {version} did not import {dags} in {IMPORTS_WITHIN} s") from error
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise CheckFailed(f"Airflow {version} ends while it imports the folder: {last}")
        told = json.loads(answer.read_bytes())
    return VersionCheck(
        airflow_version=version,
        python=told["python"],
        import_errors=tuple(_failure(file, text) for file, text in sorted(told["import_errors"].items())),
        dags={dag_id: DagFacts.model_validate(facts) for dag_id, facts in sorted(told["dags"].items())},
    )


def _failure(file: str, text: str) -> ImportFailure:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    unknown = any(place in text for place in LOOKUPS)
    return ImportFailure(
        file=file, message=lines[-1] if lines else "no message", traceback=text, unknown=unknown
    )


def _own_plugins(plugins: Path | None, home: Path) -> Path:
    """A copy of the project's plugins without the gate: what DAGs import, custom timetables."""
    target = home / "plugins"
    if plugins is None or not plugins.is_dir():
        target.mkdir()
        return target
    shutil.copytree(
        plugins,
        target,
        ignore=lambda _, names: {name for name in names if name.startswith(GATE) or name == "__pycache__"},
    )
    return target
