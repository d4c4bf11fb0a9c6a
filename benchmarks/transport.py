"""What each lineage event costs a task, by transport and by fault.

A part of `python -m benchmarks.lineage`. Tasks and emitter are those of a real Airflow: the OpenLineage
provider forks a child for each event (START and COMPLETE) and waits for it, up to 13 s. `wait` is that wait,
in the task's process; `CPU` is what the child uses; `emit` is the client alone, in this process. With `noop`
the provider does everything except emit.

A double stands in for Marquez and an emulator for S3, both on this machine: no network latency, no TLS.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import requests
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.uuid import generate_new_uuid
from rich.table import Table

from benchmarks.gate import Environment, clouded
from benchmarks.marquez import SPEEDS, Double, double
from local.aws import ministack
from local.processes import LOOPBACK, free_port
from tests.e2e.zoo.environment import ZooCloud

DAGS = Path(__file__).parent / "transport_dags"
EMITS, EMIT_SECONDS = 4, 10.0  # of the client alone: as many, or as long, whichever ends first


@dataclass(frozen=True)
class Row:
    """A transport, with the faults of Marquez (those of the double) and of S3 (none, refuse, hang)."""

    transport: str
    marquez: str = "none"
    s3: str = "none"

    @property
    def reachable(self) -> bool:
        """Whether its events have to arrive."""
        return (self.transport == "lineage log" and self.s3 == "none") or self == Row("http")

    @property
    def state(self) -> str:
        names = {"none": "up", "refuse": "refuses", "hang": "hangs", "fail": "answers 500"}
        if self.transport == "noop":
            return ""
        return f"Marquez {names[self.marquez]}" if self.s3 == "none" else f"S3 {names[self.s3]}"


MARQUEZ = ("none", "refuse", "hang", "fail")
ROWS = (
    Row("noop"),
    *(Row("lineage log", state) for state in MARQUEZ),
    Row("lineage log", s3="refuse"),
    Row("lineage log", s3="hang"),
    *(Row("http", state) for state in MARQUEZ),
)


class Tasks(Environment):
    """Blue, with one DAG per row and one run of each."""

    def __init__(self, cloud: ZooCloud, version: str, tasks: int, marquez: Double, hanging: Double) -> None:
        super().__init__(cloud, version, 1, tasks)
        self.notes = self.ledger_file.parent
        self.marquez = marquez
        self.endpoints = {
            "none": ministack.environ(cloud.home)["AWS_ENDPOINT_URL"],
            "refuse": f"http://{LOOPBACK}:{free_port()}",
            "hang": hanging.url,
        }
        self.transports: dict[str, dict[str, str]] = {
            "noop": {"type": "noop"},
            "http": {"type": "http", "url": marquez.url},
            "lineage log": {"type": "bluegreen.transport.LineageLogTransport", "bucket": self._log},
        }

    def create(self) -> None:
        self.set(ROWS[0])
        options = {
            # a file, which the client reads for each event: no row needs a restart
            "openlineage.config_path": str(self.notes / "openlineage.yml"),
            "benchmark.folder": str(self.notes),
            "benchmark.rows": str(len(ROWS)),
        }
        self.create_with(DAGS, options, {f"row_{number}" for number in range(len(ROWS))})

    def set(self, row: Row) -> None:
        """Apply a row's transport and faults to the tasks and to this process."""
        self.marquez.fail(row.marquez)
        environ = {"AWS_ENDPOINT_URL_S3": self.endpoints[row.s3]}
        os.environ |= environ
        (self.notes / "environ.json").write_text(json.dumps(environ))
        config = {"transport": self.transports[row.transport]}
        (self.notes / "openlineage.yml").write_text(json.dumps(config))

    def waits(self, number: int) -> list[tuple[float, float]]:
        """Run a row's DAG; return the seconds that each event kept its task waiting, and the child's CPU."""
        notes = self.notes / "events"
        notes.unlink(missing_ok=True)
        self.work_through(f"row_{number}")
        wanted = 2 * self.tasks_wanted

        def lines() -> list[str]:
            return notes.read_text().splitlines()

        self.wait_for(lambda: len(lines()) == wanted, "all events are recorded", seconds=60)
        return [(float(took), float(used)) for took, used in map(str.split, lines())]

    def emits(self, row: Row) -> list[float]:
        """Seconds of each `emit` of a client in this process."""
        client = OpenLineageClient(config={"transport": self.transports[row.transport]})
        times: list[float] = []
        while len(times) < EMITS and sum(times) < EMIT_SECONDS:
            before = time.perf_counter()
            try:
                client.emit(_event())
            except requests.RequestException:
                if row.reachable:
                    raise
            times.append(time.perf_counter() - before)
        return times

    def arrived(self) -> int:
        """How many events of tasks are in the log or in Marquez."""
        return sum("." in event["job"]["name"] for event in (*self.lineage(), *self.marquez.events()))


def _event() -> RunEvent:
    return RunEvent(
        eventType=RunState.START,
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(runId=str(generate_new_uuid())),
        job=Job("benchmark", "dag.task"),
        producer="https://github.com/OpenLineage",
    )


def measure(version: str, tasks: int) -> Table:
    """Measure all rows. Raises SystemExit if an event is lost while everything is up."""
    table = Table("seconds", "", "wait, median", "longest", "CPU", "emit")
    logging.disable()  # of lost events: the row names the fault
    with double(SPEEDS[0]) as marquez, double(SPEEDS[-1]) as hanging, clouded() as cloud:
        hanging.fail("hang")
        os.environ |= ministack.environ(cloud.home)
        airflow = Tasks(cloud, version, tasks, marquez, hanging)
        airflow.create()
        for number, row in enumerate(ROWS):
            airflow.set(row)
            before = airflow.arrived()
            events, emits = airflow.waits(number), airflow.emits(row)
            waits, used = zip(*events, strict=True)
            if row.reachable and airflow.arrived() - before != len(waits) + len(emits):
                raise SystemExit(f"{row.transport}, {row.state}: events are missing")
            times = (statistics.median(waits), max(waits), statistics.median(used), statistics.median(emits))
            table.add_row(row.transport, row.state, *(f"{time:.2f}" for time in times))
    load = os.getloadavg()[0]
    table.title = (
        f"Airflow {version}, {2 * tasks} events of {tasks} tasks, {os.cpu_count()} cores, load {load:.1f}"
    )
    return table
