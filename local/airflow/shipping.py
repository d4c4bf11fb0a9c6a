"""Takes what an environment logs to its log groups, as Amazon MWAA does, under the names that MWAA gives.

Airflow writes files here: one for each try of a task, and one for each process. What has been added to them
since the last time becomes events of CloudWatch. As on MWAA the execution role writes them, and only of the
logs that the environment's logging configuration turns on.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.mwaa.rules import Json

log = logging.getLogger("mwaa")

SECONDS = 5.0  # from one time to the next: MWAA sends every 10 s
MOST_BYTES = 500_000  # of one file at a time: AWS takes 1 MiB and 10,000 events, here of some 100 bytes each
MOST_EVENTS = 5_000
# The processes by kind of log, with what the names of their streams on MWAA begin with.
PROCESSES = {
    "scheduler": ("SchedulerLogs", "scheduler"),
    "triggerer": ("SchedulerLogs", "triggerer"),
    "dag-processor": ("DagProcessingLogs", "scheduler_dag_processor"),
    "worker": ("WorkerLogs", "worker"),
    "webserver": ("WebserverLogs", "webserver"),
    "api-server": ("WebserverLogs", "webserver"),
}
# Airflow 2 and 3.0 put a line's time into brackets, the processes of later versions do not.
_TIME = re.compile(r"\[?(\d{4}-\d\d-\d\d[T ][\d:.]+(?:[+-]\d\d:?\d\d|Z))\]? ")


@dataclass(frozen=True)
class Source:
    """A file, and the stream of which kind of log it belongs to."""

    path: Path
    kind: str
    stream: str


class Shipping:
    """Of one environment. `known` has how much of each file is shipped; `keep` gets it when it changes."""

    def __init__(self, client: Any, known: Mapping[str, int], keep: Callable[[Json], None]) -> None:
        self._client, self._known, self._keep = client, dict(known), keep
        self._due = 0.0
        self._failed = False

    def ship(self, environment: Json, tasks: Path, processes: Path) -> None:
        """Ship what is new, if it is time again. `tasks`: Airflow's folder for logs; `processes`: ours."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + SECONDS
        groups = {
            kind: str(each["CloudWatchLogGroupArn"]).partition(":log-group:")[2]
            for kind, each in environment["LoggingConfiguration"].items()
            if each.get("Enabled")
        }
        before = dict(self._known)
        try:
            for source in sources(environment["Name"], tasks, processes):
                if source.kind in groups:
                    with suppress(OSError):  # it may vanish meanwhile
                        self._ship(source, groups[source.kind])
            self._failed = False
        except (ClientError, BotoCoreError) as error:
            if not self._failed:
                log.warning("%s: its logs do not reach CloudWatch: %s", environment["Name"], error)
            self._failed = True
        if self._known != before:
            self._keep(self._known)

    def _ship(self, source: Source, group: str) -> None:
        done = self._known.get(str(source.path), 0)
        while source.path.stat().st_size > done:
            with source.path.open("rb") as file:
                file.seek(done)
                lines = file.read(MOST_BYTES).splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")][:MOST_EVENTS]
            if not whole:
                return
            written = source.path.stat().st_mtime
            events = list(_events([line.decode(errors="replace").rstrip("\n") for line in whole], written))
            if events:
                self._put(group, source.stream, events)
            done += sum(map(len, whole))
            self._known[str(source.path)] = done

    def _put(self, group: str, stream: str, events: list[Json]) -> None:
        place = {"logGroupName": group, "logStreamName": stream}
        try:
            self._client.put_log_events(**place, logEvents=events)
        except self._client.exceptions.ResourceNotFoundException:
            self._client.create_log_stream(**place)
            self._client.put_log_events(**place, logEvents=events)


def sources(name: str, tasks: Path, processes: Path) -> Iterator[Source]:
    """The files of an environment."""
    for folder, _, files in os.walk(tasks):
        relative = Path(folder).relative_to(tasks)
        if relative.parts and not relative.parts[0].startswith("dag_id="):
            continue
        for file in files:
            if ".log" in file and relative.parts:
                yield Source(Path(folder) / file, "TaskLogs", (relative / file).as_posix().replace(":", "_"))
    for process, (kind, stream) in PROCESSES.items():
        path = processes / f"airflow-{name}-{process}.log"
        if path.exists():
            yield Source(path, kind, f"{stream}_local.log")


def _events(lines: list[str], written: float) -> Iterator[Json]:
    """The events in lines, by time. A line without one belongs to the event before it."""
    events: list[tuple[float, str]] = []
    for line in lines:
        at, text = _parsed(line)
        if at is None and events:
            events[-1] = events[-1][0], f"{events[-1][1]}\n{text}"
        elif text:
            events.append((written if at is None else at, text))
    for at, text in sorted(events, key=lambda each: each[0]):
        yield {"timestamp": int(at * 1000), "message": text}


def _parsed(line: str) -> tuple[float | None, str]:
    """The time of a line of Airflow, and what MWAA logs of it: in Airflow 3 all but the time."""
    try:
        if match := _TIME.match(line):
            return datetime.fromisoformat(match[1]).timestamp(), line
        if line.startswith("{"):
            fields = json.loads(line)
            return datetime.fromisoformat(fields.pop("timestamp")).timestamp(), json.dumps(fields)
    except (ValueError, KeyError, TypeError):  # a task may print anything
        pass
    return None, line
