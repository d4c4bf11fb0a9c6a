"""A client for Marquez (or another server with its lineage API), and the meaning of the answers."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

# The event itself is at fault. Any other status (a gateway's 403, a 404 during a start) may be temporary.
REFUSALS = frozenset({400, 413, 415, 422})
# Seconds for which an idle connection can be reused: servers close theirs after 5 s or more.
KEEP_OPEN = 4.0
MOST_SHOWN = 300  # characters of an answer
PROBE_NAMESPACE = "lineage-forwarder"
PRODUCER = "urn:mwaa-openlineage:forwarder"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_MARKUP = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. `status` 0: there was none."""

    status: int
    text: str

    @property
    def delivered(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        return self.status in REFUSALS

    @property
    def is_conclusive(self) -> bool:
        """Whether it answers a query, if only with "not found"."""
        return self.delivered or self.refused or self.status == 404

    def __str__(self) -> str:
        """In one line: a page of HTML, as a proxy or an error handler sends it, without its markup."""
        if not self.status:
            return self.text
        text = _MARKUP.sub(" ", self.text) if self.text.lstrip()[:1] == "<" else self.text
        return f"HTTP {self.status}: {' '.join(text.split())[:MOST_SHOWN]}"


class MarquezClient:
    """A client for one server, with persistent connections. Safe to use from several threads."""

    def __init__(self, url: str, *, timeout: float, agent: str = "lineage-forwarder") -> None:
        """`url`: the server's root, like http://127.0.0.1:5000. `timeout` in seconds. Raises ValueError."""
        split = urlsplit(url)
        if split.scheme not in ("http", "https") or not split.hostname or split.query or split.fragment:
            raise ValueError(f"{url!r} is not the URL of a server, like http://127.0.0.1:5000")
        if split.username is not None:
            raise ValueError("credentials in the URL are not supported: they would not be sent")
        self._secure, self._host, self._port = split.scheme == "https", split.hostname, split.port
        self._root = split.path.rstrip("/")
        self._timeout = timeout
        self._agent = agent
        self._lock = threading.Lock()
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []  # and when each was last used

    def post(self, event: bytes) -> Answer:
        return self._request("POST", "/api/v1/lineage", event)

    def probe(self) -> Answer:
        """Post a small event of our own, to test whether the server accepts events at the moment.

        Neither a query nor the health port shows that: both work while the database is read-only.
        """
        job = {"namespace": PROBE_NAMESPACE, "name": "probe"}
        event = {
            "eventType": "COMPLETE",
            "eventTime": datetime.now(UTC).isoformat(),
            "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER))},  # always the same run
            "job": job,
            "inputs": [],
            "outputs": [],
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
        }
        return self.post(json.dumps(event).encode())

    def run(self, run_id: str) -> Answer:
        """The server's record of a run, as JSON; 404 for an unknown one."""
        return self._request("GET", f"/api/v1/jobs/runs/{quote(run_id, safe='', errors='replace')}", None)

    def ping(self) -> Answer:
        """Send a small query."""
        return self._request("GET", "/api/v1/namespaces?limit=1", None)

    def close(self) -> None:
        """Close the idle connections; the next request opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _request(self, method: str, path: str, body: bytes | None) -> Answer:
        connection = self._connection()
        try:
            answer = self._exchange(connection, method, path, body)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Answer(0, f"{type(error).__name__}: {error}")
        with self._lock:
            self._idle.append((connection, time.monotonic()))
        return answer

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> Answer:
        headers = {"Content-Type": "application/json", "User-Agent": self._agent}
        connection.request(method, self._root + path, body, headers)
        with connection.getresponse() as answer:
            text = answer.read().decode(errors="replace").strip()
            return Answer(answer.status, text)

    def _connection(self) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                connection, used = self._idle.pop()
                if time.monotonic() - used < KEEP_OPEN:
                    return connection
                connection.close()
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout)
