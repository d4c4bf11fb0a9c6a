"""Reads the ownership timeline from SSM, at most about once per due instant and host.

A copy of the timeline is valid for an instant only if its fetch *started* at or after that instant: a switch
takes effect no earlier than its arrival at SSM plus the lead, and the lead covers clock skew and read lag, so
a decision that is missing in such a copy cannot affect the instant. No copy is used beyond a maximum age.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from botocore.utils import parse_timestamp

from bluegreen import aws
from bluegreen.document import Fetch, Record, content_hash, latest_valid, object_key, standing
from bluegreen.settings import Settings
from bluegreen.timeline import Timeline, TimelineError

REQUEST_SECONDS = 3.0
READ_SECONDS = 6.0  # one attempt, with credentials and, if the newest version is invalid, the history
LAST_TRY_SECONDS = 0.9  # an attempt that begins when the time is up: a scheduler waits less than a second
PAUSE_SECONDS = 30.0  # after a failure, a caller that cannot wait does not read again for this long
LOCK_SECONDS = 5.0  # how long a process waits while another one on its host fetches
HANGING_READS = 3  # threads that may wait for an answer that never comes
HISTORY_PAGES = 10  # of 50; SSM keeps 100 versions


class OwnershipUnknown(RuntimeError):  # noqa: N818 - a state, not a mistake
    """No timeline that is valid for the instant could be read in time."""


class TooEarly(OwnershipUnknown):
    """This host's clock has not reached the instant yet."""


class Answer(NamedTuple):
    """The valid version, and the parameter's newest; they differ if the newest is invalid."""

    valid: Record
    newest: Record


class Copy(NamedTuple):
    """An answer, its timeline as readers apply it, and when its fetch started (this host's epoch seconds)."""

    started: float
    answer: Answer
    timeline: Timeline


class Parameter:
    """The SSM parameter. A known answer avoids reading the history again for the same invalid version."""

    def __init__(self, name: str, timeout: float) -> None:
        self.name = name
        self.timeout = timeout

    def read(self, known: Answer | None) -> Answer:
        """The newest valid version. Raises AwsError or TimelineError, for a malformed answer also others."""
        newest = _record(self._ask("GetParameter")["Parameter"])
        try:
            standing([newest])
        except TimelineError:
            # a writer lost a race, or an old value was put back: the version before it is valid
            if known is not None and known.newest == newest:
                return known
            history = {record[1]: record for record in self._history()}
            # the newest of the history, which may lag: a version that it lacks must be read again
            return Answer(standing(history.values()), history[max(history)])
        return Answer(newest, newest)

    def _history(self) -> Iterator[Record]:
        more: dict[str, Any] = {}
        for _ in range(HISTORY_PAGES):
            page = self._ask("GetParameterHistory", MaxResults=50, **more)
            yield from map(_record, page["Parameters"])
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def _ask(self, action: str, **parameters: Any) -> dict[str, Any]:
        headers = {"X-Amz-Target": f"AmazonSSM.{action}", "Content-Type": "application/x-amz-json-1.1"}
        body = json.dumps({"Name": self.name, **parameters}).encode()
        answer: dict[str, Any] = json.loads(
            aws.request("ssm", "POST", body=body, headers=headers, timeout=self.timeout)
        )
        return answer


def fetch_content(bucket: str, name: str) -> str:
    """The content of the object with this name. Raises AwsError."""
    content = aws.request(
        "s3", "GET", f"/{object_key(name)}", body=b"", headers={}, timeout=REQUEST_SECONDS, bucket=bucket
    ).decode()
    if content_hash(content) != name:
        raise aws.AwsError(f"s3://{bucket}/{object_key(name)} does not have the content that its name states")
    return content


def _record(parameter: dict[str, Any]) -> Record:
    # botocore's own parser: writers that use its client must get exactly the same instant
    return str(parameter["Value"]), int(parameter["Version"]), parse_timestamp(parameter["LastModifiedDate"])


