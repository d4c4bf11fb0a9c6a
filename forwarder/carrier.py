"""What a forwarder carries the log to: Marquez, or a further sink."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol

from lineage_log.delivery import Counts, Delivery
from lineage_log.doubts import Doubts
from lineage_log.event import Event
from lineage_log.log import Log
from lineage_log.marquez_client import MarquezClient
from lineage_log.patient_client import Patience, Refusal


class Lease(NamedTuple):
    """What a delivery must know of the forwarder that holds the checkpoint; see `Delivery`."""

    stop: threading.Event
    may_post: Callable[[], None]
    until_saved: Callable[[Callable[[], bool]], None]
    now: Callable[[], datetime]


class Deliverer(Protocol):
    """Delivers events, one call at a time for each lane. See `Delivery`, which also says what is raised."""

    counts: Counts

    def begin(self, doubts: Doubts) -> None: ...

    def deliver(self, event: Event, *, late: bool = False, suspect: bool = False) -> Refusal | None: ...

    def set_aside(self, key: str, reason: str) -> None: ...

    def settle(self) -> bool: ...


class Carrier(Protocol):
    """Where events go."""

    def delivery(self, source: Log, patience: Patience, lease: Lease) -> Deliverer: ...

    def close(self) -> None:
        """Close idle connections."""


class MarquezCarrier:
    """Carries to Marquez: late events and doubts are its own."""

    def __init__(self, client: MarquezClient) -> None:
        self._client = client

    def delivery(self, source: Log, patience: Patience, lease: Lease) -> Delivery:
        return Delivery(source, self._client, patience, **lease._asdict())

    def close(self) -> None:
        self._client.close()
