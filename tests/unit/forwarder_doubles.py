"""An S3 that enforces conditional writes, and a Marquez that answers as it is told."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.exceptions import ClientError

from forwarder.log import key_at

START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


def refusal(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


class MemoryS3:
    """One bucket. What the forwarder uses of boto3's client, with S3's answers."""

    def __init__(self, page_size: int = 1000) -> None:
        self.objects: dict[str, bytes] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.page_size = page_size
        self.lock = threading.Lock()

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        with self.lock:
            if Key not in self.objects:
                raise refusal("NoSuchKey", "GetObject")
            return {"Body": io.BytesIO(self.objects[Key]), "ETag": self.etag(Key)}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803 - boto3's names, here and below
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str = "",  # noqa: N803
        Metadata: dict[str, str] | None = None,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        with self.lock:
            exists = Key in self.objects
            if IfNoneMatch == "*" and exists:
                raise refusal("PreconditionFailed", "PutObject")
            if IfMatch is not None and not exists:
                raise refusal("NoSuchKey", "PutObject")
            if IfMatch is not None and IfMatch != self.etag(Key):
                raise refusal("PreconditionFailed", "PutObject")
            self.objects[Key] = Body
            self.metadata[Key] = Metadata or {}
            return {"ETag": self.etag(Key)}

    def copy_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        CopySource: dict[str, str],  # noqa: N803
        MetadataDirective: str,  # noqa: N803
        Metadata: dict[str, str],  # noqa: N803
    ) -> None:
        with self.lock:
            if CopySource["Key"] not in self.objects:
                raise refusal("NoSuchKey", "CopyObject")
            self.objects[Key] = self.objects[CopySource["Key"]]
            self.metadata[Key] = Metadata

    def etag(self, key: str) -> str:
        return f'"{hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()}"'

    def get_paginator(self, operation: str) -> MemoryS3:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str, StartAfter: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        with self.lock:
            keys = sorted(k for k in self.objects if k.startswith(Prefix) and k > StartAfter)
        for start in range(0, len(keys), self.page_size):
            yield {"Contents": [{"Key": key} for key in keys[start : start + self.page_size]]}
        if not keys:
            yield {}

    def log(self, seconds: float, kind: str, run: str = "run", name: str = "") -> str:
        """Write one event as the Airflows do, `seconds` after START; returns its key."""
        instant = START + timedelta(seconds=seconds)
        event = {"eventTime": instant.isoformat(), "eventType": kind, "run": {"runId": run}, "name": name}
        unique = hashlib.sha256(f"{seconds}{kind}{run}{name}".encode()).hexdigest()[:12]
        key = f"{key_at(instant)}-{unique}.json.gz"
        self.objects[key] = gzip.compress(json.dumps(event).encode())
        return key


@dataclass
class FakeMarquez:
    """Answers posts with `answers`, one after the other, and then 201; queries with `queries`."""

    posted: list[dict[str, Any]] = field(default_factory=list)  # in order; the accepted ones only
    tried: int = 0
    answers: list[int] = field(default_factory=list)
    queries: int = 200
    url: str = ""

    def accepted(self, *keys: str) -> list[Any]:
        """The accepted events' values of these keys; of one key, without tuples."""
        if len(keys) == 1:
            return [event[keys[0]] for event in self.posted]
        return [tuple(event[key] for key in keys) for event in self.posted]


def serve(marquez: FakeMarquez) -> ThreadingHTTPServer:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                marquez.tried += 1
                status = marquez.answers.pop(0) if marquez.answers else 201
                if status == 201:
                    marquez.posted.append(json.loads(body))
            self.reply(status if self.path == "/api/v1/lineage" else 404)

        def do_GET(self) -> None:
            self.reply(marquez.queries)

        def reply(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"answer\n")

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    marquez.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server
