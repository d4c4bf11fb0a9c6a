"""Starting, finding and ending the local cloud's processes - by pid, and only our own.

Each started process has a record `<home>/run/<name>.json`. A pid may have been reused by another program, so
the record also holds the process's start time, and both must match.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from local.home import CHECKOUT, Home

LOOPBACK = "127.0.0.1"


_children: list[subprocess.Popen[bytes]] = []  # polled, or ended ones stay as zombies


class LocalError(Exception):
    """Something the user can fix; the message says what, where and how."""


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """One process or thread at a time, those of other homes that share the tools included."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Started:
    """A running process: its record in `<home>/run`."""

    name: str
    pid: int
    created: float  # seconds since the epoch, from the kernel
    port: int | None
    log: str

    def process(self) -> psutil.Process | None:
        """The live process; None if it has ended (or its pid has been reused)."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) > 1 or process.status() == psutil.STATUS_ZOMBIE:
                return None
            return process
        except psutil.NoSuchProcess:
            return None

    def runs(self, command: Sequence[str | Path], env: Mapping[str, str]) -> bool:
        """Whether it is alive and was started with exactly this command and environment."""
        process = self.process()
        try:
            # Asked from the kernel: a record of ours could be older than the process, or newer.
            return process is not None and (process.cmdline(), process.environ()) == (
                [str(c) for c in command],
                dict(env),
            )
        except psutil.Error:  # it has just ended
            return False


def free_port() -> int:
    with socket.socket() as s:
        s.bind((LOOPBACK, 0))
        port: int = s.getsockname()[1]
        return port


def kept_port(file: Path, *, must_be_free: bool = False) -> int:
    """The port recorded in `file`; if there is none or it is in use, a free one, which is then recorded."""
    if file.exists():
        port = int(file.read_text())
        if not must_be_free or is_free(port):
            return port
    port = free_port()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(str(port))
    return port


def is_free(port: int) -> bool:
    """Whether nothing listens on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def start(
    home: Home,
    name: str,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    port: int | None = None,
    cwd: Path | None = None,
) -> Started:
    """Start `command` in a session of its own, its output appended to `<home>/logs/<name>.log`.

    `env` is the whole environment. A process of that name that is still running is returned unchanged.
    """
    running = find(home, name)
    if running is not None:
        return running
    log = home.logs / f"{name}.log"
    with log.open("ab") as out:
        child = subprocess.Popen(
            [str(c) for c in command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C at `make local` must not reach processes that stay up
        )
    _children.append(child)
    process = psutil.Process(child.pid)
    record = Started(name, child.pid, process.create_time(), port, str(log))
    path = home.run / f"{name}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(record)))
    temporary.replace(path)
    with contextlib.suppress(psutil.Error):  # it has ended already
        while env and child.poll() is None and not process.environ():  # for a moment it has none
            time.sleep(0.01)
    return record


def ensure(
    home: Home,
    name: str,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    port: int | None = None,
) -> Started:
    """As `start`, but a process that runs with another command or environment is ended first."""
    running = find(home, name)
    if running is not None and not running.runs(command, env):
        stop(home, name)
    return start(home, name, command, env=env, port=port)


def run(command: Sequence[str], env: Mapping[str, str]) -> str:
    """Run a command in the checkout as a user would; return its stdout. Raises LocalError with its output."""
    done = subprocess.run(
        command, cwd=CHECKOUT, env=clean_environ(**env), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LocalError(f"{' '.join(command)} failed:\n{done.stdout.strip()}\n{done.stderr.strip()}")
    return done.stdout


def find(home: Home, name: str) -> Started | None:
    """The record of a running process, else None (a stale record is removed)."""
    _forget_ended_children()
    path = home.run / f"{name}.json"
    try:
        record = Started(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if record.process() is None:
        path.unlink(missing_ok=True)
        return None
    return record


def all_running(home: Home) -> list[Started]:
    return [r for p in sorted(home.run.glob("*.json")) if (r := find(home, p.stem)) is not None]


def stop(home: Home, *names: str, grace: float = 15, descendants: bool = True) -> None:
    """End processes (and descendants): SIGTERM to the roots, SIGKILL to those left after `grace` seconds."""
    records = [r for name in names if (r := find(home, name)) is not None]
    family: list[psutil.Process] = []
    roots: list[psutil.Process] = []
    for record in records:
        root = record.process()
        if root is None:
            continue
        roots.append(root)
        with contextlib.suppress(psutil.NoSuchProcess):
            family += [root, *(root.children(recursive=True) if descendants else ())]
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            root.terminate()
    _, alive = psutil.wait_procs(family, timeout=grace)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    _forget_ended_children()
    for record in records:
        (home.run / f"{record.name}.json").unlink(missing_ok=True)


def _forget_ended_children() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def tail(log: str | Path, lines: int = 15) -> str:
    try:
        return "\n".join(Path(log).read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def wait_until(
    ready: Callable[[], bool],
    what: str,
    *,
    seconds: float,
    process: Started | None = None,
    every: float = 0.3,
) -> None:
    """Poll until `ready()`. Raises LocalError on timeout, or at once if `process` ends."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process is not None and process.process() is None:
            raise LocalError(f"{what}: the process ended.\n{tail(process.log)}\n(whole log: {process.log})")
        if time.monotonic() > deadline:
            log = f"\n{tail(process.log)}\n(whole log: {process.log})" if process else ""
            raise LocalError(f"{what}: not ready after {seconds:.0f} s.{log}")
        time.sleep(every)


def answers(url: str, timeout: float = 2) -> bool:
    """Whether a GET is answered with a status below 500."""
    try:
        with urllib.request.urlopen(url, timeout=timeout):  # noqa: S310 - loopback URLs of ours
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def clean_environ(**extra: str) -> dict[str, str]:
    """A child's environment: the basics, without the caller's AWS, Airflow, Pulumi or Python settings."""
    keep = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    prefixes = ("UV_", "PIP_", "GO", "HTTP", "http", "NO_PROXY", "no_proxy", "MWAA_LOCAL_")
    kept = {k: v for k, v in os.environ.items() if k in keep or k.startswith(prefixes)}
    return {**kept, **extra}
