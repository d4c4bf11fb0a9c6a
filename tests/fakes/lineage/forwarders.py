"""Forwarders between a lineage log in memory and a Marquez."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from forwarder.carrier import MarquezCarrier
from forwarder.checkpoint_keeper import CheckpointKeeper
from forwarder.forwarder import Forwarder, Timing
from lineage_log.log import Log
from lineage_log.marquez_client import MarquezClient
from lineage_log.patient_client import Patience
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START, Clock
from tests.fakes.lineage.marquez import FakeMarquez

CHECKPOINT_KEY = "forwarder/checkpoint.json"
QUICK = Timing(poll=0.01, settle=0, window=120, rest=0.05, patience=Patience(longest_pause=0.01, give_up=5))


def keeper_of(
    s3: FakeS3, holder: str = "a", clock: Callable[[], float] = time.monotonic, lease: float = 60
) -> CheckpointKeeper:
    return CheckpointKeeper(
        cast(Any, s3), LINEAGE_LOG, CHECKPOINT_KEY, holder=holder, lease=lease, clock=clock
    )


def forwarder(
    s3: FakeS3,
    marquez: FakeMarquez,
    *,
    keeper: CheckpointKeeper | None = None,
    client: MarquezClient | None = None,
    timing: Timing = QUICK,
    seconds: float = 86400,
    clock: Clock | None = None,
    **options: Any,
) -> Forwarder:
    """A forwarder whose wall clock shows `seconds` after START, or what `clock` shows."""

    def now() -> datetime:
        return START + timedelta(seconds=seconds if clock is None else clock.seconds)

    return Forwarder(
        Log(cast(Any, s3), LINEAGE_LOG),
        keeper or keeper_of(s3),
        MarquezCarrier(client or MarquezClient(marquez.url, timeout=5)),
        timing,
        now=now,
        **options,
    )


def run_until(done: Callable[[], bool], *forwarders: tuple[Forwarder, threading.Event]) -> None:
    """Run them in threads until `done()`, then stop them."""
    threads = [threading.Thread(target=each.run) for each, _ in forwarders]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    for _, stop in forwarders:
        stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert done()


def running(
    s3: FakeS3, marquez: FakeMarquez, holder: str, **options: Any
) -> tuple[Forwarder, threading.Event]:
    stop = threading.Event()
    return forwarder(s3, marquez, keeper=keeper_of(s3, holder), stop=stop, **options), stop
