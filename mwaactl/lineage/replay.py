"""The replay: posting a window of the lineage log again."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lineage_log.checkpoint import Checkpoint, Progress, doubts_json, read_doubts
from lineage_log.delivery import Delivery
from lineage_log.doubts import Doubt, Doubts
from lineage_log.event import Event
from lineage_log.log import AFTER_ALL, Log, key_at
from lineage_log.marquez_client import MarquezClient
from lineage_log.ordered_pool import OrderedPool
from lineage_log.patient_client import Patience, Refusal, UnreachableError
from lineage_log.read_ahead import read_ahead
from mwaactl import clock
from mwaactl.aws import Clients, aws_errors
from mwaactl.errors import Unfinished, Unusable, UsageError
from mwaactl.json_model import Instant, Model
from mwaactl.lineage.status import require, server

POSTERS = 8
POST_TIMEOUT = 20.0  # seconds
PATIENCE = Patience(give_up=60)
SAVE_EVERY = 2.0  # seconds
SHOWN = 20  # refused events in the result

Report = Callable[[int, int], None]  # called with the number of objects read and the total


def silent(_read: int, _total: int) -> None:
    """Report nothing."""


class RefusedEvent(Model):
    """An event that the back end refuses. `key`: in the bucket. Not `final`: a retry may succeed."""

    key: str
    reason: str
    final: bool = True


class ReplayResult(Model):
    """What `mwaactl lineage replay` did, or would do. `events`: those in the window and the namespace."""

    bucket: str
    to: str
    since: Instant
    until: Instant
    namespace: str | None
    dry_run: bool
    resumed: bool
    events: int
    posted: int
    refused: int
    refusals: tuple[RefusedEvent, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Window:
    """What to replay, and to which back end: `to` is its root."""

    stack: str
    bucket: str
    to: str
    since: datetime
    until: datetime
    namespace: str | None

    def __post_init__(self) -> None:
        if self.since >= self.until:
            raise UsageError(
                f"--since ({self.since.isoformat()}) is not before --until ({self.until.isoformat()})"
            )

    @property
    def ends(self) -> tuple[str, str]:
        return key_at(self.since), key_at(self.until)

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "bucket": self.bucket,
            "to": self.to.rstrip("/"),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "namespace": self.namespace,
        }

    @property
    def command(self) -> str:
        """The command that resumes this replay, with absolute times."""
        words = ["mwaactl", "lineage", "replay", "-s", self.stack, "--to", self.to]
        words += ["--since", self.since.isoformat(), "--until", self.until.isoformat()]
        return shlex.join([*words, *(["--namespace", self.namespace] if self.namespace else [])])


@dataclass
class ReplayCheckpoint:
    """How far the replay of one window has come: a file on this machine, named by a hash of the window."""

    path: Path
    floor: str = ""
    posted: int = 0
    refused: list[RefusedEvent] = field(default_factory=list)
    doubts: Mapping[str, Doubt] = field(default_factory=dict)  # what was being undone, to be put right

    @classmethod
    def open(cls, folder: Path, window: dict[str, Any], *, restart: bool) -> ReplayCheckpoint:
        """Raises Unusable for a file that cannot be read."""
        name = hashlib.sha256(json.dumps(window, sort_keys=True).encode()).hexdigest()[:16]
        checkpoint = cls(folder / f"replay-{name}.json")
        if restart:
            checkpoint.remove()
        if checkpoint.path.exists():
            checkpoint.load()
        return checkpoint

    def load(self) -> None:
        try:
            content = json.loads(self.path.read_text())
            self.floor, self.posted = str(content["floor"]), int(content["posted"])
            self.refused = [RefusedEvent.model_validate(event) for event in content["refused"]]
            self.doubts = read_doubts(content["doubts"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unusable(
                f"{self.path} is not the checkpoint of a replay ({error}): use --restart to start over"
            ) from error

    def save(self) -> None:
        content = {
            "floor": self.floor,
            "posted": self.posted,
            "refused": [event.model_dump() for event in self.refused],
            "doubts": doubts_json(self.doubts),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content))
        temporary.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def state_folder() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mwaactl"


def replay(
    clients: Clients,
    window: Window,
    *,
    dry_run: bool = False,
    restart: bool = False,
    folder: Path | None = None,
    report: Report = silent,
    patience: Patience = PATIENCE,
) -> ReplayResult:
    """Post the window's events in order; each run keeps the state of its newest event in the log.

    Raises Unreachable (S3, or the back end at the start), UsageError, Unusable; Unfinished if the back end
    becomes unreachable or the operator interrupts it: the command in the message resumes it.
    """
    started = time.monotonic()
    with closing(server(window.to, timeout=POST_TIMEOUT)) as marquez:
        checkpoint = ReplayCheckpoint.open(
            folder or state_folder(), window.identity, restart=restart and not dry_run
        )
        resumed = bool(checkpoint.floor)
        run = _Replay(Log(clients.s3, window.bucket), marquez, window, checkpoint, patience, report)
        with aws_errors(f"read the lineage log s3://{window.bucket}"):
            if dry_run:
                run.count()
            else:
                require(marquez, window.to)
                run.post()
                checkpoint.remove()
    return ReplayResult(
        bucket=window.bucket,
        to=window.to,
        since=window.since,
        until=window.until,
        namespace=window.namespace,
        dry_run=dry_run,
        resumed=resumed,
        events=run.events,
        posted=checkpoint.posted,
        refused=len(checkpoint.refused),
        refusals=tuple(checkpoint.refused[:SHOWN]),
        seconds=round(time.monotonic() - started, 1),
    )


def refused_event(key: str, refusal: Refusal) -> RefusedEvent:
    return RefusedEvent(key=key, reason=refusal.reason, final=refusal.final)


class _Replay:
    """One replay: reads the window, posts the events of different jobs in parallel, saves its checkpoint."""

    def __init__(
        self,
        source: Log,
        marquez: MarquezClient,
        window: Window,
        checkpoint: ReplayCheckpoint,
        patience: Patience,
        report: Report,
    ) -> None:
        self._log, self._window, self._checkpoint, self._report = source, window, checkpoint, report
        self._stop = threading.Event()
        self._delivery = Delivery(
            source, marquez, patience, stop=self._stop, until_saved=self._save_doubts, now=clock.now
        )
        self._doubts = Doubts(checkpoint.doubts)
        self._delivery.begin(self._doubts)
        self._progress = Progress(Checkpoint(floor=checkpoint.floor))
        self._progress.begin_pass(AFTER_ALL)
        self._lock = threading.Lock()
        self.events = checkpoint.posted + len(checkpoint.refused)

    def count(self) -> None:
        if self._window.namespace is None:
            self.events += sum(len(page) for page in self._log.pages(*self._ends()))
        else:
            self.events += sum(1 for _ in self._events())

    def post(self) -> None:
        pool = OrderedPool(self._deliver, workers=POSTERS)
        saved = time.monotonic()
        try:
            for event in self._events():
                self.events += 1
                self._progress.begin(event.key)
                pool.put(event, size=event.size, writes=event.writes, reads=event.reads)
                if time.monotonic() - saved > SAVE_EVERY:
                    self._save()
                    saved = time.monotonic()
            pool.drain()
            self._retry()
            if not self._delivery.settle(all_at_once=True):
                raise self._unfinished("the back end did not say how some runs ended")
        except UnreachableError as error:
            raise self._unfinished(f"the back end became unreachable: {error}") from error
        except KeyboardInterrupt as error:
            raise self._unfinished("the replay was interrupted") from error
        finally:
            self._stop.set()
            pool.close()
            self._save()

    def _retry(self) -> None:
        """Retry once the events at which the back end failed while it accepted others."""
        for refused in [event for event in self._checkpoint.refused if not event.final]:
            event = self._log.read(refused.key)
            if event and self._delivery.post_late(event, patient=True) is None:
                self._checkpoint.refused.remove(refused)
                self._checkpoint.posted += 1

    def _events(self) -> Iterator[Event]:
        """The events to post, in order. Objects that are not events are skipped: no back end accepts them."""
        start, end = self._ends()
        total = sum(len(page) for page in self._log.pages(start, end))
        keys = (entry.key for page in self._log.pages(start, end) for entry in page)
        for count, (_, event) in enumerate(read_ahead(self._log, keys)):
            self._report(count, total)
            if isinstance(event, Event) and self._window.namespace in (None, event.namespace):
                yield event
        self._report(total, total)

    def _ends(self) -> tuple[str, str]:
        start, end = self._window.ends
        return max(start, self._checkpoint.floor), end

    def _deliver(self, event: Event) -> None:
        refusal = self._delivery.post_late(event)
        with self._lock:
            self._checkpoint.posted += refusal is None
            if refusal:
                self._checkpoint.refused.append(refused_event(event.key, refusal))
        self._progress.finish(event.key)

    def _save(self) -> None:
        with self._lock:
            self._doubts.begin_save()
            self._checkpoint.doubts = self._doubts.snapshot()
            self._checkpoint.floor = self._progress.checkpoint().floor
            self._checkpoint.save()
            self._doubts.saved()

    def _save_doubts(self, saved: Callable[[], bool]) -> None:
        while not saved():
            self._save()

    def _unfinished(self, why: str) -> Unfinished:
        return Unfinished(
            f"{self._checkpoint.posted} events were posted, then {why}. To resume: {self._window.command}"
        )
