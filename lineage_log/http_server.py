"""A server that is asked over HTTP, with persistent connections, and the meaning of its answers."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

# The event itself is at fault. Any other status (a gateway's 403, a 404 during a start) may be temporary.
REFUSALS = frozenset({400, 413, 415, 422})
# Seconds for which an idle connection can be reused: servers close theirs after 5 s or more.
KEEP_OPEN = 4.0
MOST_SHOWN = 300  # characters of an answer
_MARKUP = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. `status` 0: there was none. `retry_after`: seconds that the server asks to wait."""

    status: int
    text: str
    retry_after: float = 0

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


class HttpServer:
    """One server. Safe to use from several threads."""

    def __init__(self, url: str, *, timeout: float, agent: str = "lineage-forwarder") -> None:
        """`url`: its root, or a page of it. `timeout` in seconds. Raises ValueError."""
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

    def close(self) -> None:
        """Close the idle connections; the next request opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self._connection()
        headers = {"Content-Type": "application/json", "User-Agent": self._agent, **(headers or {})}
        try:
            answer = self._exchange(connection, method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Answer(0, f"{type(error).__name__}: {error}")
        with self._lock:
            self._idle.append((connection, time.monotonic()))
        return answer

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Answer:
        connection.request(method, self._root + path, body, dict(headers))
        with connection.getresponse() as answer:
            text = answer.read().decode(errors="replace").strip()
            if to := answer.headers.get("Location") if 300 <= answer.status < 400 else None:
                text = f"it redirects to {to}, and no event is sent there"
            return Answer(answer.status, text, _seconds(answer.headers.get("Retry-After")))

    def _connection(self) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                connection, used = self._idle.pop()
                if time.monotonic() - used < KEEP_OPEN:
                    return connection
                connection.close()
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout)


def _seconds(retry_after: str | None) -> float:
    """Of a header; 0 for a date, which is rare, and for nonsense."""
    return float(retry_after) if retry_after and retry_after.strip().isdecimal() else 0
