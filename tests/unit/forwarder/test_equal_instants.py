"""Events of one run with the same time, whose keys sort by chance; and a START after its run is known."""

from __future__ import annotations

from datetime import timedelta

import pytest

from local.marquez.double import Run, run_uuid
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import START
from tests.fakes.lineage.events import log_event, set_aside_key
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez

TERMINAL = {"COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
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
