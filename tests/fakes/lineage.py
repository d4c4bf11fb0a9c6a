"""An S3 that enforces conditional writes, a Marquez with faults, and forwarders between the two."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from botocore.exceptions import ClientError

from forwarder.checkpoint_keeper import CheckpointKeeper
from forwarder.forwarder import Forwarder, Timing
from lineage_log.log import Log, key_at
from lineage_log.marquez_client import PROBE_NAMESPACE, MarquezClient
from lineage_log.patient_client import Patience
from local.marquez.double import Marquez as Knowledge

START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
CHECKPOINT_KEY = "forwarder/checkpoint.json"
QUICK = Timing(poll=0.01, settle=0, window=120, rest=0.05, patience=Patience(longest_pause=0.01, give_up=5))


def set_aside_key(key: str) -> str:
    return key.replace("events/", "set-aside/", 1)


class Clock:
    """Seconds that pass when a test sets them."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def refusal(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


class MemoryS3:
    """One bucket: the part of boto3's client that is used on the lineage log, with S3's answers."""

    def __init__(self, page_size: int = 1000) -> None:
        self.objects: dict[str, bytes] = {}
        self.modified: dict[str, datetime] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.page_size = page_size
        self.lock = threading.Lock()
        self.listed: list[str] = []  # the prefixes of all listings

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        with self.lock:
            if Key not in self.objects:
                raise refusal("NoSuchKey", "GetObject")
            return {"Body": io.BytesIO(self.objects[Key]), **self.head(Key)}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        with self.lock:
            if Key not in self.objects:
                raise refusal("404", "HeadObject")
            return self.head(Key)

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
            self.modified[Key] = datetime.now(UTC)
            self.metadata[Key] = Metadata or {}
            return {"ETag": self.etag(Key)}

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803
        with self.lock:
            self.objects.pop(Key, None)

    def copy_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        CopySource: dict[str, str],  # noqa: N803
        MetadataDirective: str,  # noqa: N803
        Metadata: dict[str, str],  # noqa: N803
        ContentType: str = "",  # noqa: N803
    ) -> None:
        with self.lock:
            if CopySource["Key"] not in self.objects:
                raise refusal("NoSuchKey", "CopyObject")
            self.objects[Key] = self.objects[CopySource["Key"]]
            self.modified[Key] = datetime.now(UTC)
            self.metadata[Key] = Metadata

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str,  # noqa: N803
        StartAfter: str = "",  # noqa: N803
        MaxKeys: int = 1000,  # noqa: N803
    ) -> dict[str, Any]:
        with self.lock:
            self.listed.append(Prefix)
            keys = sorted(k for k in self.objects if k.startswith(Prefix) and k > StartAfter)
            size = min(self.page_size, MaxKeys)
            contents = [{"Key": key, "LastModified": self.modified[key]} for key in keys[:size]]
            return {"IsTruncated": len(keys) > size, **({"Contents": contents} if contents else {})}

    def etag(self, key: str) -> str:
        return f'"{hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()}"'

    def head(self, key: str) -> dict[str, Any]:
        return {
            "ETag": self.etag(key),
            "ContentLength": len(self.objects[key]),
            "LastModified": self.modified[key],
            "Metadata": self.metadata.get(key, {}),
        }

    def log(
        self, seconds: float, kind: str, run: str = "run", name: str = "", job: str = "job", late: float = 0
    ) -> str:
        """Write one event as the Airflows do, `seconds` after START; returns its key.

        It appears `late` seconds after its own time.
        """
        instant = START + timedelta(seconds=seconds)
        event = {
            "eventTime": instant.isoformat(),
            "eventType": kind,
            "run": {"runId": run},
            "job": {"namespace": "test", "name": job},
            "name": name,
        }
        unique = hashlib.sha256(f"{seconds}{kind}{run}{name}".encode()).hexdigest()[:12]
        key = f"{key_at(instant)}-{unique}.json.gz"
        with self.lock:
            self.objects[key] = gzip.compress(json.dumps(event).encode())
            self.modified[key] = instant.replace(microsecond=0) + timedelta(seconds=late)
        return key


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
    url: str = ""

    def accepted(self, *keys: str) -> list[Any]:
        """The accepted events' values of these keys; of one key, without tuples."""
        if len(keys) == 1:
            return [event[keys[0]] for event in self.posted]
        return [tuple(event[key] for key in keys) for event in self.posted]

    def of_run(self, run: str) -> list[str]:
        return [event["eventType"] for event in self.posted if event["run"]["runId"] == run]

    def state(self, run: str) -> str:
        return self.knowledge.runs[run].state


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
            time.sleep(marquez.seconds)
            with lock:
                in_progress[0] -= 1
                status = self.status(event)
            self.reply(status if self.path == "/api/v1/lineage" else 404)

        def status(self, event: dict[str, Any]) -> int:
            if (event.get("job") or {}).get("namespace") == PROBE_NAMESPACE:
                marquez.probed += 1
                return marquez.probes
            marquez.tried += 1
            status = marquez.poison(event) or (marquez.answers.pop(0) if marquez.answers else 201)
            if status == 201:
                status = marquez.knowledge.take(event, "")
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


def keeper_of(
    s3: MemoryS3, holder: str = "a", clock: Callable[[], float] = time.monotonic, lease: float = 60
) -> CheckpointKeeper:
    return CheckpointKeeper(cast(Any, s3), "log", CHECKPOINT_KEY, holder=holder, lease=lease, clock=clock)


def forwarder(
    s3: MemoryS3,
    marquez: FakeMarquez,
    *,
    keeper: CheckpointKeeper | None = None,
    client: MarquezClient | None = None,
    timing: Timing = QUICK,
    seconds: float = 86400,
    clock: Clock | None = None,
    **options: Any,
) -> Forwarder:
    """A forwarder whose wall clock shows `seconds` after START, or what `clock` shows."""

    def now() -> datetime:
        return START + timedelta(seconds=seconds if clock is None else clock.seconds)

    return Forwarder(
        Log(cast(Any, s3), "log"),
        keeper or keeper_of(s3),
        client or MarquezClient(marquez.url, timeout=5),
        timing,
        now=now,
        **options,
    )


def run_until(done: Callable[[], bool], *forwarders: tuple[Forwarder, threading.Event]) -> None:
    """Run them in threads until `done()`, then stop them."""
    threads = [threading.Thread(target=each.run) for each, _ in forwarders]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    for _, stop in forwarders:
        stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert done()


def running(
    s3: MemoryS3, marquez: FakeMarquez, holder: str, **options: Any
) -> tuple[Forwarder, threading.Event]:
    stop = threading.Event()
    return forwarder(s3, marquez, keeper=keeper_of(s3, holder), stop=stop, **options), stop
