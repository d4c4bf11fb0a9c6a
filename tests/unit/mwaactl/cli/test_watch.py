"""`mwaactl status --watch`: one look after another, until Ctrl-C."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mwaactl.deployment import Deployment
from mwaactl.errors import Unusable
from mwaactl.switching import status
from tests.fakes.aws.clients import FakeClients
from tests.fakes.mwaactl.commands import Command

ROOT = Path(__file__).resolve().parents[4]
# For a real terminal: a freshly deployed stack, of whose looks each second one fails. Pauses are short.
PROGRAM = """
import itertools, signal, sys, time
from mwaactl import clock
from mwaactl.cli.app import app
from mwaactl.deployment import Deployment
from mwaactl.errors import Unusable
from mwaactl.switching import status
from tests.fakes.aws.clients import deployment, fresh_clients

Deployment.open = lambda stack, *_: deployment(fresh_clients())
observe, looks = status.status, itertools.count()

def look(deployment):
    if next(looks) % 2:
        raise Unusable("the parameter cannot be used")
    return observe(deployment)

status.status = look
clock.sleep = lambda seconds: time.sleep(seconds / 20)
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
app(["status", "--watch", *sys.argv[1:]])
"""


def interrupted(monkeypatch: pytest.MonkeyPatch, aws: FakeClients, looks: int) -> list[float]:
    """Ctrl-C after so many looks; the pauses are added to the list."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        aws.ssm.clock.forward(seconds)
        if len(pauses) == looks:
            raise KeyboardInterrupt

    monkeypatch.setattr("mwaactl.clock.sleep", sleep)
    return pauses


def test_each_look_is_a_line_of_json(run: Command, aws: FakeClients, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = interrupted(monkeypatch, aws, 3)
    result = run("status", "--watch", "--json")
    looks = [json.loads(line) for line in result.stdout.splitlines()]
    assert [look["at"] for look in looks] == [f"2026-11-23T10:0{at}.000Z" for at in ("0:00", "0:30", "1:00")]
    assert {look["ownership"]["owner"] for look in looks} == {"blue"}
    assert (result.exit_code, pauses) == (0, [30, 30, 30])


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look fails, the second does not."""
    looks = itertools.count()
    observe = status.status

    def look(deployment: Deployment) -> status.Status:
        if next(looks) == 0:
            raise Unusable("the parameter cannot be used")
        return observe(deployment)

    monkeypatch.setattr(status, "status", look)


@pytest.mark.usefixtures("failing")
def test_a_look_that_fails_is_shown_and_the_next_one_comes(
    run: Command, aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, aws, 2)
    result = run("status", "--watch", "--json")
    failed, passed = map(json.loads, result.stdout.splitlines())
    assert failed == {
        "at": "2026-11-23T10:00:00.000Z",
        "error": "the parameter cannot be used",
        "exit_code": 6,
    }
    assert (passed["ownership"]["owner"], result.exit_code) == ("blue", 0)


@pytest.mark.usefixtures("failing")
def test_without_a_terminal_the_looks_stand_one_below_the_other(
    run: Command, aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, aws, 3)
    result = run("status", "--watch", "--every", "60")
    assert [line for line in result.stdout.splitlines() if line.startswith("---")] == [
        "--- 2026-11-23T10:00:00.000Z: this look failed: the parameter cannot be used",
        "--- 2026-11-23T10:01:00.000Z",
        "--- 2026-11-23T10:02:00.000Z",
    ]
    assert result.stdout.count("blue has owned the scheduled work") == 2
    assert result.exit_code == 0


def test_its_looks_leave_most_of_the_quota_to_others(
    run: Command, aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = interrupted(monkeypatch, aws, 2)
    run("status", "--watch", "--json")
    assert len(aws.mwaa.asked) / sum(pauses) < 2, "calls a second; Amazon allows an account 10"


def test_looking_more_often_than_the_quota_bears_is_refused(run: Command) -> None:
    assert run("status", "--watch", "--every", "1").exit_code == 2
    assert run("status", "--every", "60").exit_code == 2, "without --watch there is no next look"


@contextmanager
def on_a_terminal(lines: int, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command on a terminal of so many lines; the process, and the terminal's other end."""
    # pytest-xdist says how wide its own terminal is, which Rich believes rather than this one
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *options],
        cwd=ROOT,
        env=environ | {"TERM": "xterm", "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, *texts: str, seconds: float = 60) -> str:
    """What the terminal shows until all of these are there, without escape sequences."""
    raw, shown, end = b"", "", time.monotonic() + seconds
    while not all(text in shown for text in texts) and (chunk := read(terminal, end)):
        raw += chunk  # a read may end within a sequence
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw.decode(errors="replace"))
    assert [text for text in texts if text not in shown] == []
    return shown


def rest(terminal: int) -> str:
    shown, end = b"", time.monotonic() + 60
    with suppress(OSError):  # the process has ended
        while chunk := read(terminal, end):
            shown += chunk
    return shown.decode(errors="replace")


def read(terminal: int, end: float) -> bytes:
    """What comes next; nothing if that is not before `end`."""
    ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
    return os.read(terminal, 65536) if ready else b""


def test_ctrl_c_ends_it_with_0_and_leaves_the_last_status() -> None:
    with on_a_terminal(100) as (process, terminal):
        read_until(terminal, "Ctrl-C ends this", "A switch to green now", "blue has owned the scheduled work")
        process.send_signal(signal.SIGINT)
        left = rest(terminal)
        assert process.wait(30) == 0
    assert "As of 20" in left
    assert "Traceback" not in left


def test_a_failed_look_stands_above_the_last_status_in_a_window_that_is_too_small() -> None:
    with on_a_terminal(12, "--every", "60") as (
        process,
        terminal,
    ):  # each look stands for 3 s, drawn each 1 s
        read_until(
            terminal,
            "more lines: make the window higher",
            "the parameter cannot be used. What is below",
            "blue has owned the scheduled work",
        )
        process.send_signal(signal.SIGINT)
        rest(terminal)
        assert process.wait(30) == 0
