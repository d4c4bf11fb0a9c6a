"""Real processes around the lineage log: a Marquez double and forwarders, ended by an ExitStack."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.processes import LOOPBACK, free_port

CHECKPOINT_KEY = "forwarder/db.json"


@dataclass(frozen=True)
class Double:
    """A Marquez double, running."""

    url: str
    admin: str

    @classmethod
    def start(cls, clean: ExitStack) -> Double:
        port, admin = free_port(), free_port()
        ports = ["--port", str(port), "--admin-port", str(admin)]
        process = subprocess.Popen([sys.executable, "-m", "local.marquez.double", *ports])
        clean.callback(process.wait, 10)
        clean.callback(process.terminate)
        double = cls(f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{admin}")

        def answers() -> bool:
            try:
                return double.state() is not None
            except OSError:
                return False

        wait(answers, 20, "the Marquez double answers")
        return double

    def faults(self, kind: str = "none", **more: float) -> None:
        body = json.dumps({"kind": kind, **more}).encode()
        request = urllib.request.Request(f"{self.admin}/faults", body, method="PUT")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = get(f"{self.admin}/state")
        return state

    def raw(self) -> list[dict[str, Any]]:
        """All raw events, in the order in which they were written."""
        events: list[dict[str, Any]] = get(f"{self.admin}/events")
        return events

    def posts(self) -> list[tuple[str, str, str]]:
        """Event type, run and forwarder of each accepted post, in order."""
        return [(kind, run, agent) for kind, run, agent in self.state()["posts"]]


@dataclass
class Node:
    """A forwarder process."""

    process: subprocess.Popen[bytes]
    output: Path

    @classmethod
    def start(
        cls,
        clean: ExitStack,
        env: Mapping[str, str],
        folder: Path,
        bucket: str,
        to: str,
        lease: float,
        timeout: float = 2,
    ) -> Node:
        """From `bucket` to the server at `to`; `env` says how to reach S3, `folder` receives the output."""
        output = folder / f"{uuid.uuid4().hex[:6]}.log"
        command = [sys.executable, "-m", "forwarder", "--bucket", bucket, "--to", to]
        command += [
            "--checkpoint",
            CHECKPOINT_KEY,
            "--lease",
            str(lease),
            "--poll",
            "0.5",
            "--settle",
            "0.5",
            "--timeout",
            str(timeout),
        ]
        with output.open("wb") as out:
            process = subprocess.Popen(command, env=dict(env), stdout=out, stderr=subprocess.STDOUT)

        def end() -> None:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            process.wait(30)

        clean.callback(end)
        return cls(process, output)

    @property
    def holder(self) -> str:
        """Its name in the checkpoint."""
        return next(
            (word.rstrip(":") for word in self.output.read_text().split() if f"-{self.process.pid}-" in word),
            "?",
        )


@dataclass
class Bucket:
    """The lineage log's bucket, with what forwarders write to it."""

    s3: Any
    bucket: str

    def checkpoint(self) -> dict[str, Any]:
        stored = self.s3.get_object(Bucket=self.bucket, Key=CHECKPOINT_KEY)
        content: dict[str, Any] = json.loads(stored["Body"].read())
        return content

    def set_aside(self) -> list[str]:
        page = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="set-aside/")
        return [entry["Key"] for entry in page.get("Contents", [])]


@contextmanager
def temporary_bucket(s3: Any) -> Iterator[str]:
    """A bucket of a test's own, gone afterwards: other tests look at all that the cloud holds."""
    bucket = f"log-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket)
    yield bucket
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"])
    s3.delete_bucket(Bucket=bucket)


def holding(log: Bucket, *nodes: Node) -> Node | None:
    try:
        holder = log.checkpoint()["holder"]
    except log.s3.exceptions.NoSuchKey:
        return None
    return next((node for node in nodes if node.holder == holder), None)


def first_holder(log: Bucket, *nodes: Node) -> tuple[Node, Node]:
    """The node that holds the checkpoint, and the other one."""
    wait(lambda: holding(log, *nodes) is not None, 30, "one of the nodes holds the checkpoint")
    first = holding(log, *nodes)
    assert first is not None
    return first, next(node for node in nodes if node is not first)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def wait(done: Callable[[], bool], seconds: float, what: str) -> float:
    """Seconds until `done()`."""
    start = time.monotonic()
    while not done():
        assert time.monotonic() - start < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - start
