"""Posting one event to Marquez (or whatever speaks its lineage API), and what the answer means."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass

# What is wrong with the event itself. Everything else (a gateway's 403, a 404 during a start) may pass.
REFUSALS = frozenset({400, 413, 415, 422})


@dataclass(frozen=True)
class Answer:
    """`status` 0: nobody answered."""

    status: int
    text: str

    @property
    def delivered(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        return self.status in REFUSALS

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.text}" if self.status else self.text


class Marquez:
    def __init__(self, url: str, *, timeout: float) -> None:
        """`url`: the server's root, like http://127.0.0.1:5000. `timeout` in seconds. Raises ValueError."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not the URL of a server, like http://127.0.0.1:5000")
        self._url = url.rstrip("/")
        self._timeout = timeout

    def post(self, event: bytes) -> Answer:
        return self._ask("/api/v1/lineage", event)

    def answers_queries(self) -> bool:
        """Whether the server and its database work, as far as a small query can tell."""
        return self._ask("/api/v1/namespaces?limit=1", None).delivered

    def _ask(self, path: str, body: bytes | None) -> Answer:
        request = urllib.request.Request(  # noqa: S310 - http(s) only, see the constructor
            self._url + path, data=body, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:  # noqa: S310
                answer.read()
                return Answer(answer.status, "")
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(2000).decode(errors="replace").strip())
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, f"{type(error).__name__}: {error}")
