"""What it costs a process to import the gate, and to judge a run: from the host's copy of the ownership
timeline, or with requests to SSM and S3 over HTTPS. To compare, the same request by a botocore client.

    python -m benchmarks.gate_request [PROCESSES]

Each verdict is that of a process of its own, as an Airflow task is, forked from a process that has imported
what it needs. The server is on this machine, in another process. The busy stack has 2,000 DAGs with ids of 40
characters, 500 of them held by a switch, and had 500 switches in a day: that stands in an object.

On MWAA each task of Airflow 2 pays for the import, too, because it gets a new interpreter. boto3 is already
imported there by MWAA's log handlers.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import botocore.session
import trustme
from bluegreen.document import Document, dump
from bluegreen.timeline import Colour, Timeline, other_colour
from botocore.config import Config
from botocore.httpsession import DEFAULT_CA_BUNDLE
from rich.console import Console
from rich.table import Table

from tests.fakes.timeline import gate_settings, initial

IMPORT = """
import boto3, botocore.session, resource, time
begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
import bluegreen.policies
took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
print((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000, took * 1000)
"""
QUIET, BUSY = "/quiet/s/ownership", "/busy/s/ownership"
DAY = datetime(2026, 11, 23, tzinfo=UTC)
DAGS = [f"a_dag_with_an_id_of_forty_characters_{number:04}" for number in range(2000)]


def busy() -> Timeline:
    """After a day of 500 switches, all but the last one drained."""
    timeline = initial()
    for number in range(500):
        version = timeline.base_version + 2
        target: Colour = "blue" if number % 2 else "green"
        since = DAY + timedelta(seconds=170 * number)
        timeline = timeline.switched(target, since, version, known=DAGS)
        if number < 499:
            timeline = timeline.with_books(other_colour(target), {}, version + 1, closed=True)
    for dag_id in DAGS[:500]:
        timeline = timeline.dag_moved(dag_id, "green", since, version)
    return timeline


class AwsServer(BaseHTTPRequestHandler):
    """Answers with a parameter of SSM, or with the object that it points to."""

    documents: ClassVar[dict[str, tuple[Document, int]]] = {}

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Name"]
        document, version = self.documents[name]
        modified = DAY.timestamp() + 0.5
        record = {"Name": name, "Value": document.value, "Version": version, "LastModifiedDate": modified}
        self._answer(json.dumps({"Parameter": record}), "application/x-amz-json-1.1")

    def do_GET(self) -> None:
        self._answer(self.documents[BUSY][0].content or "", "application/json")

    def _answer(self, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def serve(folder: Path) -> tuple[int, int]:
    """Start the server in a child process; return its id and its port."""
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    trusted = folder / "trusted.pem"  # the usual certificates, and ours
    trusted.write_text(Path(DEFAULT_CA_BUNDLE).read_text() + authority.cert_pem.bytes().decode())
    server = ThreadingHTTPServer(("127.0.0.1", 0), AwsServer)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", key_type=trustme.KeyType.RSA).configure_cert(tls)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    child = os.fork()
    if not child:
        server.serve_forever()
    server.socket.close()
    return child, server.server_port


def cost(read: Callable[[], object], processes: int) -> tuple[float, float]:
    """Median CPU and wall-clock milliseconds of one read, each in a process of its own."""
    cpu, wall = [], []
    for _ in range(processes):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            read()
            took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            os.write(writer, f"{used * 1000} {took * 1000}".encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as answer:
            used_cpu, used_wall = map(float, answer.read().split())
        cpu.append(used_cpu)
        wall.append(used_wall)
    return statistics.median(cpu), statistics.median(wall)


def importing(interpreters: int) -> tuple[float, float]:
    """Median CPU and wall-clock milliseconds of the gate's import."""
    # MWAA has no bundle of its own
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_CA_BUNDLE")}
    command = [sys.executable, "-c", IMPORT]
    costs = [
        [float(word) for word in subprocess.check_output(command, env=environ).split()]  # noqa: S603 - ours
        for _ in range(interpreters)
    ]
    cpu, wall = (statistics.median(column) for column in zip(*costs, strict=True))
    return cpu, wall


def verdict(name: str, folder: Path, due: datetime) -> bool:
    """Judge a run, as a process of the host with this folder."""
    from bluegreen.gate import Gate, Run  # not before `main` has named the certificates
    from bluegreen.store import Parameter, Store

    chosen = gate_settings("blue", parameter=name, max_age=timedelta(hours=1))
    store = Store(chosen, Parameter(name, 3.0).read, folder)
    return Gate(chosen, store).verdict(Run(DAGS[0], "run", "scheduled", due), wait=0).mine


def measured(folder: Path, processes: int) -> dict[str, tuple[float, float]]:
    """CPU and wall-clock milliseconds by what is done."""
    config = Config(connect_timeout=3, read_timeout=3, retries={"total_max_attempts": 1})
    due = datetime.now(UTC)

    def client() -> None:
        ssm: Any = botocore.session.Session().create_client("ssm", region_name="us-east-1", config=config)
        ssm.get_parameter(Name=QUIET)

    def from_copy(name: str) -> tuple[float, float]:
        cost(lambda: verdict(name, folder / "host", due), 1)  # another process of the host
        return cost(lambda: verdict(name, folder / "host", due), processes)

    def asking(name: str) -> tuple[float, float]:
        return cost(lambda: verdict(name, Path(tempfile.mkdtemp(dir=folder)), due), processes)

    return {
        "a verdict from the host's copy": from_copy(QUIET),
        "the same, busy stack": from_copy(BUSY),
        "a verdict that asks SSM": asking(QUIET),
        "a verdict that asks SSM and S3, busy stack": asking(BUSY),
        "a read by a botocore client": cost(client, processes),
    }


def main() -> None:
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    timelines = {QUIET: initial(), BUSY: busy()}
    for name, timeline in timelines.items():
        AwsServer.documents[name] = (
            dump(timeline, DAY + timedelta(days=1)),
            timeline.base_version + 1,
        )
    rows = {"importing the gate": importing(processes)}
    with tempfile.TemporaryDirectory() as folder:
        server, port = serve(Path(folder))
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"https://localhost:{port}",
            "AWS_CA_BUNDLE": str(Path(folder) / "trusted.pem"),
        }
        import bluegreen.policies  # noqa: F401 - only now: the import reads the certificates

        rows |= measured(Path(folder), processes)
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    table = Table(
        *("milliseconds, median", "CPU", "wall clock"),
        title=f"{processes} processes each, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
    )
    for what, (cpu, wall) in rows.items():
        table.add_row(what, f"{cpu:.1f}", f"{wall:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
