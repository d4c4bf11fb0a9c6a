"""What a task pays for lineage, and the events per second that the forwarder carries to Marquez.

    python -m benchmarks.lineage [transport|forwarder] [--events 1000] [--version 3.3.1] [--tasks 4]

`transport` (benchmarks/transport.py, 5 minutes): the seconds for which a task waits for each of its events.

`forwarder`, beside a naive poster: the log lies in an emulated S3 (MiniStack), Marquez is the
double. Marquez 0.51.1 on a node of 2 cores takes 54 to 57 events a second, 34 ms each: as a double, two posts
at a time. "Larger" works at 20 posts at a time, as many as its connection pool has. With 0 ms the emulated S3
is what is waited for, so that row is repeated with a log in memory. Goal: as fast as Marquez takes events.

Both need an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import boto3
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from components.airflow_versions import AIRFLOW_VERSIONS
from forwarder.checkpoint_keeper import CheckpointKeeper
from forwarder.forwarder import Forwarder, Timing
from lineage_log.log import Log, key_at
from lineage_log.marquez_client import MarquezClient
from lineage_log.read_ahead import READERS
from local import aws
from local.home import REGION, Home
from local.processes import LOOPBACK, clean_environ, free_port
from tests.fakes.lineage import MemoryS3

BUCKET = "log"
JOBS = 50
KINDS = ("START", "COMPLETE")
SPACING = timedelta(milliseconds=50)  # between events
FACET = "x" * 2000  # an event of Airflow has some kilobytes


@dataclass(frozen=True)
class Speed:
    """Of a double. `latency` in seconds; `connections`: posts that it works at together."""

    name: str
    latency: float
    connections: int


SPEEDS = (
    Speed("measured (34 ms, 2 at a time)", 0.034, 2),
    Speed("larger (34 ms, 20 at a time)", 0.034, 20),
    Speed("0 ms", 0.0, 20),
)


def events(count: int) -> Iterator[tuple[str, bytes]]:
    """Keys and contents: runs of `JOBS` jobs, begun together and ended together."""
    start = datetime.now(UTC) - timedelta(days=1)
    runs = [str(uuid.uuid4()) for _ in range(JOBS)]
    for number in range(count):
        job, turn = number % JOBS, number // JOBS
        if turn % len(KINDS) == 0:
            runs[job] = str(uuid.uuid4())
        instant = start + number * SPACING
        event = {
            "eventTime": instant.isoformat(),
            "eventType": KINDS[turn % len(KINDS)],
            "run": {"runId": runs[job], "facets": {"airflow": {"text": FACET}}},
            "job": {"namespace": "benchmark", "name": f"dag.task_{job}"},
        }
        yield f"{key_at(instant)}-{uuid.uuid4().hex[:12]}.json.gz", gzip.compress(json.dumps(event).encode())


@dataclass(frozen=True)
class Double:
    """A Marquez double, as a process of its own: the roots of its two ports."""

    url: str
    admin: str

    def events(self) -> list[dict[str, Any]]:
        """What it knows. Raises OSError."""
        with urllib.request.urlopen(f"{self.admin}/events", timeout=30) as answer:  # noqa: S310 - loopback
            return cast(list[dict[str, Any]], json.load(answer))

    def be(self, kind: str) -> None:
        """Have a fault from now on: a `kind` of local.marquez_double.Faults."""
        body = json.dumps({"kind": kind}).encode()
        request = urllib.request.Request(f"{self.admin}/faults", body, method="PUT")  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310
            pass


@contextmanager
def double(speed: Speed) -> Iterator[Double]:
    """A Marquez double of that speed."""
    port, admin = free_port(), free_port()
    command = [sys.executable, "-m", "local.marquez_double", "--port", str(port), "--admin-port", str(admin)]
    command += ["--latency", str(speed.latency), "--connections", str(speed.connections)]
    process = subprocess.Popen(command)  # noqa: S603 - our own program
    made = Double(f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{admin}")
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                made.events()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield made
    finally:
        process.terminate()
        process.wait(10)


def naive(s3: Any, url: str) -> None:
    """List, and then read and post one event after the other, each over a new connection."""
    for page in Log(s3, BUCKET).pages(""):
        for found in page:
            body = gzip.decompress(s3.get_object(Bucket=BUCKET, Key=found.key)["Body"].read())
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{url}/api/v1/lineage", body, headers)  # noqa: S310 - loopback
            with urllib.request.urlopen(request, timeout=30):  # noqa: S310
                pass


def forward(s3: Any, url: str) -> None:
    """The forwarder, until nothing is left."""
    keeper = CheckpointKeeper(s3, BUCKET, f"forwarder/{uuid.uuid4()}.json", holder="benchmark", lease=10)
    marquez = MarquezClient(url, timeout=20)
    Forwarder(Log(s3, BUCKET), keeper, marquez, Timing()).once(1)


def rate(work: Callable[[Any, str], None], s3: Any, speed: Speed, count: int) -> float:
    """Events per second. Raises SystemExit if Marquez does not have them all."""
    with double(speed) as marquez:
        started = time.monotonic()
        work(s3, marquez.url)
        seconds = time.monotonic() - started
        if (known := len(marquez.events())) < count:
            raise SystemExit(f"only {known} of {count} events are known to Marquez")
    return count / seconds


def fill(s3: Any, count: int) -> MemoryS3:
    """Write the log, and the same one in memory."""
    memory, written = MemoryS3(), list(events(count))
    for key, content in written:
        memory.objects[key], memory.modified[key] = content, datetime.now(UTC)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: s3.put_object(Bucket=BUCKET, Key=one[0], Body=one[1]), written))
    return memory


def forwarder(count: int) -> Table:
    """Carry `count` events to each double, in both ways."""
    os.environ["MWAA_LOCAL_TOOLS"] = str(Home.find().tools)
    table = Table("Marquez", "log", "naive (events/s)", "forwarder (events/s)")
    with tempfile.TemporaryDirectory(prefix="lineage-benchmark-") as folder:
        home = Home(Path(folder) / "home")
        aws.start(home)
        try:
            os.environ.update(clean_environ(**aws.environ(home)))
            s3 = boto3.client("s3", region_name=REGION, config=Config(max_pool_connections=READERS + 2))
            s3.create_bucket(Bucket=BUCKET)
            memory = cast(Any, fill(s3, count))
            rows = [(speed, "emulated S3", s3) for speed in SPEEDS]
            for speed, where, log in [*rows, (SPEEDS[-1], "in memory", memory)]:
                rates = [rate(work, log, speed, count) for work in (naive, forward)]
                table.add_row(speed.name, where, *(f"{one:.0f}" for one in rates))
        finally:
            aws.stop(home)
    table.title = f"{count} events of {JOBS} jobs, load {os.getloadavg()[0]:.1f}"
    return table


def main() -> None:
    from benchmarks import transport  # which needs this module's double

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("half", nargs="?", choices=("transport", "forwarder"), help="default: both")
    parser.add_argument("--events", type=int, default=1000, help="that the forwarder carries")
    parser.add_argument("--version", default=max(AIRFLOW_VERSIONS), help="of Airflow")
    parser.add_argument("--tasks", type=int, default=4, help="of each row, two events each")
    chosen = parser.parse_args()
    if chosen.half != "transport":
        Console().print(forwarder(chosen.events))
    if chosen.half != "forwarder":
        Console().print(transport.measure(chosen.version, chosen.tasks))


if __name__ == "__main__":
    main()
