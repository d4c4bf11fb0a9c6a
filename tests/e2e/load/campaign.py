"""The load from its beginning to the end of its drain: what the test and the benchmark have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from tests.e2e.load import ledger
from tests.e2e.load.ledger import Line
from tests.e2e.load.schedule import LOADS
from tests.e2e.load.twins import Twins, wait_for

START = timedelta(seconds=40)  # from the upload of the DAGs to their first instants
WARM_UP = timedelta(seconds=62)  # until every DAG has had a run
AFTER = timedelta(seconds=20)  # of load after the last switch
QUIET = 5.0  # seconds after the drain, for the consumers of the last producers

Key = tuple[str, datetime, str, int]  # a task that is due: DAG, instant, task, map index


def begin(twins: Twins, *, pattern: str, skew: Mapping[str, float], mutation: str = "") -> datetime:
    """Bring the load up. Returns the instant from which all runs count, when it has come."""
    start = datetime.now(UTC) + START
    twins.push(start=start.isoformat(), pattern=pattern, skew=skew, mutation=mutation)
    twins.restart()
    since = start + WARM_UP
    wait_for(lambda: datetime.now(UTC) > since, "the warm-up", (START + WARM_UP).total_seconds() + 5)
    return since


def end(
    twins: Twins, since: datetime, owner: Callable[[str, datetime], str | None], *, patience: float
) -> tuple[datetime, list[Line]]:
    """Wait for a little load after the last switch, and `patience` seconds at most until all is completed.

    `owner` tells where a DAG's instant must be completed (None: anywhere). Returns the instant before which
    all runs count, and the whole ledger.
    """
    until = datetime.now(UTC) + AFTER
    time.sleep(AFTER.total_seconds())
    due: set[tuple[Key, str | None]] = {
        ((load.dag, instant, task, index), owner(load.dag, instant))
        for load in LOADS
        for instant in load.due(since, until)
        for task, index in load.tasks
    }
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        done = [line for line in ledger.read(twins.ledger) if line.what == "done"]
        completed: set[tuple[Key, str | None]] = set()
        for line in done:
            key = (line.dag, line.due, line.task, line.map)
            completed |= {(key, line.colour), (key, None)}
        if due <= completed:
            break
        time.sleep(2)
    time.sleep(QUIET)
    return until, ledger.read(twins.ledger)
