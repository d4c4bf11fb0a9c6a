"""Posting what is in the lineage log once more: a window of it, or what was set aside."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from lineage_log.checkpoint import Place, Progress
from lineage_log.delivery import Courier, Patience, Refusal, UnreachableError
from lineage_log.event import Event
from lineage_log.log import AFTER_ALL, EVENTS, SET_ASIDE, Log, key_at, seconds_of
from lineage_log.marquez_client import Marquez
from lineage_log.ordered_pool import Lanes
from lineage_log.read_ahead import Read, read_ahead
from mwaactl.aws import Clients, aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unfinished, Unusable, UsageError
from mwaactl.json_model import Instant, Model
from mwaactl.lineage.status import require, server, set_aside_keys

POSTERS = 8
POST_TIMEOUT = 20.0  # seconds
PATIENCE = Patience(give_up=60)
SAVE_EVERY = 2.0  # seconds
SHOWN = 20  # refused events that are named

Report = Callable[[int, int], None]  # objects looked at, of how many


def silent(_looked: int, _total: int) -> None:
    """Report nothing."""


class Refused(Model):
    """An event that the back end does not take. `key`: in the bucket. Not `final`: it may take it later."""

    key: str
    reason: str
    final: bool = True


class Replayed(Model):
    """What `mwaactl lineage replay` did, or would do. `events`: those of the window and the namespace."""

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
    refusals: tuple[Refused, ...]
    seconds: float


class Retried(Model):
    """What `mwaactl lineage set-aside retry` did."""

    bucket: str
    to: str
    dry_run: bool
    posted: tuple[str, ...]
    left: tuple[Refused, ...]


@dataclass(frozen=True, kw_only=True)
class Window:
    """What to replay where. `to`: the back end's root."""

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
        """What continues this replay, with times that stay."""
        words = ["mwaactl", "lineage", "replay", "-s", self.stack, "--to", self.to]
        words += ["--since", self.since.isoformat(), "--until", self.until.isoformat()]
        return shlex.join([*words, *(["--namespace", self.namespace] if self.namespace else [])])


@dataclass
class PlaceFile:
    """How far one replay has come, on this machine. `window` and the file's name belong together."""

    path: Path
    floor: str = ""
    posted: int = 0
    refused: list[Refused] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, window: dict[str, Any], *, restart: bool) -> PlaceFile:
        """Raises Unusable for a file that cannot be read."""
        name = hashlib.sha256(json.dumps(window, sort_keys=True).encode()).hexdigest()[:16]
        made = cls(folder / f"replay-{name}.json")
        if restart:
            made.remove()
        if made.path.exists():
            try:
                kept = json.loads(made.path.read_text())
                made.floor, made.posted = str(kept["floor"]), int(kept["posted"])
                made.refused = [Refused.model_validate(one) for one in kept["refused"]]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise Unusable(
                    f"{made.path} is not a replay's place ({error}): --restart begins again"
                ) from error
        return made

    def save(self) -> None:
        kept = {
            "floor": self.floor,
            "posted": self.posted,
            "refused": [one.model_dump() for one in self.refused],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(kept))
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
) -> Replayed:
    """Post the window's events in order; each run is left as the log's newest event of it says.

    Raises Unreachable (S3, or the back end at the start), UsageError, Unusable; Unfinished when the back end
    went away or the operator interrupted it: the command in the message goes on.
    """
    begun = time.monotonic()
    with closing(server(window.to, timeout=POST_TIMEOUT)) as marquez:
        place = PlaceFile.open(folder or state_folder(), window.identity, restart=restart and not dry_run)
        resumed = bool(place.floor)
        run = _Run(Log(clients.s3, window.bucket), marquez, window, place, patience, report)
        with aws_errors(f"read the lineage log s3://{window.bucket}"):
            if dry_run:
                run.count()
            else:
                require(marquez, window.to)
                run.post()
                place.remove()
    return Replayed(
        bucket=window.bucket,
        to=window.to,
        since=window.since,
        until=window.until,
        namespace=window.namespace,
        dry_run=dry_run,
        resumed=resumed,
        events=run.events,
        posted=place.posted,
        refused=len(place.refused),
        refusals=tuple(place.refused[:SHOWN]),
        seconds=round(time.monotonic() - begun, 1),
    )


