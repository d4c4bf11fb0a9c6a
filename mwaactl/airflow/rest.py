"""Calls of Amazon's InvokeRestApi: their pace, the form of their paths, and what errors mean."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mwaactl.aws import BUSY, error_code, explain
from mwaactl.errors import Unreachable

if TYPE_CHECKING:
    from mypy_boto3_mwaa import MWAAClient
    from mypy_boto3_mwaa.type_defs import InvokeRestApiResponseTypeDef

CALLS_PER_SECOND = 9.0  # InvokeRestApi allows an account 10, of all its environments
BURST = 10
PATIENCE = (1, 2, 4, 8, 16)  # seconds to wait, one after the other, while others use up the account's calls
AGAIN_AFTER = (0.3, 1.0)  # seconds, for a call without an answer
READING_POSTS = "/list"  # how their paths end
UNKNOWN_PATH = (400, 404)  # Airflow's answers to a path that it does not understand
LONGEST_PATH = 64  # by the API's model; whether Amazon insists on it is not known


def fits(path: str) -> bool:
    """Whether a path is as short as Amazon documents, also where names in it must be quoted."""
    return len(path) <= LONGEST_PATH


class Refused(Unreachable):
    """Airflow refused the call, with an HTTP status of 400 to 499."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TooLong(Unreachable):
    """Amazon refused the path for its length."""


class NotFound(Refused):
    """What the call names does not exist in Airflow."""


class RestApi:
    """The REST API of environment `name`. Those of one account and region share a `pace`."""

    def __init__(self, client: MWAAClient, name: str, pace: Pace) -> None:
        self._client, self._name, self._pace = client, name, pace
        self._unquoted: bool | None = None  # the form of paths that this environment takes; None: unknown

    @property
    def form(self) -> str | None:
        """The form of names in paths that has worked: "quoted" or "raw"; None: none has been needed."""
        return None if self._unquoted is None else "raw" if self._unquoted else "quoted"

    def call(
        self, method: Any, path: str, body: Mapping[str, Any] | None = None, query: Any = None
    ) -> dict[str, Any]:
        """Call `path`, in which names are quoted; return the answer.

        Amazon does not say whether InvokeRestApi quotes a path itself. So if Airflow does not know what a
        path names, it is tried unquoted, too, until one form has worked: none alone proves that it is not
        there. Raises NotFound, Refused, TooLong, Unreachable.
        """
        request: dict[str, Any] = {"Name": self._name, "Method": method}
        if query:
            request["QueryParameters"] = {name: _text(value) for name, value in query.items()}
        if body is not None:
            request["Body"] = dict(body)
        plain = unquote(path)
        if plain == path or self._unquoted is not None:
            return self._ask(request, plain if self._unquoted else path)
        try:
            answer, unquoted = self._ask(request, path), False
        except (Refused, TooLong) as error:
            if isinstance(error, Refused) and error.status not in UNKNOWN_PATH:
                raise
            try:
                answer, unquoted = self._ask(request, plain), True
            except (Refused, TooLong):
                raise error from None
        self._unquoted = unquoted
        return answer

    def _ask(self, request: Mapping[str, Any], path: str) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            response = self._admitted(request, path)
        except (BotoCoreError, ClientError) as error:
            status = (getattr(error, "response", None) or {}).get("RestApiStatusCode") or 0
            message = f"Airflow's REST API on {self._name}: {_reason(error, path)}"
            if 400 <= status < 500:
                raise (NotFound if status == 404 else Refused)(message, status) from error
            if error_code(error) == "ValidationException" and not fits(path):
                raise TooLong(message) from error
            raise Unreachable(message) from error
        answer = response.get("RestApiResponse")
        if not isinstance(answer, dict):
            raise Unreachable(f"Airflow's REST API on {self._name}: the answer to {path} is no JSON object")
        return answer

    def _admitted(self, request: Mapping[str, Any], path: str) -> InvokeRestApiResponseTypeDef:
        """The answer. Each attempt counts towards the account's rate, so all are made here.

        A throttled call has not reached Airflow, and is made again; so is one without an answer, if that
        changes nothing more.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        throttled, unanswered = iter(PATIENCE), iter(AGAIN_AFTER)
        while True:
            self._pace.wait()
            try:
                return self._client.invoke_rest_api(**request, Path=path)
            except (BotoCoreError, ClientError) as error:
                busy = error_code(error) in BUSY
                seconds = next(throttled if busy else unanswered, None)
                if seconds is None or not (busy or _may_repeat(error, request["Method"], path)):
                    raise
            if busy:
                self._pace.hold_off(seconds)
            else:
                time.sleep(seconds)


class Pace:
    """Lets `BURST` calls pass at once, then CALLS_PER_SECOND; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._held = 0

    def wait(self) -> None:
        while True:
            with self._lock:
                now, held = time.monotonic(), self._held
                self._free_at = max(self._free_at, now - BURST / CALLS_PER_SECOND) + 1 / CALLS_PER_SECOND
                delay = self._free_at - now
            if delay > 0:
                time.sleep(delay)
            if self._held == held:
                return

    def hold_off(self, seconds: float) -> None:
        """Let nobody pass for so long, nor those who wait already."""
        with self._lock:
            self._held += 1
            self._free_at = max(self._free_at, time.monotonic() + seconds)


def _may_repeat(error: Exception, method: str, path: str) -> bool:
    """Whether a call has failed on its way, and a second one does no harm if it was carried out."""
    from botocore import exceptions as boto

    if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError):
        return True  # it was never sent
    if isinstance(error, boto.ClientError):
        lost = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
    else:
        lost = isinstance(error, boto.ConnectionError | boto.HTTPClientError)
    return lost and (method in ("GET", "PUT", "PATCH") or (method == "POST" and path.endswith(READING_POSTS)))


def _text(value: object) -> str:
    """A query parameter, as a URL would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reason(error: Exception, path: str) -> str:
    code = error_code(error)
    if code == "ValidationException" and len(path) > LONGEST_PATH:
        return (
            f"{explain(error)}. The path {path} has {len(path)} characters, and Amazon documents at most "
            f"{LONGEST_PATH}: do it in Airflow's web page"
        )
    if code in ("RestApiClientException", "RestApiServerException"):
        response = getattr(error, "response", {})
        body = response.get("RestApiResponse")
        detail = body.get("detail") or body.get("title") if isinstance(body, dict) else body
        if isinstance(detail, dict):  # for a conflict, the detail contains the whole SQL statement
            detail = detail.get("reason")
        return f"it answered {response.get('RestApiStatusCode', code)}: {detail or error}"
    if code in ("AccessDenied", "AccessDeniedException"):
        return f"{explain(error)} (this needs airflow:InvokeRestApi on role/<environment>/Admin or Op)"
    return explain(error)