class Store:
    """The timeline as this environment applies it, through a cache that the processes of this host share.

    `fetches` counts this process's reads of SSM.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[Answer | None], Answer],
        directory: Path | None = None,
        clock: Callable[[], float] = time.time,
        pause: float = PAUSE_SECONDS,
        fetch: Fetch | None = None,
    ) -> None:
        self.settings = settings
        self.fetches = 0
        self._read = read
        self._content = fetch or partial(fetch_content, settings.bucket)
        self._clock = clock
        self._pause = pause
        self._copy: Copy | None = None
        self._closed: tuple[float, str] = (
            0.0,
            "",
        )  # until when callers that cannot wait do not read, and why
        self._threads: list[threading.Thread] = []
        self._file = _cache_file(settings, directory)

    def timeline(self, instant: datetime, *, wait: float, afresh: bool = False) -> Timeline:
        """A timeline that is valid for `instant`; with `afresh`, one that is read after the call begins.

        Retries for up to `wait` seconds plus LAST_TRY_SECONDS, whatever hangs, then raises OwnershipUnknown
        with the reason. With `wait` 0 it tries once, and after a failure not again for `pause` seconds.
        """
        needed = instant.timestamp()
        if afresh:
            needed = max(needed, self._clock())
        return (self._good_copy(needed) or self._wait_for_copy(needed, wait)).timeline

    def _good_copy(self, needed: float) -> Copy | None:
        """A copy that is valid for `needed`: this process's own, else the host's."""
        if not self._is_good(self._copy, needed):
            self._copy = self._load() or self._copy
        return self._copy if self._is_good(self._copy, needed) else None

    def _is_good(self, copy: Copy | None, needed: float) -> bool:
        if copy is None or copy.started < needed:
            return False
        # a start in the future means that the clock was set back, so the copy's age is unknown
        return 0 <= self._clock() - copy.started <= self.settings.max_age.total_seconds()

    def _wait_for_copy(self, needed: float, wait: float) -> Copy:
        deadline = time.monotonic() + wait
        pause = 0.5
        while True:
            late = needed - self._clock()
            if late > 0:
                reason = f"this host's clock is {late:.3f} s before the run's due instant"
            else:
                outcome = self._fetch_once(needed, wait, deadline)
                if isinstance(outcome, Copy):
                    return outcome
                reason = outcome
            delay = max(late, 0.001) if late > 0 else pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            if time.monotonic() + delay > deadline:
                kind = TooEarly if late > 0 else OwnershipUnknown
                raise kind(f"SSM parameter {self.settings.parameter}: {reason}")
            time.sleep(delay)
            pause = min(pause * 2, 10.0)

    def _fetch_once(self, needed: float, wait: float, deadline: float) -> Copy | str:
        """A copy that this process or another one on the host has just read, or why there is none."""
        closed_until, reason = self._closed
        if wait == 0 and time.monotonic() < closed_until:
            return reason
        with _lock(self._file, min(LOCK_SECONDS, max(deadline - time.monotonic(), 0.0))):
            if copy := self._good_copy(needed):
                return copy
            left = deadline - time.monotonic()
            outcome = self._fetch_within(min(READ_SECONDS, max(left, LAST_TRY_SECONDS)))
        if isinstance(outcome, str):
            self._closed = (time.monotonic() + self._pause, outcome)
        return outcome

    def _fetch_within(self, seconds: float) -> Copy | str:
        """A new copy, or why there is none.

        The read happens in a thread, because a DNS or credential lookup has no time limit of its own. A read
        that ends late still leaves its copy to the next call.
        """
        # after a fork, threads of the parent count as ended
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= HANGING_READS:
            return f"{len(self._threads)} earlier reads still hang"
        outcome: list[Copy | str] = []
        thread = threading.Thread(target=self._fetch, args=(outcome,), name="bluegreen-read", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the process is ending, or the host has no memory
            return str(error)
        self._threads.append(thread)
        thread.join(seconds)
        return outcome[0] if outcome else f"no answer within {seconds:g} s"

    def _fetch(self, outcome: list[Copy | str]) -> None:
        try:
            self.fetches += 1
            started = self._clock()  # before the request: the answer contains all that SSM had at that time
            answer = self._read(self._copy.answer if self._copy else None)
            self._copy = self._copy_of(started, answer)
        except Exception as error:  # noqa: BLE001 - whatever the error, there is no answer
            outcome.append(f"{type(error).__name__}: {error}")
            return
        outcome.append(self._copy)
        _save(self._file, self._copy)

    def _copy_of(self, started: float, answer: Answer) -> Copy:
        return Copy(started, answer, latest_valid([answer.valid], self._content).effective())

    def _load(self) -> Copy | None:
        if self._file is None:
            return None
        try:
            raw = json.loads(self._file.read_text())
            return self._copy_of(
                float(raw["started"]), Answer(_from_json(raw["valid"]), _from_json(raw["newest"]))
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None  # missing or damaged: the next fetch replaces it


@cache
def store(settings: Settings) -> Store:
    """This process's store."""
    return Store(settings, Parameter(settings.parameter, REQUEST_SECONDS).read)


# --- the host's copy: a file that only this user can write ---

# what identifies the parameter besides its name
SOURCE = (
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM"),
)


def host_folder(directory: Path | None = None) -> Path | None:
    """The folder that this host's processes share; None if others can write into it."""
    folder = directory or Path(tempfile.gettempdir()) / f"bluegreen-{os.geteuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
            return folder
    return None


def _cache_file(settings: Settings, directory: Path | None) -> Path | None:
    """The path of the host's copy; None without a folder."""
    folder = host_folder(directory)
    source = [settings.parameter, *(os.environ.get(name, "") for name in SOURCE)]
    return folder and folder / f"{hashlib.sha256('|'.join(source).encode()).hexdigest()[:16]}.json"


def _save(file: Path | None, copy: Copy) -> None:
    if file is None:
        return
    raw = {
        "started": copy.started,
        **{name: _to_json(record) for name, record in copy.answer._asdict().items()},
    }
    temporary = file.with_name(f"{file.name}.{os.getpid()}-{threading.get_native_id()}")
    with suppress(OSError):  # in that case, the other processes read for themselves
        temporary.write_text(json.dumps(raw))
        temporary.replace(file)


def _to_json(record: Record) -> list[Any]:
    value, version, modified = record
    return [value, version, modified.astimezone(UTC).isoformat()]


def _from_json(raw: Any) -> Record:
    value, version, modified = raw
    return str(value), int(version), datetime.fromisoformat(modified)


@contextmanager
def _lock(file: Path | None, seconds: float) -> Iterator[None]:
    """Let one process of this host fetch at a time; after `seconds`, continue without the lock."""
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