def retry(
    deployment: Deployment,
    keys: Sequence[str],
    *,
    to: str | None,
    dry_run: bool,
    patience: Patience = PATIENCE,
) -> Retried:
    """Post what was set aside (no `keys`: all of it), oldest first, and remove what is taken.

    Raises UsageError for a key that is not set aside, Unreachable, Unfinished.
    """
    url, bucket = to or deployment.stack.lineage_url, deployment.stack.lineage_log_bucket
    posted: list[str] = []
    left: list[Refused] = []
    with closing(server(url, timeout=POST_TIMEOUT)) as marquez:
        there = set_aside_keys(deployment.clients, bucket)
        wanted = sorted({_aside(key) for key in keys}) if keys else there
        if unknown := sorted(set(wanted) - set(there)):
            raise UsageError(
                f"not set aside: {', '.join(unknown)}. See: "
                f"mwaactl lineage set-aside list -s {deployment.name}"
            )
        if not dry_run and wanted:
            require(marquez, url)
            source = Log(deployment.clients.s3, bucket)
            courier = Courier(source, marquez, patience, stop=threading.Event())
            with aws_errors(f"read what is set aside in s3://{bucket}"):
                for key, event in read_ahead(source, iter(wanted)):
                    refusal = _again(courier, key, event, f"{len(posted)} of {len(wanted)} were posted")
                    if refusal is None:
                        deployment.clients.s3.delete_object(Bucket=bucket, Key=key)
                        posted.append(key)
                    else:
                        left.append(_refused(key, refusal))
    return Retried(
        bucket=bucket, to=url, dry_run=dry_run, posted=tuple(wanted if dry_run else posted), left=tuple(left)
    )


def _aside(key: str) -> str:
    return SET_ASIDE + key.removeprefix(SET_ASIDE).removeprefix(EVENTS)


def _refused(key: str, refusal: Refusal) -> Refused:
    return Refused(key=key, reason=refusal.reason, final=refusal.final)


def _again(courier: Courier, key: str, found: Read, so_far: str) -> Refusal | None:
    """Post what was set aside under `key`; why not, if it is not taken."""
    if not isinstance(found, Event):
        return Refusal(str(found or "it is gone"))
    try:
        return courier.post_late(replace(found, key=EVENTS + key.removeprefix(SET_ASIDE)))
    except UnreachableError as error:
        raise Unfinished(
            f"{so_far}; then the back end went away: {error}. Repeat the command to go on"
        ) from error


class _Run:
    """One replay: reads the window ahead, posts jobs side by side, keeps the place."""

    def __init__(
        self,
        source: Log,
        marquez: Marquez,
        window: Window,
        place: PlaceFile,
        patience: Patience,
        report: Report,
    ) -> None:
        self._source, self._window, self._place, self._report = source, window, place, report
        self._stop = threading.Event()
        self._courier = Courier(source, marquez, patience, stop=self._stop)
        self._progress = Progress(Place(floor=place.floor))
        self._progress.begin_pass(AFTER_ALL)
        self._lock = threading.Lock()
        self.events = place.posted + len(place.refused)

    def count(self) -> None:
        if self._window.namespace is None:
            self.events += sum(len(page) for page in self._source.pages(*self._ends()))
        else:
            self.events += sum(1 for _ in self._wanted())

    def post(self) -> None:
        lanes = Lanes(self._deliver, workers=POSTERS)
        saved = time.monotonic()
        try:
            for event in self._wanted():
                self.events += 1
                self._progress.begin(event.key)
                lanes.put(event.lane, event, size=len(event.packed), at=seconds_of(event.key))
                if time.monotonic() - saved > SAVE_EVERY:
                    self._save()
                    saved = time.monotonic()
            lanes.drain()
            self._again()
        except UnreachableError as error:
            raise self._unfinished(f"the back end went away: {error}") from error
        except KeyboardInterrupt as error:
            raise self._unfinished("it was interrupted") from error
        finally:
            self._stop.set()
            lanes.close()
            self._save()

    def _again(self) -> None:
        """Post once more what the back end failed at, though it took other events."""
        for one in [refused for refused in self._place.refused if not refused.final]:
            event = self._source.read(one.key)
            if event and self._courier.post_late(event, patient=True) is None:
                self._place.refused.remove(one)
                self._place.posted += 1

    def _wanted(self) -> Iterator[Event]:
        """What to post, in order. What is not an event is passed over: no back end could take it."""
        start, end = self._ends()
        total = sum(len(page) for page in self._source.pages(start, end))
        keys = (found.key for page in self._source.pages(start, end) for found in page)
        for looked, (_, event) in enumerate(read_ahead(self._source, keys)):
            self._report(looked, total)
            if isinstance(event, Event) and self._window.namespace in (None, event.namespace):
                yield event
        self._report(total, total)

    def _ends(self) -> tuple[str, str]:
        start, end = self._window.ends
        return max(start, self._place.floor), end

    def _deliver(self, event: Event) -> None:
        refusal = self._courier.post_late(event)
        with self._lock:
            self._place.posted += refusal is None
            if refusal:
                self._place.refused.append(_refused(event.key, refusal))
        self._progress.done(event.key)

    def _save(self) -> None:
        with self._lock:
            self._place.floor = self._progress.place().floor
            self._place.save()

    def _unfinished(self, why: str) -> Unfinished:
        return Unfinished(
            f"{self._place.posted} events were posted, then {why}. To go on: {self._window.command}"
        )
