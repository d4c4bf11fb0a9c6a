"""Processes of the local cloud: started once, found again, ended with their children, and only ours."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psutil
import pytest

from local.home import Home
from local.processes import (
    LOOPBACK,
    LocalError,
    all_running,
    clean_environ,
    ensure,
    find,
    free_port,
    kept_port,
    start,
    stop,
    wait_until,
)

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT = [sys.executable, "-c", f"import subprocess; subprocess.run({SLEEP!r})"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    find(home, "any")  # polls the ended children: nobody else does at the end of a pytest worker


def test_a_process_is_started_once_and_ended_with_its_children(home: Home) -> None:
    first = start(home, "sleeper", PARENT, env=clean_environ())
    again = start(home, "sleeper", PARENT, env=clean_environ())
    assert first.pid == again.pid
    process = first.process()
    assert process is not None
    wait_until(lambda: bool(process.children()), "the child", seconds=10, every=0.05)
    family = [process, *process.children(recursive=True)]
    stop(home, "sleeper", grace=0.5)
    assert not any(psutil.pid_exists(p.pid) and p.is_running() for p in family)
    assert all_running(home) == []


def test_a_process_that_has_just_been_started_is_known_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the kernel still executes it, a process has no environment."""
    reads, environ = count(), psutil.Process.environ
    monkeypatch.setattr(psutil.Process, "environ", lambda self: environ(self) if next(reads) > 1 else {})
    first = ensure(home, "sleeper", SLEEP, env=clean_environ())
    assert ensure(home, "sleeper", SLEEP, env=clean_environ()) == first
    stop(home, "sleeper", grace=0.5)


def test_a_process_is_kept_only_while_it_is_what_is_asked_for(home: Home) -> None:
    env = clean_environ(ROLE="old", NOTE="two\nlines = é")
    first = ensure(home, "sleeper", SLEEP, env=env)
    assert ensure(home, "sleeper", SLEEP, env=env) == first
    other_role = ensure(home, "sleeper", SLEEP, env=env | {"ROLE": "new"})
    assert other_role.pid != first.pid
    assert first.process() is None
    other_command = ensure(home, "sleeper", [*SLEEP, "--bucket", "new"], env=env | {"ROLE": "new"})
    assert other_command.pid != other_role.pid
    assert all_running(home) == [other_command]
    stop(home, "sleeper", grace=0.5)


def test_a_pid_that_belongs_to_somebody_else_now_is_neither_found_nor_ended(home: Home) -> None:
    record = {"name": "old", "pid": os.getpid(), "created": 1.0, "port": None, "log": "none"}
    (home.run / "old.json").write_text(json.dumps(record))
    stop(home, "old", grace=0.1)
    assert find(home, "old") is None
    assert not (home.run / "old.json").exists()


def test_a_process_that_ends_too_soon_is_reported_with_the_end_of_its_log(home: Home) -> None:
    process = start(
        home, "failing", [sys.executable, "-c", "raise SystemExit('no such colour')"], env=clean_environ()
    )
    with pytest.raises(LocalError, match="no such colour"):
        wait_until(lambda: False, "the server", seconds=20, process=process, every=0.05)


def test_waiting_ends_with_a_clear_error(home: Home) -> None:
    with pytest.raises(LocalError, match="the impossible: not ready after 0 s"):
        wait_until(lambda: False, "the impossible", seconds=0)


def test_a_port_is_kept_until_somebody_else_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "port"
    port = kept_port(file)
    assert kept_port(file, must_be_free=True) == port
    with socket.socket() as taken:
        taken.bind((LOOPBACK, port))
        taken.listen()
        assert kept_port(file) == port
        other = kept_port(file, must_be_free=True)
    assert other != port
    assert kept_port(file) == other
    assert free_port() > 0


def test_a_child_sees_nothing_of_the_callers_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AIRFLOW_HOME", "PULUMI_ACCESS_TOKEN", "PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "mine")
    shown = subprocess.run(
        [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
        env=clean_environ(AWS_REGION="us-east-1"),
        capture_output=True,
        text=True,
        check=True,
    )
    environ = json.loads(shown.stdout)
    assert "mine" not in environ.values()
    assert environ["AWS_REGION"] == "us-east-1"
