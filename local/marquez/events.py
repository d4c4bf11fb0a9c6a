"""The receiver's OpenLineage events: checked against the spec, stored and summarized."""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker

from local.marquez.double import Run, instant_of, run_uuid

Event = dict[str, Any]
SCHEMA = Path(__file__).with_name("openlineage.json")
RECENT = 1000  # events kept in memory


class EventChecker:
    """Checks events against the OpenLineage core spec (see the schema file's comment)."""

    def __init__(self) -> None:
        definitions = json.loads(SCHEMA.read_text())["$defs"]
        formats = FormatChecker(formats=["uuid"])
        formats.checks("date-time", raises=ValueError)(_has_zone)
        formats.checks("uri", raises=ValueError)(_has_scheme)
        self._validators = {
            kind: Draft202012Validator(
                {"$ref": f"#/$defs/{kind}", "$defs": definitions}, format_checker=formats
            )
            for kind in ("RunEvent", "DatasetEvent", "JobEvent")
        }

    def problems(self, event: object) -> list[str]:
        """The problems, each with its place in the event; empty for a valid event."""
        if not isinstance(event, dict):
            return ["the event is not a JSON object"]
        kind = "RunEvent" if "run" in event else "DatasetEvent" if "dataset" in event else "JobEvent"
        errors = self._validators[kind].iter_errors(event)
        return [f"{'.'.join(str(step) for step in e.absolute_path) or kind}: {e.message}" for e in errors]


def _has_zone(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def _has_scheme(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme)


@dataclass
class Job:
    """`runs`: the state of each run by its id, from its last event."""

    last_event: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)


class EventStore:
    """Events in one file, one JSON text per line; what the pages show is kept in memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "events.jsonl"
        self.count = 0
        self.recent: deque[Event] = deque(maxlen=RECENT)
        self.jobs: dict[tuple[str, str], Job] = {}
        self.namespaces: set[str] = set()
        self.runs: dict[str, Run] = {}  # by id, without their facets
        self._load()

    def _load(self) -> None:
        if not self._file.exists():
            return
        whole = 0
        with self._file.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    whole += len(line)
                    self._sum_up(json.loads(line))
        os.truncate(self._file, whole)  # a crash may have cut off the last line

    def add(self, event: Event) -> None:
        with self._file.open("a") as lines:
            lines.write(json.dumps(event, separators=(",", ":")) + "\n")
        self._sum_up(event)

    def _sum_up(self, event: Event) -> None:
        self.count += 1
        self.recent.appendleft(event)
        for named in (event.get("job"), event.get("dataset")):
            if named:
                self.namespaces.add(named["namespace"])
        if "job" not in event:
            return
        job = self.jobs.setdefault((event["job"]["namespace"], event["job"]["name"]), Job())
        job.last_event = event["eventTime"]
        job.inputs |= {f"{d['namespace']}/{d['name']}" for d in event.get("inputs", ())}
        job.outputs |= {f"{d['namespace']}/{d['name']}" for d in event.get("outputs", ())}
        if "run" in event:
            run_id, kind = run_uuid(event["run"]["runId"]), event.get("eventType", "OTHER")
            job.runs[run_id] = kind
            run = self.runs.setdefault(run_id, Run(run_id, event["job"]["namespace"], event["job"]["name"]))
            run.apply(kind, instant_of(event["eventTime"]) or event["eventTime"])
