"""Events of one run with the same time, whose keys sort by chance; and a START after its run is known."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from itertools import permutations, product

import pytest

from local.marquez.double import Run, run_uuid
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import START
from tests.fakes.lineage.events import log_event, set_aside_key
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez

TERMINAL = {"COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
STORIES = (
    ("START", "RUNNING", "COMPLETE"),
    ("START", "FAIL", "START", "FAIL"),
    ("START", "FAIL", "RUNNING", "FAIL"),
)
RUNS = [f"run{number}" for number in range(20)]  # enough that the keys sort in both ways


@pytest.mark.parametrize("kind", TERMINAL)
def test_a_run_that_starts_and_ends_at_the_same_instant_has_ended(
    s3: FakeS3, marquez: FakeMarquez, kind: str
) -> None:
    keys = [(log_event(s3, 5, "START", run=run), log_event(s3, 5, kind, run=run)) for run in RUNS]
    assert len({start < end for start, end in keys}) == 2
    assert forwarder(s3, marquez, seconds=100).once(1) == 2 * len(RUNS)
    assert {marquez.state(run) for run in RUNS} == {TERMINAL[kind]}


@pytest.mark.parametrize("first", ["START", "COMPLETE"])
def test_neither_of_the_two_undoes_the_other_when_it_comes_late(
    s3: FakeS3, marquez: FakeMarquez, first: str
) -> None:
    second = "COMPLETE" if first == "START" else "START"
    for run in RUNS:
        log_event(s3, 5, first, run=run)
    forwarder(s3, marquez, seconds=100).once(1)
    for run in RUNS:
        log_event(s3, 5, second, run=run, late=98)
    forwarder(s3, marquez, seconds=105).once(1)
    assert {marquez.state(run) for run in RUNS} == {"COMPLETED"}


def test_a_late_start_of_a_run_that_is_running_is_posted(s3: FakeS3, marquez: FakeMarquez) -> None:
    """Marquez has made the DAG's run from its first task's START, and the log has no event that did."""
    started = (START + timedelta(seconds=60)).isoformat()
    marquez.knowledge.runs[run_uuid("dag")] = Run(
        run_uuid("dag"), "test", "dag", "RUNNING", startedAt=started
    )
    log_event(s3, 90, "START", run="other")
    forwarder(s3, marquez, seconds=100).once(1)
    key = log_event(s3, 58, "START", run="dag", late=40)
    assert forwarder(s3, marquez, seconds=105).once(1) == 1
    assert marquez.of_run("dag") == ["START"]
    assert set_aside_key(key) not in s3.lineage.objects


def shown(marquez: FakeMarquez, run: str) -> tuple[str, ...]:
    known = marquez.known(run)
    return known.state, *(
        datetime.fromisoformat(str(at)).isoformat() for at in (known.startedAt, known.endedAt)
    )


def test_no_order_of_arrival_leaves_a_run_in_another_state_than_its_events(
    s3: FakeS3, marquez: FakeMarquez
) -> None:
    """All orders of all stories, with any of the events at the instant of the one before."""
    expected: dict[str, tuple[str, ...]] = {}
    arrivals = defaultdict(list)
    stories = [(kinds, steps) for kinds in STORIES for steps in product((0, 0.02), repeat=len(kinds) - 1)]
    for kinds, steps in stories:
        for order in permutations(range(len(kinds))):
            run = f"run{len(expected)}"
            times = [5 + len(expected) / 10 + sum(steps[:n]) for n in range(len(kinds))]
            told = sorted(zip(times, (kind in TERMINAL for kind in kinds), kinds, strict=True))
            newest = {ends: START + timedelta(seconds=at) for at, ends, _ in told}
            expected[run] = (
                TERMINAL.get(told[-1][2], "RUNNING"),
                newest[False].isoformat(),
                newest[True].isoformat(),
            )
            for turn, n in enumerate(order):
                arrivals[turn].append((times[n], kinds[n], run))
    for turn, events in arrivals.items():
        for seconds, kind, run in events:
            log_event(s3, seconds, kind, run=run, late=90 + turn)
        forwarder(s3, marquez, seconds=100 + turn).once(1)
    assert {run: shown(marquez, run) for run in expected} == expected
