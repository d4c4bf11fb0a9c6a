"""Writers of a lineage log, as schedulers, workers and other producers are, and what Marquez must show."""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from lineage_log.event import marquez_run_id
from lineage_log.log import key_at

NAMESPACE = "proof"
SAID = {"_producer": "urn:proof", "_schemaURL": "urn:proof"}
FACETS = {"airflow": SAID | {"text": "x" * 5500}}  # an event is as large as Airflow's
STATES = {"START": "RUNNING", "RUNNING": "RUNNING"}
STATES |= {"COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
ENDS = ("COMPLETE", "COMPLETE", "COMPLETE", "FAIL", "ABORT")  # as likely as that


class Record(NamedTuple):
    """What Marquez shows of a run."""

    state: str
    started: datetime | None
    ended: datetime | None

    @classmethod
    def of(cls, run: dict[str, Any] | None) -> Record | None:
        if run is None:
            return None
        times = (run[name] and datetime.fromisoformat(run[name]) for name in ("startedAt", "endedAt"))
        return cls(run["state"], *times)


class Planned(NamedTuple):
    """An event to write `delay` seconds after its own time. `parent`: run and job."""

    at: datetime
    kind: str
    run: str
    job: str
    parent: tuple[str, str] | None = None
    delay: float = 0


@dataclass
class Written:
    """The log of a test, and what was written to it. Safe to use from several threads."""

    s3: Any
    bucket: str
    events: list[Planned] = field(default_factory=list)

    def put(self, event: Planned) -> None:
        """Write an event, under a key that tells nothing of the order of events at one instant."""
        facets: dict[str, Any] = dict(FACETS)
        if event.parent:
            run, job = event.parent
            parent = {"run": {"runId": run}, "job": {"namespace": NAMESPACE, "name": job}}
            facets["parent"] = SAID | parent
        content = {
            "eventTime": event.at.isoformat(),
            "eventType": event.kind,
            "run": {"runId": event.run, "facets": facets},
            "job": {"namespace": NAMESPACE, "name": event.job},
            "inputs": [],
            "outputs": [],
            "producer": "urn:proof",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        }
        key = f"{key_at(event.at)}-{uuid.uuid4().hex[:12]}.json.gz"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=gzip.compress(json.dumps(content).encode()))
        self.events.append(event)

    def expected(self) -> dict[str, Record]:
        """What Marquez must show in the end, by its own ids: the newest start and end, and the last state.

        At one instant what begins a run precedes what ends it.
        """
        runs = defaultdict(list)
        for event in tuple(self.events):
            runs[marquez_run_id(event.run)].append((event.at, STATES[event.kind] != "RUNNING", event.kind))
        records = {}
        for run, said in runs.items():
            started = max((at for at, ends, _ in said if not ends), default=None)
            ended = max((at for at, ends, _ in said if ends), default=None)
            records[run] = Record(STATES[max(said)[-1]], started, ended)
        return records


def dag_run(name: str, begin: datetime, chance: random.Random) -> list[Planned]:
    """The events of a DAG's run with three tasks and what may befall them, in the order of their times."""
    run = str(uuid.uuid4())
    parent, delay = (run, name), 0.0
    at, events = begin, []

    def later(most: float) -> datetime:
        nonlocal at
        at += timedelta(seconds=chance.uniform(0.05, most))
        return at

    match chance.choice(("plain", "late start", "child first", "foreign")):
        case "late start":  # the scheduler's event is stored while the tasks are at work
            delay = chance.uniform(1, 6)
        case "child first":  # the worker's clock is ahead of the scheduler's
            at = begin - timedelta(seconds=0.3)
        case "foreign":
            foreign = f"manual/{run} of {begin:%H:%M}"
            events.append(Planned(begin, "START", foreign, f"{name}.foreign", delay=chance.choice((0, 3))))
            events.append(Planned(later(0.5), "COMPLETE", foreign, f"{name}.foreign"))
    events.append(Planned(begin, "START", run, name, delay=delay))
    for number in range(3):
        task, job = str(uuid.uuid4()), f"{name}.task_{number}"
        events.append(Planned(later(0.3), "START", task, job, parent))
        if chance.random() < 0.2:
            events.append(Planned(later(0.3), "RUNNING", task, job, parent))
        at_once = chance.random() < 0.3
        events.append(Planned(at if at_once else later(0.5), chance.choice(ENDS), task, job, parent))
    events.append(Planned(max(later(0.5), begin), chance.choice(ENDS), run, name))
    return sorted(events, key=lambda event: event.at)


class Load:
    """Threads that write the runs of `dags` DAGs as time goes by, until `stop`."""

    def __init__(self, written: Written, dags: int, seed: int) -> None:
        self._written, self._stop = written, threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n, seed)) for n in range(dags)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int, seed: int) -> None:
        for each in self._runs(number, seed):
            for event in sorted(each, key=lambda event: event.at + timedelta(seconds=event.delay)):
                due = event.at + timedelta(seconds=event.delay)
                time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
                self._written.put(event)

    def _runs(self, number: int, seed: int) -> Iterator[list[Planned]]:
        chance = random.Random(f"{seed}-{number}")
        while not self._stop.is_set():
            yield dag_run(f"dag_{number}", datetime.now(UTC), chance)
            time.sleep(chance.uniform(0.2, 0.8))
