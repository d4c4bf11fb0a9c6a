"""Each event that is posted becomes an object in the lineage log before it is acknowledged."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from lineage_log.event import LARGEST, Event, TooLargeError
from lineage_log.log import Log

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logging.getLogger("intake")

LINEAGE, HEALTH = "/api/v1/lineage", "/healthcheck"
RETRY_AFTER = 5  # seconds
# What mwaactl's audit takes as evidence of what an environment executed.
AIRFLOWS_FACETS = ("airflow", "airflowDagRun", "airflowState", "blueGreen_gate")


class RefusedError(Exception):
    """A request that is answered with an error; `status` says which."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Answer(NamedTuple):
    """An HTTP answer; `text` is JSON."""

    status: HTTPStatus
    text: str
    headers: tuple[tuple[str, str], ...] = ()


class Intake:
    """The WSGI application. Safe to use from several threads."""

    def __init__(self, source: Log, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._log, self._now = source, now
        self._parsing = threading.Lock()  # a parsed event can be many times as large: there is one at a time

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = self._answer(environ)
        except RefusedError as refused:
            log.warning("refused: %d: %s", refused.status, refused)
            answer = Answer(refused.status, json.dumps({"code": refused.status, "message": str(refused)}))
        except (ClientError, BotoCoreError) as error:
            log.warning("not written: %s", error)
            message = "the lineage log cannot be written now: post the event again"
            answer = Answer(
                HTTPStatus.SERVICE_UNAVAILABLE,
                json.dumps({"code": 503, "message": message}),
                (("Retry-After", str(RETRY_AFTER)),),
            )
        body = answer.text.encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{answer.status.value} {answer.status.phrase}", [*headers, *answer.headers])
        return [body]

    def _answer(self, environ: WSGIEnvironment) -> Answer:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if (method, path) == ("GET", HEALTH):
            return Answer(HTTPStatus.OK, "{}")
        if path != LINEAGE:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"events are posted to {LINEAGE}")
        if method != "POST":
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"events are posted, not {method}")
        self._take(environ["wsgi.input"].read(LARGEST + 1))
        return Answer(HTTPStatus.CREATED, "")

    def _take(self, body: bytes) -> None:
        """Write an event to the log. Raises RefusedError, and what boto3 raises."""
        with self._parsing, _readable():
            event = Event.parse("", body)
            text = event.text
            # Stricter than the log's own readers: what is taken here must be JSON to every sink.
            instant = _checked(json.loads(text.decode(), parse_constant=_refuse_constant), event)
        # One that is posted again, since no answer came, is there once.
        self._log.write_once(instant, text, self._now())


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except TooLargeError as error:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from error
    except ValueError as error:  # UnreadableError, and what JSON and UTF-8 raise
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _checked(content: Any, event: Event) -> datetime:
    """The event's time.

    Raises RefusedError for what Marquez would refuse for good, and for evidence of what Airflow did.
    """
    if event.instant is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "eventTime must be a time with a zone")
    owner = content.get("job") or content.get("dataset")
    if not isinstance(owner, dict) or not (owner.get("namespace") and owner.get("name")):
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "a job or dataset needs a namespace and a name")
    run = content.get("run")
    facets: Any = {}
    if run is not None:
        if not (isinstance(run, dict) and isinstance(run.get("runId"), str) and run["runId"]):
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "a run needs a runId")
        facets = run.get("facets") or {}
    if not isinstance(facets, dict):
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "facets must be an object")
    if any(name in facets for name in AIRFLOWS_FACETS):
        reason = (
            "an event of an Airflow run: the stack's environments write theirs themselves, and no others may"
        )
        raise RefusedError(HTTPStatus.FORBIDDEN, reason)
    return event.instant
