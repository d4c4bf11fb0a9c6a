"""A further sink of the log, beside Marquez: each event is posted once, in the order of the log.

Nothing is asked of a sink, and nothing is put right in it: what late events mean is its own business. After a
crash, what was posted since the last checkpoint (3 s) is posted again.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from forwarder.carrier import Lease
from lineage_log.delivery import Counts
from lineage_log.doubts import Doubts
from lineage_log.event import Event
from lineage_log.http_server import Answer, HttpServer
from lineage_log.log import SINKS, Log
from lineage_log.marquez_client import probe_event
from lineage_log.patient_client import Patience, PatientPoster, Refusal, Server

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

log = logging.getLogger("forwarder")
SECRET_AGAIN = 60.0  # seconds until a secret is read again because the sink refuses the header
DATAZONE_MOST = 300_000  # bytes of an event, by DataZone's API
# Of DataZone's errors, those that say something about the event. All others may pass.
DATAZONE_REFUSES = "ValidationException"


class SinkServer(Server, Protocol):
    """`most`: bytes of an event that it takes; None: it says so itself."""

    @property
    def most(self) -> int | None: ...

    def close(self) -> None: ...


class SinkCarrier:
    """Carries to one sink. `name`: its own, below which is set aside what it refuses."""

    def __init__(self, name: str, server: SinkServer) -> None:
        self._name, self._server = name, server

    def delivery(self, source: Log, patience: Patience, lease: Lease) -> SinkDelivery:
        return SinkDelivery(self._name, self._server, source, patience, lease)

    def close(self) -> None:
        self._server.close()


class SinkDelivery:
    """A Deliverer without a memory: in what state a run is stands in its events."""

    def __init__(self, name: str, server: SinkServer, source: Log, patience: Patience, lease: Lease) -> None:
        self._name, self._log, self._most = name, source, server.most
        self._poster = PatientPoster(
            server, patience, stop=lease.stop, may_post=lease.may_post, on_answer=lambda _event, _answer: None
        )
        self.counts = Counts()

    def begin(self, _doubts: Doubts) -> None:
        self._poster.begin()

    def deliver(self, event: Event, *, late: bool = False, suspect: bool = False) -> Refusal | None:
        if self._most is not None and len(event.text) > self._most:
            return Refusal(f"{len(event.text)} bytes, more than the {self._most} that the sink takes")
        refusal = self._poster.post(event, patient=False if suspect else None)
        self.counts.add(delivered=refusal is None, late=late and refusal is None)
        return refusal

    def set_aside(self, key: str, reason: str) -> None:
        log.error("set aside: %s: %s", key, reason)
        self._log.set_aside(key, reason, below=f"{SINKS}{self._name}/")
        self.counts.add(set_aside=1)

    def settle(self) -> bool:
        """There is nothing to settle."""
        return True


class HttpSink(HttpServer):
    """An endpoint that takes OpenLineage events by POST, at exactly this URL."""

    most = None

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        agent: str,
        header: str = "",
        secret: Callable[[], str] | None = None,
    ) -> None:
        """`secret` reads the value of the header. Raises ValueError."""
        super().__init__(url, timeout=timeout, agent=agent)
        self._root = urlsplit(url).path or "/"  # as it is given
        self._header, self._read_secret = header, secret
        self._secret_lock = threading.Lock()
        self._value: str | None = None
        self._read_at = 0.0

    def post(self, event: bytes) -> Answer:
        try:
            value = self._secret()
        except (ClientError, BotoCoreError, ValueError) as error:
            return Answer(0, f"the secret of {self._header} cannot be read: {error}")
        answer = self._request("POST", "", event, {self._header: value} if value else {})
        if answer.status in (401, 403):
            self._forget(value)
        if value and value in answer.text:  # it must not get into logs
            answer = Answer(answer.status, answer.text.replace(value, "***"), answer.retry_after)
        return answer

    def probe(self) -> Answer:
        return self.post(probe_event())

    def _secret(self) -> str | None:
        """The header's value; read once, and again after it was refused. Raises ValueError."""
        if self._read_secret is None:
            return None
        with self._secret_lock:
            if self._value is None:
                value = self._read_secret().strip()
                if not value or not value.isascii() or not value.isprintable():
                    raise ValueError("it is not one line of printable ASCII")
                self._value, self._read_at = value, time.monotonic()
            return self._value

    def _forget(self, value: str | None) -> None:
        """It may have been rotated."""
        with self._secret_lock:
            if self._value == value and time.monotonic() - self._read_at > SECRET_AGAIN:
                self._value = None


class DataZoneSink:
    """PostLineageEvent of a domain of Amazon DataZone or SageMaker, with the node's own role."""

    most = DATAZONE_MOST

    def __init__(self, client: Any, domain: str) -> None:
        self._client, self._domain = client, domain

    def post(self, event: bytes) -> Answer:
        try:
            # A token of the event's own: what is posted again after a crash is not taken twice.
            answer = self._client.post_lineage_event(
                domainIdentifier=self._domain, event=event, clientToken=hashlib.sha256(event).hexdigest()
            )
        except ClientError as error:
            code, status = (
                error.response["Error"]["Code"],
                error.response["ResponseMetadata"]["HTTPStatusCode"],
            )
            text = f"{code}: {error.response['Error'].get('Message', '')}"
            # Other 400s are about the caller or the moment, not about the event.
            return Answer(403 if status == 400 and code != DATAZONE_REFUSES else status, text)
        except BotoCoreError as error:
            return Answer(0, f"{type(error).__name__}: {error}")
        return Answer(answer["ResponseMetadata"]["HTTPStatusCode"], "")

    def probe(self) -> Answer:
        return self.post(probe_event())

    def close(self) -> None:
        """boto3 keeps its own connections."""


def secret_reader(client: SecretsManagerClient, arn: str) -> Callable[[], str]:
    def read() -> str:
        secret = client.get_secret_value(SecretId=arn)
        if "SecretString" not in secret:
            raise ValueError("it is kept as binary, not as text")
        return secret["SecretString"]

    return read
