"""Airflow's own REST API, as MWAA's InvokeRestApi reaches it: tokens, time limit, health."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from local.airflow.config import PASSWORD, USER

LIMIT_SECONDS = 10  # MWAA's
HEALTH_SECONDS = 5
WARM_UP_SECONDS = 60
# How InvokeRestApi treats paths is not documented: MWAA_LOCAL_REST_PATHS chooses what this one takes.
PATHS = "MWAA_LOCAL_REST_PATHS"
PATH_FORMS = ("any", "quoted", "unquoted")
PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class RestApi:
    """The API of one Airflow: `/api/v2` of 3.x, `/api/v1` of 2.x."""

    def __init__(self, url: str, major: int) -> None:
        self.major = major
        self._url = url
        self._token: str | None = None

    def healthy(self) -> bool:
        """Whether the web server answers and reports every part as healthy."""
        health = self._health() or {}
        return all((health.get(part) or {}).get("status") == "healthy" for part in PARTS)

    def answers(self) -> bool:
        """Whether the web server answers at all."""
        return self._health() is not None

    def warm_up(self) -> None:
        """Make 3.x build its task API now, which it would otherwise do on the first task's request."""
        if self.major > 2:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self._url}/execution/health", timeout=WARM_UP_SECONDS).close()  # noqa: S310

    def call(self, method: str, path: str, query: dict[str, Any], body: Any) -> tuple[int, Any]:
        """The status and body of one call; 504 after 10 s, 503 if nothing answers."""
        form = os.environ.get(PATHS, "any")
        if form == "quoted" and not set(path).isdisjoint(":+"):
            return 404, {"detail": "Not Found"}
        safe = "/:~@+,;=()!*" if form == "unquoted" else "/%:~@+,;=()!*"
        url = f"{self._url}/api/v{self.major - 1}{urllib.parse.quote(path, safe=safe)}"
        if query:
            url += "?" + urllib.parse.urlencode(
                {key: _plain(value) for key, value in query.items()}, doseq=True
            )
        data = None if body is None else json.dumps(body).encode()
        status, answer = self._send(method, url, data)
        if status == 401:  # the web server was restarted, or the token has expired
            self._token = None
            status, answer = self._send(method, url, data)
        return status, answer

    def _health(self) -> dict[str, Any] | None:
        path = "/health" if self.major == 2 else "/api/v2/monitor/health"
        try:
            with urllib.request.urlopen(self._url + path, timeout=HEALTH_SECONDS) as answer:  # noqa: S310 - ours
                health: dict[str, Any] = json.load(answer)
        except (OSError, ValueError):
            return None
        return health

    def _send(self, method: str, url: str, data: bytes | None) -> tuple[int, Any]:
        try:
            headers = {"Authorization": self._authorization(), "Content-Type": "application/json"}
            request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310 - ours
            with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as answer:  # noqa: S310 - ours
                return answer.status, _content(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _content(error.read())
        except TimeoutError:
            return 504, {"detail": f"Airflow did not answer within {LIMIT_SECONDS} s."}
        except OSError as error:
            return 503, {"detail": f"Airflow's web server does not answer: {error}"}

    def _authorization(self) -> str:
        if self.major == 2:
            return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self._token is None:
            with urllib.request.urlopen(f"{self._url}/auth/token", timeout=LIMIT_SECONDS) as answer:  # noqa: S310
                self._token = json.load(answer)["access_token"]
        return f"Bearer {self._token}"


def _plain(value: Any) -> Any:
    """A value as Airflow reads it in a query: lists repeat the name, booleans are lower-case."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else value


def _content(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")
