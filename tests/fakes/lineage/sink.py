"""Further sinks of the lineage log: an endpoint that is stricter than the real ones, and DataZone's API."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

from lineage_log.marquez_client import PROBE_NAMESPACE
from tests.fakes.aws.errors import client_error

PATH = "/openapi/openlineage/api/v1/lineage"
KINDS = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")


def fault(event: Any) -> str | None:
    """What is wrong with a run event by OpenLineage's specification."""
    try:
        if not datetime.fromisoformat(event["eventTime"]).tzinfo or event["eventType"] not in KINDS:
            return "eventTime or eventType"
        uuid.UUID(event["run"]["runId"])
        if not all((event["job"]["namespace"], event["job"]["name"], event["producer"], event["schemaURL"])):
            return "empty"
    except (KeyError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@dataclass
class FakeSink:
    """Takes events at PATH alone, from who sends `token`; first with `answers` (status, headers)."""

    token: str | None = "Bearer good"
    most: int = 100_000  # bytes
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)  # in order, without probes
    probes: int = 0
    refused: list[int] = field(default_factory=list)
    before: Callable[[], None] = lambda: None  # each answer
    url: str = ""

    def names(self) -> list[str]:
        return [event["name"] for event in self.taken]


def serve(sink: FakeSink) -> ThreadingHTTPServer:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            body = self.rfile.read(size)
            with lock:
                sink.before()
                status, headers = self.status(size, body)
                if status >= 300:
                    sink.refused.append(status)
            text = f"{status} for {self.headers.get('Authorization')}"  # some echo what they are sent
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def status(self, size: int, body: bytes) -> tuple[int, dict[str, str]]:
            if self.path != PATH:
                return 404, {}
            if sink.answers:
                return sink.answers.pop(0)
            if self.headers.get("Authorization") != sink.token:
                return 401, {}
            if self.headers.get("Content-Type") != "application/json":
                return 415, {}
            if size > sink.most:
                return 413, {}
            try:
                event = json.loads(body)
            except ValueError:
                return 400, {}
            if fault(event):
                return 422, {}
            if event["job"]["namespace"] == PROBE_NAMESPACE:
                sink.probes += 1
            else:
                sink.taken.append(event)
            return 200, {}

        def do_GET(self) -> None:  # what a client that follows a redirect with GET would do
            self.send_error(405)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.url = f"http://127.0.0.1:{server.server_address[1]}{PATH}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


class FakeDataZone:
    """PostLineageEvent as boto3's own description of the service has it; one domain."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._operation = boto3.client(
            "datazone", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        ).meta.service_model.operation_model("PostLineageEvent")
        self.errors: list[tuple[str, int]] = []  # codes and statuses of the next answers
        self.taken: list[dict[str, Any]] = []
        self.tokens: dict[str, bytes] = {}

    def post_lineage_event(self, **arguments: Any) -> dict[str, Any]:
        shape = self._operation.input_shape
        report = ParamValidator().validate(arguments, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())
        if self.errors:
            raise client_error(*self.errors.pop(0), "PostLineageEvent")
        event, token = arguments["event"], arguments["clientToken"]
        if arguments["domainIdentifier"] != self._domain:
            raise client_error("ResourceNotFoundException", 404, "PostLineageEvent")
        if len(event) > shape.members["event"].metadata["max"] or fault(json.loads(event)):
            raise client_error("ValidationException", 400, "PostLineageEvent")
        if self.tokens.setdefault(token, event) != event:
            raise client_error("ConflictException", 409, "PostLineageEvent")
        content = json.loads(event)
        if content not in self.taken and content["job"]["namespace"] != PROBE_NAMESPACE:
            self.taken.append(content)
        return {"ResponseMetadata": {"HTTPStatusCode": 200}}
