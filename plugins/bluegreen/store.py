"""Reads the ownership timeline from SSM, at most about once per due instant and host.

A copy of the timeline is valid for an instant only if its fetch *started* at or after that instant: a switch
takes effect no earlier than its arrival at SSM plus the lead, and the lead covers clock skew and read lag, so
a decision that is missing in such a copy cannot affect the instant. No copy is used beyond a maximum age, and
none replaces a newer one. The processes of a host share copies and failures, and read in turns.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from botocore.utils import parse_timestamp

from bluegreen import aws
from bluegreen.document import Fetch, Record, latest_valid, standing
from bluegreen.host import READ_SECONDS, Turn, Turns, host_folder, lock, write
from bluegreen.objects import Objects
from bluegreen.settings import Settings
from bluegreen.timeline import Entry, Timeline, TimelineError

REQUEST_SECONDS = 3.0
LAST_TRY_SECONDS = (
    0.9  # a caller that cannot wait gets its answer in this time: a scheduler waits less than 1 s
)
TURN_SECONDS = 0.5  # of which it waits for its host's turn
PAUSE_SECONDS = 10.0  # the longest pause of a host between two reads that fail
POLL_SECONDS = (0.05, 0.25)  # how often those who wait look at what their host has: at first, and later
HANGING_READS = 3  # threads that may wait for an answer that never comes
HISTORY_PAGES = 10  # of 50; SSM keeps 100 versions
AWS_SKEW = timedelta(seconds=1)  # between the clocks of Amazon's servers


class OwnershipUnknown(RuntimeError):  # noqa: N818 - a state, not a mistake
    """No timeline that is valid for the instant could be read in time."""


class TooEarly(OwnershipUnknown):
    """By this host's clock the instant has not come yet, or the host's next turn to read."""


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


def _record(parameter: dict[str, Any]) -> Record:
    # botocore's own parser: writers that use its client must get exactly the same instant
    return str(parameter["Value"]), int(parameter["Version"]), parse_timestamp(parameter["LastModifiedDate"])


class Store:
    """The timeline as this environment applies it, through a copy that the processes of this host share.

    `hosts` share the environment's part of SSM's quota (0: no limit); `pause` is the longest one after
    failures, in seconds. `fetches` counts this process's reads of SSM.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[Answer | None], Answer],
        directory: Path | None = None,
        clock: Callable[[], float] = time.time,
        pause: float = PAUSE_SECONDS,
        hosts: int = 0,
    ) -> None:
        self.settings = settings
        self.fetches = 0
        self._read = read
        self._clock = clock
        self._copy: Copy | None = None
        self._threads: list[threading.Thread] = []
        self._file = _cache_file(settings, directory)
        self._loaded: tuple[int, int] | None = None  # which file `_copy` was compared with
        turns = self._file and self._file.with_suffix(".turn")
        self._turns = Turns(turns, hosts, pause, clock)
        self._objects = Objects(settings.bucket, directory, REQUEST_SECONDS)

    @property
    def version(self) -> int | None:
        """The parameter's version that this process's timeline comes from; None before the first read."""
        return self._copy.answer.valid[1] if self._copy else None

    def timeline(self, instant: datetime, *, wait: float, within: timedelta | None = None) -> Timeline:
        """A timeline that is valid for `instant`; with `within`, one whose fetch started no longer ago.

        Waits up to `wait` seconds plus LAST_TRY_SECONDS, whatever hangs, then raises OwnershipUnknown with
        the reason. With `wait` 0 it tries at most once.
        """
        due = instant.timestamp()
        needed = due if within is None else max(due, self._clock() - within.total_seconds())
        return self._wait_for_copy(due, needed, wait).timeline

    def _good_copy(self, needed: float) -> Copy | None:
        """A copy that is valid for `needed`: this process's own, else the host's."""
        if not self._is_good(self._copy, needed):
            self._adopt()
        return self._copy if self._is_good(self._copy, needed) else None

    def _is_good(self, copy: Copy | None, needed: float) -> bool:
        if copy is None or copy.started < needed:
            return False
        # a start in the future means that the clock was set back, so the copy's age is unknown
        return 0 <= self._clock() - copy.started <= self.settings.max_age.total_seconds()

    def _wait_for_copy(self, due: float, needed: float, wait: float) -> Copy:
        begun = time.monotonic()
        poll, longest_poll = POLL_SECONDS
        while True:
            late = needed - self._clock()
            if late > 0:
                reason = f"this host's clock is {late:.3f} s before the run's due instant"
                if time.monotonic() + late > begun + wait:
                    raise TooEarly(self._failure(reason))
                time.sleep(max(late, 0.001))
                continue
            outcome = self._copy_in_turn(due, needed, begun + wait + LAST_TRY_SECONDS, urgent=not wait)
            if isinstance(outcome, Copy):
                return outcome
            # what another process reads may come at any moment
            delay = poll if outcome.reading else max(outcome.until - self._clock(), 0.001)
            if time.monotonic() + delay > begun + max(wait, TURN_SECONDS) or (outcome.mine and not wait):
                kind = OwnershipUnknown if outcome.failures or outcome.reading else TooEarly
                raise kind(self._failure(outcome.reason))
            time.sleep(min(delay, poll))
            poll = min(poll * 1.5, longest_poll)

    def _failure(self, reason: str) -> str:
        return f"SSM parameter {self.settings.parameter}: {reason}"

    def _copy_in_turn(self, due: float, needed: float, end: float, *, urgent: bool) -> Copy | Turn:
        """A copy that this process or another one on the host has just read, or what must be waited for."""
        if copy := self._good_copy(needed):
            return copy
        now = self._clock()
        if not urgent and (slot := self._turns.slot(due)) > now:
            return Turn(now, slot, "it is not this host's turn to read yet")
        if turn := self._turns.take(urgent=urgent):
            return turn
        if copy := self._good_copy(needed):  # read between the look and the turn
            self._turns.succeeded(copy.started)
            return copy
        failure = self._fetch_within(min(READ_SECONDS, end - time.monotonic()))
        return self._good_copy(needed) or self._turns.failed(
            failure or "this process was frozen while it read, or its clock was set back"
        )

    def _fetch_within(self, seconds: float) -> str | None:
        """Read a new copy; return why there is none, or None.

        The read happens in a thread, because a DNS or credential lookup has no time limit of its own. A read
        that ends late still leaves its copy to the next call.
        """
        # after a fork, threads of the parent count as ended
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= HANGING_READS:
            return f"{len(self._threads)} earlier reads still hang"
        failures: list[str] = []
        thread = threading.Thread(target=self._fetch, args=(failures,), name="bluegreen-read", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the process is ending, or the host has no memory
            return str(error)
        self._threads.append(thread)
        thread.join(seconds)
        return f"no answer within {seconds:.1g} s" if thread.is_alive() else next(iter(failures), None)

    def _fetch(self, failures: list[str]) -> None:
        try:
            self.fetches += 1
            started = self._clock()  # before the request: the answer contains all that SSM had at that time
            answer = self._read(self._copy.answer if self._copy else None)
            self._keep(self._copy_of(started, answer, self._objects.fetch))
        except Exception as error:  # noqa: BLE001 - whatever the error, there is no answer
            failures.append(f"{type(error).__name__}: {error}")
        else:
            self._turns.succeeded(started)

    def _keep(self, copy: Copy) -> None:
        """Make a copy the process's and the host's. Raises AwsError if it is older than what they have."""
        with lock(self._file):
            self._adopt()
            if self._copy is not None:
                _refuse_older(copy.answer, self._copy.answer)
            if self._supersedes(copy):
                self._copy = copy
                if self._file is not None:
                    with suppress(OSError):  # in that case, the other processes read for themselves
                        write(self._file, _to_text(copy).encode())

    def _supersedes(self, copy: Copy) -> bool:
        """Whether a copy that is not older should replace this process's own."""
        own = self._copy
        # a start in the future means that the clock was set back
        return own is None or copy.answer != own.answer or not copy.started <= own.started <= self._clock()

    def _adopt(self) -> None:
        """Take the host's copy, unless this process has a newer one."""
        if self._file is None:
            return
        try:
            status = self._file.stat()
            if (status.st_ino, status.st_mtime_ns) == self._loaded:
                return
            copy = self._copy_of(*_from_text(self._file.read_text()), self._objects.kept)
            if self._copy is not None:
                _refuse_older(copy.answer, self._copy.answer)
        except (OSError, ValueError, KeyError, TypeError, aws.AwsError):
            return  # missing, damaged or older: the next fetch replaces it
        self._loaded = (status.st_ino, status.st_mtime_ns)
        if self._supersedes(copy):
            self._copy = copy

    def _copy_of(self, started: float, answer: Answer, fetch: Fetch) -> Copy:
        known = self._copy
        if known is not None and known.answer.valid == answer.valid:
            return Copy(started, answer, known.timeline)
        with _without_gc():
            timeline = _load_timeline(self._file, answer.valid)
            if timeline is None:
                timeline = latest_valid([answer.valid], fetch).effective()
                _save_timeline(self._file, answer.valid, timeline)
        return Copy(started, answer, timeline)


@cache
def store(settings: Settings) -> Store:
    """This process's store."""
    return Store(settings, Parameter(settings.parameter, REQUEST_SECONDS).read, hosts=settings.hosts)


# --- the host's copy: a file that only this user can write ---

# what identifies the parameter besides its name
SOURCE = (
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM"),
)


def _cache_file(settings: Settings, directory: Path | None) -> Path | None:
    """The path of the host's copy; None without a folder."""
    folder = host_folder(directory)
    # the life: on one machine, two environments may have different plugins
    source = [settings.parameter, settings.life, *(os.environ.get(name, "") for name in SOURCE)]
    return folder and folder / f"{hashlib.sha256('|'.join(source).encode()).hexdigest()[:16]}.json"


def _to_text(copy: Copy) -> str:
    records = {name: _to_json(record) for name, record in copy.answer._asdict().items()}
    return json.dumps({"started": copy.started, **records})


def _from_text(text: str) -> tuple[float, Answer]:
    raw = json.loads(text)
    return float(raw["started"]), Answer(_from_json(raw["valid"]), _from_json(raw["newest"]))


def _to_json(record: Record) -> list[Any]:
    value, version, modified = record
    return [value, version, modified.astimezone(UTC).isoformat()]


def _from_json(raw: Any) -> Record:
    value, version, modified = raw
    return str(value), int(version), datetime.fromisoformat(modified)


# A long timeline takes 5 ms to parse, so the host keeps its result, which takes 1 ms. To be used only by the
# code that wrote it: two environments on one machine may have different plugins.
SHAPE = tuple(name for kind in (Entry, Timeline) for name in kind.__dataclass_fields__)


@contextmanager
def _without_gc() -> Iterator[None]:
    """No garbage collection while thousands of objects are created.

    In a forked process it would write to, and so copy, all that the parent had in memory: 40 ms.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _load_timeline(file: Path | None, record: Record) -> Timeline | None:
    if file is None:
        return None
    try:
        shape, of, timeline = pickle.loads(file.with_suffix(".timeline").read_bytes())  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - missing or damaged in whatever way
        return None
    return timeline if (shape, of) == (SHAPE, record) else None


def _save_timeline(file: Path | None, record: Record, timeline: Timeline) -> None:
    if file is not None:
        with suppress(OSError):  # in that case, each process parses the value
            write(file.with_suffix(".timeline"), pickle.dumps((SHAPE, record, timeline)))


# --- never back to an older version ---


def _refuse_older(answer: Answer, known: Answer) -> None:
    """Raise AwsError if SSM, whose reads may lag, answers with less than what is known.

    A parameter that was deleted and created again begins with version 1, but later: 30 s, by Amazon's rule.
    """
    for (_, version, modified), (_, seen, then) in zip(answer, known, strict=True):
        later = modified - then
        if later <= AWS_SKEW if version < seen else later < -AWS_SKEW:
            raise aws.AwsError(
                f"SSM answered with version {version} of {modified.isoformat()}, which is older than version "
                f"{seen} of {then.isoformat()}, already seen on this host: its answer lags"
            )
