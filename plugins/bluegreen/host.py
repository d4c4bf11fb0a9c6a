"""What the processes of a host share: a folder of files, and one turn at a time to read SSM.

Each Airflow task is a process. What bounds the requests to AWS must therefore stand outside of them: in files
that only this user can write.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import stat
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import NamedTuple

# A read is given up after this; a process that dies while it reads holds its turn no longer.
READ_SECONDS = 6.0
READS_PER_SECOND = 5.0  # of all hosts of one environment: two stay below half of SSM's 40
URGENT = 3  # times as often the hosts read whose callers cannot wait: schedulers, which are few
FIRST_BACKOFF = 1.0  # seconds; doubled by each failure
LOCK_SECONDS = 0.2  # a lock is held for a file's write; after this, continue without it


def host_folder(directory: Path | None = None) -> Path | None:
    """The folder that this host's processes share; None if others can write into it."""
    folder = directory or Path(tempfile.gettempdir()) / f"bluegreen-{os.geteuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
            return folder
    return None


def write(file: Path, content: bytes) -> None:
    """Write a file at once, so that no reader sees a part. Raises OSError."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}-{threading.get_native_id()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(file)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def lock(file: Path | None) -> Iterator[None]:
    """Let one process of this host change `file` at a time; after LOCK_SECONDS, continue without the lock."""
    handle = None
    if file is not None:
        with suppress(OSError):
            handle = file.with_suffix(".lock").open("a")
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.005)
        yield
    finally:
        if handle is not None:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # a process that was forked meanwhile would keep it
            handle.close()


class Turn(NamedTuple):
    """From `since` to `until` (epoch seconds) nobody on this host begins to read; `reason` says why."""

    since: float
    until: float
    reason: str
    failures: int = 0  # in a row
    reading: bool = False  # a process reads just now: its answer may come at any moment
    mine: bool = False  # this process's own read has just failed


class Turns:
    """Who on this host may read, and when: one at a time, at most one read in `interval` seconds.

    After a failure nobody reads for a second, after the next for two, up to `pause`. `interval` grows with
    `hosts`, which share the environment's part of SSM's quota; 0 for no limit.
    """

    def __init__(self, file: Path | None, hosts: int, pause: float, clock: Callable[[], float]) -> None:
        self.interval = hosts / READS_PER_SECOND
        self._file = file
        self._pause = pause
        self._clock = clock
        self._own = Turn(0.0, 0.0, "")  # if there is no file

    def slot(self, instant: float) -> float:
        """From when on this host reads for what is due at `instant`: not all hosts at the same moment.

        The first fifth of the interval is left to the schedulers, which do not wait for a slot.
        """
        host = f"{gethostname()} {self._file} {instant}"
        return instant + self.interval * (0.2 + 0.8 * zlib.crc32(host.encode()) / 2**32)

    def take(self, *, urgent: bool = False) -> Turn | None:
        """Take the turn: None, and `succeeded` or `failed` must follow; else what must be waited for."""
        if turn := self._standing(urgent):
            return turn  # most look in vain: without a lock
        with lock(self._file):
            if turn := self._standing(urgent):
                return turn
            now, last = self._clock(), self._load()
            reason = "another process of this host reads" + (
                f", after {last.reason}" if last.failures else ""
            )
            self._save(Turn(now, now + READ_SECONDS, reason, last.failures, reading=True))
        return None

    def succeeded(self, started: float) -> None:
        """Record a read that started at `started` (epoch seconds)."""
        # less than the interval, so that hosts do not keep in step
        pause = self.interval * random.uniform(0.8, 1)  # noqa: S311 - jitter
        reason = f"this host reads once in {self.interval:.1f} s"
        with lock(self._file):
            self._save(Turn(started, started + pause, reason))

    def failed(self, reason: str) -> Turn:
        """Record a failure; return what everybody on this host waits for now."""
        with lock(self._file):
            now, failures = self._clock(), self._load().failures + 1
            pause = min(max(FIRST_BACKOFF * 2.0 ** min(failures - 1, 10), self.interval), self._pause)
            until = now + pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            turn = Turn(now, until, reason, failures)
            self._save(turn)
        return turn._replace(mine=True)

    def _standing(self, urgent: bool) -> Turn | None:
        """What must be waited for; None if it is anybody's turn."""
        turn = self._load()
        if urgent and not turn.failures and not turn.reading:
            turn = turn._replace(until=turn.since + (turn.until - turn.since) / URGENT)
        # before `since`, the clock was set back
        return turn if turn.since <= self._clock() < turn.until else None

    def _load(self) -> Turn:
        if self._file is not None:
            with suppress(OSError, ValueError, TypeError):
                since, until, reason, failures, reading, _ = json.loads(self._file.read_text())
                return Turn(float(since), float(until), str(reason), int(failures), bool(reading))
        return self._own

    def _save(self, turn: Turn) -> None:
        self._own = turn
        if self._file is not None:
            with suppress(OSError):  # then each process counts for itself
                write(self._file, json.dumps(turn).encode())
