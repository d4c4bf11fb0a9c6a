"""What lineage costs a task, and how many events per second the forwarder delivers to Marquez.

    python -m benchmarks.lineage forwarder [--events 1000] [--to URL] [--largest 200]
    python -m benchmarks.lineage transport [--version 3.3.1] [--tasks 4]

`transport` (benchmarks/transport.py, 5 minutes): how many seconds a task waits for each of its events.

`forwarder`: the forwarder beside direct posts over one connection, and over eight without any order. The log
is in an emulated S3 (MiniStack), and a double stands in for Marquez. Marquez 0.51.1 on a node with 2 cores
takes 54 to 57 events a second, 34 ms each, which the double imitates with two posts at a time. "Larger"
handles 20 posts at a time, the size of Marquez's connection pool. `--to` names a real Marquez instead.
Goals: at least twice as fast as one connection, and never behind eight. `--largest` instead measures the
forwarder's memory with so many events of almost 8 MiB, the most that it forwards: real schemas, noise that
hardly compresses, and as many values as an event may have. Each takes the server
half a second, two at a time.

Both need an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import transport
from benchmarks.marquez import SPEEDS, Speed, double, sink
from components.config.airflow_versions import AIRFLOW_VERSIONS
from lineage_log.event import LARGEST, MOST_VALUES, Event
from lineage_log.log import key_at
from lineage_log.marquez_client import PRODUCER, SCHEMA, MarquezClient
from local.aws import ministack
from local.home import REGION, Home
from local.processes import clean_environ
from tests.fakes.aws.s3 import LINEAGE_LOG

BUCKET = LINEAGE_LOG
DAGS, TASKS = 10, 5
SPACING = timedelta(milliseconds=50)  # between events
COLUMNS = 24  # with which an event is as large as Airflow's: 7 KB


def events(count: int) -> Iterator[tuple[str, bytes]]:
    """Keys and contents: runs of DAGs whose tasks read and write datasets, one task after the other."""
    start = datetime.now(UTC) - timedelta(days=1)
    each = interleaved(count)
    for number in range(count):
        instant = start + number * SPACING
        event = next(each) | {"eventTime": instant.isoformat()}
        yield f"{key_at(instant)}-{uuid.uuid4().hex[:12]}.json.gz", gzip.compress(json.dumps(event).encode())


def interleaved(count: int) -> Iterator[dict[str, Any]]:
    """Events of all DAGs in turn."""
    dags = [run_events(dag) for dag in range(DAGS)]
    for number in range(count):
        dag = number % DAGS
        event = next(dags[dag], None)
        if event is None:
            dags[dag] = run_events(dag)
            event = next(dags[dag])
        yield event


def run_events(dag: int) -> Iterator[dict[str, Any]]:
    run, name = str(uuid.uuid4()), f"dag_{dag}"
    yield event_of("START", run, name)
    for task in range(TASKS):
        task_run, parent = str(uuid.uuid4()), {"run": {"runId": run}, "job": job(name)}
        for kind in ("START", "COMPLETE"):
            yield event_of(kind, task_run, f"{name}.task_{task}", facet(parent), task)
    yield event_of("COMPLETE", run, name)


def event_of(
    kind: str, run: str, name: str, parent: dict[str, Any] | None = None, task: int = 0
) -> dict[str, Any]:
    text = facet({"dagRun": {"conf": {f"key_{n}": uuid.uuid4().hex for n in range(40)}}})
    facets = {"airflow": text, **({"parent": parent} if parent else {})}
    dag = name.split(".")[0]
    tables = [dataset(f"{dag}.table_{n}") for n in (task, task + 1)] if parent else []
    return {
        "eventType": kind,
        "run": {"runId": run, "facets": facets},
        "job": job(name),
        "inputs": tables[:1],
        "outputs": tables[1:],
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
    }


def job(name: str) -> dict[str, Any]:
    return {"namespace": "benchmark", "name": name}


def dataset(name: str) -> dict[str, Any]:
    columns = [{"name": f"column_{n}", "type": "VARCHAR", "description": "x" * 20} for n in range(COLUMNS)]
    return job(name) | {"facets": {"schema": facet({"fields": columns})}}


def facet(content: dict[str, Any]) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": SCHEMA} | content


@dataclass(frozen=True)
class Use:
    """What a forwarder process used, from its first event: time and CPU in seconds, peak memory in bytes."""

    time: float
    cpu: float
    memory: int


def direct(texts: list[bytes], url: str, connections: int) -> Use:
    """Post the events over so many connections, each in any order."""
    marquez, started = MarquezClient(url, timeout=60), time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        if not all(answer.delivered for answer in pool.map(marquez.post, texts)):
            raise SystemExit("a post failed")
    return Use(time.monotonic() - started, 0, 0)


def forward(url: str) -> Use:
    """Run the forwarder until the log is empty."""
    command = [sys.executable, "-m", "forwarder", "--once", "--bucket", BUCKET, "--to", url]
    process = psutil.Popen(
        [*command, "--checkpoint", f"forwarder/{uuid.uuid4()}.json"],
        env=os.environ | {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072"},  # as on a node
        stdout=subprocess.PIPE,
        text=True,
    )
    memory, status = 0, Path(f"/proc/{process.pid}/status")
    started, times = time.monotonic(), process.cpu_times()
    while "forwarding, from" not in process.stdout.readline():
        started, times = time.monotonic(), process.cpu_times()
    before, cpu = sum(times[:2]), 0.0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError, StopIteration):
            lines = status.read_text().splitlines()
            memory = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
            cpu = sum(process.cpu_times()[:2]) - before
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit("the forwarder failed")
    return Use(time.monotonic() - started, cpu, memory)


@contextmanager
def log_of(objects: Iterable[tuple[str, bytes]]) -> Iterator[None]:
    """An emulated S3, as the environment says, with a lineage log that has these objects."""
    os.environ["MWAA_LOCAL_TOOLS"] = str(Home.find().tools)
    with tempfile.TemporaryDirectory(prefix="lineage-benchmark-") as folder:
        home = Home(Path(folder) / "home")
        ministack.start(home)
        try:
            os.environ.update(clean_environ(**ministack.environ(home)))
            s3 = boto3.client("s3", region_name=REGION)
            s3.create_bucket(Bucket=BUCKET)
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda each: s3.put_object(Bucket=BUCKET, Key=each[0], Body=each[1]), objects))
            yield
        finally:
            ministack.stop(home)


def forwarder(count: int, to: str | None) -> Table:
    """Send `count` events to each Marquez in three ways."""
    table = Table("Marquez", "1 connection", "8 connections", "forwarder", "CPU (ms/event)", "memory (MB)")
    objects = list(events(count))
    texts = [gzip.decompress(content) for _, content in objects]
    with log_of(objects):
        for speed in [None] if to else SPEEDS:
            table.add_row(*row(texts, speed, to))
    size = statistics.mean(map(len, texts)) / 1000
    table.title = f"{count} events of {size:.1f} KB, events/s, load {os.getloadavg()[0]:.1f}"
    return table


def row(texts: list[bytes], speed: Speed | None, to: str | None) -> list[str]:
    uses: list[Use] = []
    for way in (lambda url: direct(texts, url, 1), lambda url: direct(texts, url, 8), forward):
        with double(speed) if speed else nullcontext() as marquez:
            uses.append(way(marquez.url if marquez else str(to)))
            if marquez and (arrived := len(marquez.events())) < len(texts):
                raise SystemExit(f"Marquez has only {arrived} of {len(texts)} events")
    figures, use = [f"{len(texts) / each.time:.0f}" for each in uses], uses[-1]
    name = speed.name if speed else str(to)
    return [name, *figures, f"{use.cpu / len(texts) * 1000:.1f}", f"{use.memory / 1e6:.0f}"]


def largest(count: int) -> Table:
    """Send `count` events of the greatest size."""
    table = Table("events", "size (MiB)", "packed (MiB)", "events/s", "memory (MB)")
    objects = list(largest_events(count))
    texts = [Event.parse(key, content).size - len(content) for key, content in objects[: len(FILLINGS)]]
    with log_of(objects), sink(Speed("", 0.5, 2)) as url:
        use = forward(url)
    sizes, packed = (
        [f"{min(each) / 2**20:.1f} to {max(each) / 2**20:.1f}"]
        for each in (texts, [len(content) for _, content in objects])
    )
    table.add_row(str(count), *sizes, *packed, f"{count / use.time:.1f}", f"{use.memory / 1e6:.0f}")
    table.title = f"the largest events, load {os.getloadavg()[0]:.1f}"
    return table


def largest_events(count: int) -> Iterator[tuple[str, bytes]]:
    """Keys and contents: events of jobs of their own that are as large as they may be, of all FILLINGS."""
    start, chance = datetime.now(UTC) - timedelta(days=1), random.Random(0)  # noqa: S311 - noise
    facets = [fill(chance) for fill in FILLINGS]
    for number in range(count):
        instant = start + number * SPACING
        event = event_of("START", str(uuid.uuid4()), f"large_{number}") | {"eventTime": instant.isoformat()}
        event["run"]["facets"]["large"] = facet({"content": facets[number % len(FILLINGS)]})
        content = gzip.compress(json.dumps(event).encode(), 1)
        yield f"{key_at(instant)}-{uuid.uuid4().hex[:12]}.json.gz", content


LARGE = LARGEST - 64 * 1024  # bytes; the rest of the event takes less than the difference
FILLINGS = (
    lambda chance: [
        {"name": f"column_{number:06}", "type": "VARCHAR", "description": chance.randbytes(12).hex()}
        for number in range(LARGE // 90)
    ],
    lambda chance: chance.randbytes(LARGE // 2).hex(),
    lambda _chance: [{f"{number:x}": 0} for number in range((MOST_VALUES - 5000) // 3)],
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("half", nargs="?", choices=("transport", "forwarder"), help="default: both")
    parser.add_argument("--events", type=int, default=1000, help="for the forwarder")
    parser.add_argument("--to", help="root URL of a Marquez, for the forwarder")
    parser.add_argument("--largest", type=int, metavar="N", help="measure the memory for N events of 8 MiB")
    parser.add_argument("--version", default=max(AIRFLOW_VERSIONS), help="Airflow version")
    parser.add_argument("--tasks", type=int, default=4, help="per row, with two events each")
    chosen = parser.parse_args()
    if chosen.half == "forwarder" and chosen.largest:
        Console().print(largest(chosen.largest))
    elif chosen.half != "transport":
        Console().print(forwarder(chosen.events, chosen.to))
    if chosen.half != "forwarder":
        Console().print(transport.measure(chosen.version, chosen.tasks))


if __name__ == "__main__":
    main()
