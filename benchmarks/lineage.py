"""What lineage costs a task, and how many events per second the forwarder delivers to Marquez.

    python -m benchmarks.lineage [transport|forwarder] [--events 1000] [--version 3.3.1] [--tasks 4]

`transport` (benchmarks/transport.py, 5 minutes): how many seconds a task waits for each of its events.

`forwarder`: the forwarder and a naive poster. The log is in an emulated S3 (MiniStack), and a double
stands in for Marquez. Marquez 0.51.1 on a node with 2 cores takes 54 to 57 events a second, 34 ms each, which
the double imitates with two posts at a time. "Larger" handles 20 posts at a time, the size of Marquez's
connection pool. At 0 ms the emulated S3 is the bottleneck, so that row is repeated with a log in memory.
Goal: as fast as Marquez takes events.

Both need an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import boto3
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from benchmarks import transport
from benchmarks.marquez import SPEEDS, Speed, double
from components.config.airflow_versions import AIRFLOW_VERSIONS
from forwarder.checkpoint_keeper import CheckpointKeeper
from forwarder.forwarder import Forwarder, Timing
from lineage_log.log import Log, key_at
from lineage_log.marquez_client import MarquezClient
from lineage_log.read_ahead import READERS
from local.aws import ministack
from local.home import REGION, Home
from local.processes import clean_environ
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3

BUCKET = LINEAGE_LOG
JOBS = 50
KINDS = ("START", "COMPLETE")
SPACING = timedelta(milliseconds=50)  # between events
FACET = "x" * 2000  # an event of Airflow has some kilobytes


def events(count: int) -> Iterator[tuple[str, bytes]]:
    """Keys and contents: runs of `JOBS` jobs that begin together and end together."""
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


def naive(s3: Any, url: str) -> None:
    """List the log, then read and post one event after the other, each over a new connection."""
    for page in Log(s3, BUCKET).pages(""):
        for entry in page:
            body = gzip.decompress(s3.get_object(Bucket=BUCKET, Key=entry.key)["Body"].read())
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{url}/api/v1/lineage", body, headers)  # noqa: S310 - loopback
            with urllib.request.urlopen(request, timeout=30):  # noqa: S310
                pass


def forward(s3: Any, url: str) -> None:
    """Run the forwarder until the log is empty."""
    keeper = CheckpointKeeper(s3, BUCKET, f"forwarder/{uuid.uuid4()}.json", holder="benchmark", lease=10)
    marquez = MarquezClient(url, timeout=20)
    Forwarder(Log(s3, BUCKET), keeper, marquez, Timing()).once(1)


def rate(work: Callable[[Any, str], None], s3: Any, speed: Speed, count: int) -> float:
    """Events per second. Raises SystemExit if events are missing in Marquez."""
    with double(speed) as marquez:
        started = time.monotonic()
        work(s3, marquez.url)
        seconds = time.monotonic() - started
        if (arrived := len(marquez.events())) < count:
            raise SystemExit(f"Marquez has only {arrived} of {count} events")
    return count / seconds


def fill(s3: Any, count: int) -> FakeS3:
    """Write the log to `s3`; return the same log in memory."""
    memory, objects = FakeS3(), list(events(count))
    for key, content in objects:
        memory.lineage.put(key, content)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: s3.put_object(Bucket=BUCKET, Key=each[0], Body=each[1]), objects))
    return memory


def forwarder(count: int) -> Table:
    """Send `count` events to each double, both ways."""
    os.environ["MWAA_LOCAL_TOOLS"] = str(Home.find().tools)
    table = Table("Marquez", "log", "naive (events/s)", "forwarder (events/s)")
    with tempfile.TemporaryDirectory(prefix="lineage-benchmark-") as folder:
        home = Home(Path(folder) / "home")
        ministack.start(home)
        try:
            os.environ.update(clean_environ(**ministack.environ(home)))
            s3 = boto3.client("s3", region_name=REGION, config=Config(max_pool_connections=READERS + 2))
            s3.create_bucket(Bucket=BUCKET)
            memory = cast(Any, fill(s3, count))
            rows = [(speed, "emulated S3", s3) for speed in SPEEDS]
            for speed, where, log in [*rows, (SPEEDS[-1], "in memory", memory)]:
                rates = [rate(work, log, speed, count) for work in (naive, forward)]
                table.add_row(speed.name, where, *(f"{each:.0f}" for each in rates))
        finally:
            ministack.stop(home)
    table.title = f"{count} events of {JOBS} jobs, load {os.getloadavg()[0]:.1f}"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("half", nargs="?", choices=("transport", "forwarder"), help="default: both")
    parser.add_argument("--events", type=int, default=1000, help="for the forwarder")
    parser.add_argument("--version", default=max(AIRFLOW_VERSIONS), help="Airflow version")
    parser.add_argument("--tasks", type=int, default=4, help="per row, with two events each")
    chosen = parser.parse_args()
    if chosen.half != "transport":
        Console().print(forwarder(chosen.events))
    if chosen.half != "forwarder":
        Console().print(transport.measure(chosen.version, chosen.tasks))


if __name__ == "__main__":
    main()
