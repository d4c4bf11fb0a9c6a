"""A double of Marquez in a process of its own, as fast as the benchmark wants it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from local.processes import LOOPBACK, free_port


@dataclass(frozen=True)
class Speed:
    """How fast a double is: `latency` in seconds; `connections`: how many posts it handles at once."""

    name: str
    latency: float
    connections: int


SPEEDS = (
    Speed("measured (34 ms, 2 at a time)", 0.034, 2),
    Speed("larger (34 ms, 20 at a time)", 0.034, 20),
    Speed("0 ms", 0.0, 20),
)


@dataclass(frozen=True)
class Double:
    """A running double: the roots of its two ports."""

    url: str
    admin: str

    def events(self) -> list[dict[str, Any]]:
        """The events it has received. Raises OSError."""
        with urllib.request.urlopen(f"{self.admin}/events", timeout=30) as answer:  # noqa: S310 - loopback
            return cast(list[dict[str, Any]], json.load(answer))

    def fail(self, kind: str) -> None:
        """Have a fault from now on: a `kind` of local.marquez.double.Faults; "none" ends it."""
        body = json.dumps({"kind": kind}).encode()
        request = urllib.request.Request(f"{self.admin}/faults", body, method="PUT")  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310
            pass


@contextmanager
def double(speed: Speed) -> Iterator[Double]:
    """Run a double of that speed."""
    port, admin = free_port(), free_port()
    command = [sys.executable, "-m", "local.marquez.double", "--port", str(port), "--admin-port", str(admin)]
    command += ["--latency", str(speed.latency), "--connections", str(speed.connections)]
    process = subprocess.Popen(command)  # noqa: S603 - our own program
    running = Double(f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{admin}")
    try:
        _wait_until_up(running)
        yield running
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def sink(speed: Speed) -> Iterator[str]:
    """The URL of a server of that speed that accepts all posts and keeps none, however large they are."""
    database = threading.Semaphore(speed.connections)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            left = int(self.headers["Content-Length"])
            while left:
                left -= len(self.rfile.read(min(left, 64 * 1024)))
            with database:
                time.sleep(speed.latency)
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _wait_until_up(marquez: Double) -> None:
    """Raises OSError if the double does not answer within 20 s."""
    deadline = time.monotonic() + 20
    while True:
        try:
            marquez.events()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
