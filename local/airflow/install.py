"""Airflow's code and its empty database, per version and per environment.

Per version and machine (below `Home.tools`): a virtual environment with what MWAA's image has, compiled, and
a dump of a migrated database. Per environment: a hard-linked copy of the former, with the customer's
requirements on top, and a database filled from the latter. Both take about a second.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version

from local import processes
from local.airflow import locks
from local.airflow.config import PASSWORD, USER
from local.aws.postgres import Server
from local.home import Home
from local.processes import LocalError, alone
from local.uv import uv

INSTALL_SECONDS = 540  # MWAA's limit for the customer's requirements
# Packages whose version no requirements.txt can change on MWAA (prefixes of names):
ESSENTIAL = re.compile(
    r"(apache-airflow==|apache-airflow-(core|task-sdk)==|flask|gunicorn|billiard|celery|gevent|greenlet|kombu|"
    r"vine|sqlalchemy|statsd|watchtower|fluent-logger)"
)


class Image:
    """One Airflow version on this machine, with the packages of MWAA's image."""

    def __init__(self, home: Home, version: str) -> None:
        """Look up the version's lock. Raises LocalError if there is none."""
        if version not in locks.VERSIONS:
            raise LocalError(
                f"Airflow {version} does not run on this machine; "
                f"there are locks for {', '.join(locks.VERSIONS)}."
            )
        self.version = version
        self._home = home
        digest = hashlib.sha256(locks.image(version).encode()).hexdigest()[:10]
        self.folder = home.tools / "airflow" / f"{version}-{digest}"
        self.venv = self.folder / "venv"
        self.schema = self.folder / "schema.sql"

    def install(self) -> None:
        """Install the image's packages unless they are installed. Raises LocalError."""
        with alone(self.folder / "lock"):
            if self.venv.exists():
                return
            unfinished = self.folder / "venv.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            packages = self.folder / "image.txt"
            packages.write_text(locks.image(self.version))
            self._uv(
                "venv", "--quiet", "--relocatable", "--python", locks.python(self.version), str(unfinished)
            )
            self._uv(
                *("pip", "install", "--quiet", "--python", str(unfinished / "bin" / "python")),
                *("--no-deps", "--require-hashes", "--compile-bytecode", "-r", str(packages)),
            )
            unfinished.rename(self.venv)

    def dump_schema(self, server: Server, environ: Mapping[str, str]) -> None:
        """Dump a migrated, empty database unless there is one.

        `environ`: variables of any environment of this version.
        """
        with alone(self.folder / "lock"):
            if self.schema.exists():
                return
            database = f"schema-{self.version}"
            server.drop(database)
            server.create(database)
            self.migrate(server.url(database), environ)
            if Version(self.version).major < 3:
                names = ("--username", USER, "--password", PASSWORD, "--email", "admin@example.com")
                user = (*names, "--firstname", USER, "--lastname", USER, "--role", "Admin")
                self._airflow(server.url(database), environ, "users", "create", *user)
            unfinished = self.schema.with_suffix(".new")
            server.dump(database, unfinished)
            unfinished.rename(self.schema)
            server.drop(database)

    def migrate(self, database_url: str, environ: Mapping[str, str]) -> None:
        """Migrate a database to this version; as on MWAA, without the customer's plugins and requirements.

        Raises LocalError.
        """
        self._airflow(database_url, environ, "db", "migrate")

    def downgrade(self, database_url: str, environ: Mapping[str, str], version: str) -> None:
        """Take a database of this version back to an older one. Raises LocalError."""
        self._airflow(database_url, environ, "db", "downgrade", "--to-version", version, "--yes")

    def copy_to(self, venv: Path) -> None:
        """Copy the image to a virtual environment of its own, with hard links where possible."""
        unfinished = venv.with_name(f"{venv.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(self.venv, unfinished, symlinks=True, copy_function=_link_or_copy)
        unfinished.rename(venv)

    def constraints(self, folder: Path, requirements: str) -> list[Path]:
        """The constraints files under which MWAA installs these requirements: all, or (when the
        requirements name constraints of their own) those of the packages that it cannot do without."""
        if not re.search(r"-c |--constraint ", requirements):
            return [locks.lock(self.version)]
        essential = folder / "essential-constraints.txt"
        lines = locks.lock(self.version).read_text().splitlines()
        essential.write_text("\n".join(line.rstrip(" \\") for line in lines if ESSENTIAL.match(line)) + "\n")
        return [essential]

    def _airflow(self, database_url: str, environ: Mapping[str, str], *arguments: str) -> None:
        """Run `airflow <arguments>` until it exits, outside any environment's home."""
        settings = {
            **environ,
            "AIRFLOW_HOME": str(self.folder / "home"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        }
        command = [str(self.venv / "bin" / "python"), "-m", "airflow", *arguments]
        done = subprocess.run(
            command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            *before, last = [line.strip() for line in done.stdout.splitlines()[-8:]] or ["it printed nothing"]
            raise LocalError(f"`airflow {' '.join(arguments[:2])}` failed: {last}\n" + "\n".join(before))

    def _uv(self, *arguments: str) -> None:
        done = subprocess.run(
            [str(uv(self._home)), *arguments],
            env=processes.clean_environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalError(
                f"Airflow {self.version} could not be installed into {self.folder}:\n"
                f"{done.stderr.strip()[-2000:]}\n"
                "If the package registry could not be reached, try again; finished downloads are kept."
            )


def install_requirements(
    home: Home, venv: Path, requirements: Path, constraints: list[Path], log: Path
) -> bool:
    """Install the customer's requirements as MWAA does. False on failure, which is only logged."""
    command = [
        *(str(uv(home)), "pip", "install", "--python", str(venv / "bin" / "python"), "-r", str(requirements)),
        *(argument for file in constraints for argument in ("-c", str(file))),
        *("--index-strategy", "unsafe-best-match"),  # pip's way of choosing between indexes
    ]
    with log.open("w") as out:
        try:
            done = subprocess.run(
                command,
                env=processes.clean_environ(),
                cwd=requirements.parent,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            out.write(f"\nThe installation was aborted after {INSTALL_SECONDS} s.\n")
            return False
    return done.returncode == 0


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
