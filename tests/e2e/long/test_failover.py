"""A side dies with tasks at work, the other takes over, and the dead one comes back. With real Airflows.

What the tasks did is in a ledger; each test compares a part of it with what is right.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from tests.e2e.life.story import Story, findings
from tests.e2e.load.ledger import Line
from tests.e2e.load.twins import Answer, wait_for


@dataclass(frozen=True)
class Failover:
    """Blue was stopped with tasks at work, green took over, blue came back."""

    died: datetime
    killed: int  # tasks
    dead: Answer  # an audit while blue was dead
    failover: Answer
    since: datetime
    returned: datetime  # when blue went on
    settled: datetime  # when its scheduler had time to find what it had lost
    audit: Answer  # after that


@pytest.fixture(scope="module")
def failover(story: Story) -> Failover:
    wave = "failover"
    start = story.begin(wave, "life_failover.py")
    story.await_dags("inflight", "inflight_manual", "inflight_child")
    story.until(wave, 4)
    story.trigger("blue", "inflight_manual", "by-hand")
    working = {"inflight", "inflight_manual", "inflight_child"}
    wait_for(lambda: working <= {line.dag for line in story.lines(what="start")}, "all are at work", 40)
    story.until(wave, 12)
    with story.dead("blue") as killed:
        died = datetime.now(start.tzinfo)
        since = died - timedelta(seconds=1)
        assert story.offset(wave, since) > 6, "the runs in flight must be due before --since"
        dead = story.audit("--lineage", "--since", "10m")
        taken = story.mwaactl("failover", "green", "--since", since.isoformat(), "--yes")
        story.await_done("inflight", seconds=90)
        returned = datetime.now(start.tzinfo)
    # A task that is lost is noticed after 30 s without a heartbeat, and tried again a second later.
    wait_for(
        lambda: (datetime.now(start.tzinfo) - returned).total_seconds() > 60, "blue finds what it lost", 90
    )
    settled = datetime.now(start.tzinfo)
    return Failover(died, len(killed), dead, taken, since, returned, settled, story.audit("--since", "10m"))


def test_a_failover_runs_again_what_was_in_flight_before_its_since(story: Story, failover: Failover) -> None:
    assert failover.killed >= 3, "tasks were to be at work when their side died"
    assert failover.failover.code in (0, 5), failover.failover.out + failover.failover.err
    done = story.done("inflight")
    assert [line.colour for line in done] == ["green"]
    assert Counter((line.colour) for line in story.done("interrupted")) == {"green": 1}


@pytest.mark.parametrize("dag", ["inflight_manual", "inflight_child"])
def test_a_failover_runs_again_or_names_what_no_schedule_made(
    story: Story, failover: Failover, dag: str
) -> None:
    again = [line for line in story.done(dag) if line.colour == "green"]
    assert len(again) == 1 or dag in failover.failover.out


def test_what_was_completed_is_not_run_again_by_a_failover(story: Story, failover: Failover) -> None:
    assert [line.colour for line in story.done("finished")] == ["blue"]


def test_a_side_that_comes_back_does_not_go_on_with_what_was_taken_from_it(
    story: Story, failover: Failover
) -> None:
    assert went_on(story, failover, "interrupted", "finished") == []


def test_a_side_that_comes_back_does_not_go_on_with_what_was_at_work_before_the_window(
    story: Story, failover: Failover
) -> None:
    assert went_on(story, failover, "inflight") == []


def test_an_audit_names_what_was_in_flight_on_a_dead_side(failover: Failover) -> None:
    assert failover.dead.code == 1, failover.dead.out + failover.dead.err
    assert "inflight" in {f["dag_id"] for f in failover.dead.json["findings"]}


def test_an_audit_after_a_failover_finds_nothing_that_is_right(failover: Failover) -> None:
    named = {f["dag_id"] for f in failover.audit.json["findings"]}
    assert named <= {"inflight", "inflight_manual", "inflight_child"}, findings(failover.audit)


def went_on(story: Story, failover: Failover, *dags: str) -> list[Line]:
    """What the old side did of these DAGs after it had come back."""
    return [x for x in story.lines() if x.colour == "blue" and x.at > failover.returned and x.dag in dags]
