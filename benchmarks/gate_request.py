"""What it costs a process to import the gate, and to read the ownership parameter over HTTPS: the gate's way
and with a botocore client.

    python -m benchmarks.gate_request [PROCESSES]

Each read happens in a process of its own, as an Airflow task does, forked from a process that has imported
what the read needs. The server is on this machine, in another process.

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
import trustme
from botocore.config import Config
from botocore.httpsession import DEFAULT_CA_BUNDLE
from rich.console import Console
from rich.table import Table

from tests.fakes.timeline import dumped, initial

IMPORT = """
import boto3, botocore.session, resource, time
begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
import bluegreen.policies
took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
print((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000, took * 1000)
"""
NAME = "/p/s/ownership"
RECORD = {"Name": NAME, "Value": dumped(initial()), "Version": 1, "LastModifiedDate": 1763891000.5}


class SsmServer(BaseHTTPRequestHandler):
    """Answers each request with the parameter."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = json.dumps({"Parameter": RECORD}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), SsmServer)
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


def main() -> None:
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    imported = importing(processes)
    with tempfile.TemporaryDirectory() as folder:
        server, port = serve(Path(folder))
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_SSM": f"https://localhost:{port}",
            "AWS_CA_BUNDLE": str(Path(folder) / "trusted.pem"),
        }
        from bluegreen.store import Parameter  # only now: the import reads the certificates

        config = Config(connect_timeout=3, read_timeout=3, retries={"total_max_attempts": 1})

        def client() -> None:
            ssm: Any = botocore.session.Session().create_client("ssm", region_name="us-east-1", config=config)
            ssm.get_parameter(Name=NAME)

        rows = {
            "importing the gate": imported,
            "a read, the gate's way": cost(lambda: Parameter(NAME, 3.0).read(None), processes),
            "a read by a botocore client": cost(client, processes),
        }
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
