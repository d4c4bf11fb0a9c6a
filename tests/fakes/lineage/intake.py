"""Posting to an intake whose log is in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, cast

from intake.app import Intake
from lineage_log.log import Log
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START

EVENT: Mapping[str, Any] = {
    "eventTime": START.isoformat(),
    "eventType": "START",
    "run": {"runId": "0192d2b1-5d9e-7a10-8000-000000000001", "facets": {"spark_version": {"version": "4"}}},
    "job": {"namespace": "spark", "name": "sales"},
}


class Answered(NamedTuple):
    """An answer. `message`: of its body, if it has one."""

    status: int
    message: str
    headers: dict[str, str]


def ask(
    s3: FakeS3, body: Any, method: str = "POST", path: str = "/api/v1/lineage", now: datetime = START
) -> Answered:
    """Ask an intake; an event is a mapping, everything else is bytes."""
    raw = json.dumps(body).encode() if isinstance(body, Mapping) else body
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(raw)}
    started: list[Any] = []
    app = Intake(Log(cast(Any, s3), LINEAGE_LOG), now=lambda: now)
    text = b"".join(app(environ, cast(Any, lambda *given: started.extend(given))))
    status, headers = started
    return Answered(int(status.split()[0]), json.loads(text or b"{}").get("message", ""), dict(headers))
