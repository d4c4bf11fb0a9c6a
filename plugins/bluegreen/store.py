"""Reads the ownership timeline from SSM, at most about once per due instant and host.

A copy of the timeline answers for an instant only if its fetch *started* at or after that instant: a switch
is effective no earlier than its arrival at SSM plus the lead, and the lead covers clock skew and read lag, so
nothing that such a copy lacks can concern the instant. No copy is used beyond a maximum age.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session  # imported with the module, so that Airflow's forked tasks need not

from bluegreen.settings import Settings
from bluegreen.timeline import Reading, Record, Timeline, TimelineError, latest_valid

LOCK_SECONDS = 5.0  # how long a process lets another one of its host fetch for it


class OwnershipUnknown(RuntimeError):  # noqa: N818 - a state of the world, not a mistake
    """No timeline that answers for the instant could be read in the time allowed."""


class Copy(NamedTuple):
    """A reading, and when (epoch seconds of this host's clock) its fetch started."""

    started: float
    reading: Reading


class Parameter:
    """The SSM parameter, read with a short timeout and no automatic retry."""

    def __init__(self, name: str, timeout: float) -> None:
        self.name = name
        self.timeout = timeout
        self._client: Any = None

    def read(self) -> Reading:
        """The newest valid version. Raises BotoCoreError, ClientError or TimelineError."""
        if self._client is None:
            self._client = Session().create_client(
                "ssm",
                region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
                config=Config(
                    connect_timeout=self.timeout,
                    read_timeout=self.timeout,
                    retries={"total_max_attempts": 1},
                ),
            )
        found = self._client.get_parameter(Name=self.name)["Parameter"]
        try:
            return latest_valid([_record(found)])
        except TimelineError:
            # a writer that lost a race, or an old value put back: the version before it stands
            return latest_valid(self._history())

    def _history(self) -> Iterator[Record]:
        for page in self._client.get_paginator("get_parameter_history").paginate(Name=self.name):
            yield from map(_record, page["Parameters"])


def _record(found: dict[str, Any]) -> Record:
    return found["Value"], int(found["Version"]), found["LastModifiedDate"]


class Store:
    """The timeline as this environment applies it, through a cache shared by the processes of this host."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Reading],
        directory: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._read = read
        self._clock = clock
        self._copy: Copy | None = None
        self._file = _cache_file(settings, directory)

    def timeline(self, instant: datetime, *, wait: float, afresh: bool = False) -> Timeline:
        """The timeline that answers for `instant`, read after this call began if `afresh`.

        Tries for up to `wait` seconds (once if 0), then raises OwnershipUnknown with the reason.
        """
        needed = instant.timestamp()
        if afresh:
            needed = max(needed, self._clock())
        copy = self._copied(needed)
        if copy is None:
            copy = self._fetched(needed, wait)
        return copy.reading.effective(self.settings.lead)

    def _copied(self, needed: float) -> Copy | None:
        """A copy that is good for `needed`: this process's own, else the host's."""
        if not self._good(self._copy, needed):
            self._copy = _load(self._file) or self._copy
        return self._copy if self._good(self._copy, needed) else None

    def _good(self, copy: Copy | None, needed: float) -> bool:
        if copy is None or copy.started < needed:
            return False
        # a start in the future means that the clock was set back: the copy's age is unknown
        return 0 <= self._clock() - copy.started <= self.settings.max_age.total_seconds()

    def _fetched(self, needed: float, wait: float) -> Copy:
        deadline = time.monotonic() + wait
        pause = 0.5
        while True:
            late = needed - self._clock()
            if late > 0:
                reason = f"this host's clock is {late:.3f} s before the instant the run is due"
            else:
                with _lock(self._file, min(LOCK_SECONDS, wait)):
                    if copy := self._copied(needed):
                        return copy
                    try:
                        return self._fetch()
                    except (BotoCoreError, ClientError, TimelineError) as error:
                        reason = f"{type(error).__name__}: {error}"
            delay = max(late, 0.001) if late > 0 else pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            if time.monotonic() + delay > deadline:
                raise OwnershipUnknown(f"SSM parameter {self.settings.parameter}: {reason}")
            time.sleep(delay)
            pause = min(pause * 2, 10.0)

    def _fetch(self) -> Copy:
        started = self._clock()  # before the request: what SSM had then is surely in the answer
        self._copy = Copy(started, self._read())
        _save(self._file, self._copy)
        return self._copy


@cache
def store(settings: Settings, timeout: float = 3.0) -> Store:
    """This process's store; `timeout` in seconds bounds one request to SSM."""
    return Store(settings, Parameter(settings.parameter, timeout).read)


# --- the host's copy: a file that only this user can write ---


def _cache_file(settings: Settings, directory: Path | None) -> Path | None:
    """Where the copy is kept; None if there is no folder that is surely ours alone."""
    folder = directory or Path(tempfile.gettempdir()) / f"bluegreen-{os.geteuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
            source = [
                settings.parameter,
                *(os.environ.get(key, "") for key in ("AWS_REGION", "AWS_ENDPOINT_URL")),
            ]
            return folder / f"{hashlib.sha256('|'.join(source).encode()).hexdigest()[:16]}.json"
    return None


def _load(file: Path | None) -> Copy | None:
    if file is None:
        return None
    try:
        raw = json.loads(file.read_text())
        record = (str(raw["value"]), int(raw["version"]), datetime.fromisoformat(raw["modified"]))
        return Copy(float(raw["started"]), latest_valid([record]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none yet, or damaged: the next fetch replaces it


def _save(file: Path | None, copy: Copy) -> None:
    if file is None:
        return
    raw = {
        "started": copy.started,
        "value": copy.reading.timeline.dump(),
        "version": copy.reading.version,
        "modified": copy.reading.modified.astimezone(UTC).isoformat(),
    }
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    with suppress(OSError, TimelineError):  # then the others read for themselves
        temporary.write_text(json.dumps(raw))
        temporary.replace(file)


@contextmanager
def _lock(file: Path | None, seconds: float) -> Iterator[None]:
    """One process of this host fetches at a time; after `seconds` without the lock, go on without it."""
    handle = None
    if file is not None:
        with suppress(OSError):
            handle = file.with_suffix(".lock").open("a")
    try:
        deadline = time.monotonic() + seconds
        while handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.02)
        yield
    finally:
        if handle is not None:
            handle.close()
