"""Marquez as an HTTP server, with faults."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lineage_log.marquez_client import PROBE_NAMESPACE
from local.marquez.double import Marquez as Knowledge
from local.marquez.double import Run, run_uuid


@dataclass
class FakeMarquez:
    """Answers posts with `answers` (statuses), one by one, and then as Marquez does; probes with `probes`."""

    posted: list[dict[str, Any]] = field(default_factory=list)  # accepted events, in order
    tried: int = 0
    answers: list[int] = field(default_factory=list)
    poison: Callable[[dict[str, Any]], int | None] = lambda event: None
    probes: int = 201
    probed: int = 0
    run_status: int = 0  # with which it answers queries about runs; 0: as Marquez does
    knowledge: Knowledge = field(default_factory=Knowledge)
    concurrency: int = 0  # the highest number of posts at the same time
    seconds: float = 0  # that a post takes
    more_seconds: Callable[[dict[str, Any]], float] = lambda event: 0  # that this one takes
    url: str = ""

    def accepted(self, *keys: str) -> list[Any]:
        """The accepted events' values of these keys; of one key, without tuples."""
        if len(keys) == 1:
            return [event[keys[0]] for event in self.posted]
        return [tuple(event[key] for key in keys) for event in self.posted]

    def of_run(self, run: str) -> list[str]:
        return [event["eventType"] for event in self.posted if event["run"]["runId"] == run]

    def state(self, run: str) -> str:
        return self.known(run).state

    def known(self, run: str) -> Run:
        """What it knows of a run, by the id in its events."""
        return self.knowledge.runs[run_uuid(run)]


def serve(marquez: FakeMarquez) -> ThreadingHTTPServer:
    lock = threading.Lock()
    in_progress = [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                in_progress[0] += 1
                marquez.concurrency = max(marquez.concurrency, in_progress[0])
                parent = marquez.knowledge.unknown_parent(event)
            time.sleep(marquez.seconds + marquez.more_seconds(event))
            with lock:
                in_progress[0] -= 1
                status = self.status(event, parent)
            self.reply(status if self.path == "/api/v1/lineage" else 404)

        def status(self, event: dict[str, Any], parent: str | None) -> int:
            if (event.get("job") or {}).get("namespace") == PROBE_NAMESPACE:
                marquez.probed += 1
                return marquez.probes
            marquez.tried += 1
            status = marquez.poison(event) or (marquez.answers.pop(0) if marquez.answers else 201)
            if status == 201:
                status = marquez.knowledge.take(event, "", parent)
            if status == 201:
                marquez.posted.append(event)
            return status

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            with lock:
                status, content = marquez.knowledge.query(url.path, parse_qs(url.query))
                if marquez.run_status and "/jobs/runs/" in url.path:
                    status = marquez.run_status
            self.reply(status, json.dumps(content))

        def reply(self, status: int, text: str = "answer") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    marquez.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server
