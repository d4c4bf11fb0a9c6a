"""What is in flight around a switch, DAGs that come after it, and a switch back before the drain.

With real Airflows. What the tasks did is in a ledger; each test compares a part of it with what is right. One
story, told by tests in the order of this file; each fixture is a chapter.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from tests.e2e.life.story import DRAINED, Story, due, findings
from tests.e2e.load.twins import Answer, wait_for

MANY = 180  # manual runs, of which one ends every moment; a page of the list ends at 100


# --- around the first switch ---


@dataclass(frozen=True)
class Around:
    """What was done around the first switch, from blue to green."""

    healthy: Answer  # an audit of the new stack, which had lost nothing
    preflight: Answer  # a dry run while cleared runs waited
    switch: Answer  # the same, with --wait
    since: datetime  # green owns what is due from then on
    drained: datetime  # when the command ended
    many_left: int  # of the manual runs, how many had not ended shortly after the switch
    cleared: list[str]  # runs that were cleared on blue before the switch
    cleared_late: str  # one that was cleared there after it
    past_unrepaired: list[str]  # colours on which the run that depends on a failed one had begun
    audit: Answer  # after the drain


@pytest.fixture(scope="module")
def around(story: Story) -> Around:
    wave = "around"
    start = story.begin(wave, "life_around.py")
    story.await_dags("lost", "many", "either")
    for number in range(MANY):
        story.trigger("blue", "many", f"m{number:03}")
    story.until(wave, 38)
    healthy = story.audit()
    story.until(wave, 46)
    failed = sorted(run["dag_run_id"] for run in story.runs("blue", "cleared") if run["state"] == "failed")
    late, *early = failed
    story.set_flag("repaired")
    for run in early:
        story.clear("blue", "cleared", run)
    preflight = story.mwaactl("switch", "green", "--dry-run")
    story.until(wave, 60)
    command = story.switch("green", "--wait", "--timeout", f"{DRAINED:.0f}")
    story.until(wave, 109)
    many_left = sum(run["state"] in ("queued", "running") for run in story.runs("blue", "many"))
    story.pause("green", "lost")
    story.clear("blue", "cleared", late)
    for run in story.runs("blue", "many"):
        if run["state"] == "queued":
            story.api("blue", f"/dags/many/dagRuns/{run['dag_run_id']}", "PATCH", {"state": "failed"})
    story.until(wave, 165)
    unrepaired = [
        line.colour for line in story.lines("past", "start") if line.due == start + timedelta(seconds=150)
    ]
    story.set_flag("past repaired")
    (failed_past,) = (r["dag_run_id"] for r in story.runs("blue", "past") if r["state"] == "failed")
    story.clear(story.owner("past"), "past", failed_past)
    story.until(wave, 172)
    story.pause("green", "lost", False)
    switch = command.answer(DRAINED + 60)
    assert command.ended
    switched = switch.json
    assert "owns_from" in switched, f"{switch.out}{switch.err}"
    since = datetime.fromisoformat(switched["owns_from"])
    assert 55 < story.offset(wave, since) < 109, (
        "the machine is too slow: not between what is due before and after"
    )
    return Around(
        healthy=healthy,
        preflight=preflight,
        switch=switch,
        since=since,
        drained=command.ended,
        many_left=many_left,
        cleared=early,
        cleared_late=late,
        past_unrepaired=unrepaired,
        audit=story.audit(),
    )


def test_an_audit_of_a_healthy_new_stack_finds_nothing(story: Story, around: Around) -> None:
    assert findings(around.healthy) == []
    assert around.healthy.code == 0
    assert around.healthy.json["instants"] > 10
    assert len(story.done("passes_over")) < 4, "a DAG that passes over instants was to be among them"


def test_a_serial_dag_that_is_busy_among_more_than_a_hundred_runs_is_held(
    story: Story, around: Around
) -> None:
    assert around.many_left > 100, "more than a page was to be unfinished at the switch"
    assert around.switch.json["drain"]["finished"]
    done = sorted(story.done("serial"), key=lambda line: line.at)
    starts = sorted(story.lines("serial", "start"), key=lambda line: line.at)
    assert [line.due for line in starts] == [line.due for line in done]
    for before, after in zip(done, starts[1:], strict=False):
        assert before.at < after.at, f"overlapped: {before} and {after}"
    counts = Counter(line.due for line in done)
    start = story.origins["around"]
    assert counts == dict.fromkeys(due(start + timedelta(seconds=30), start + timedelta(seconds=240), 30), 1)
    assert "serial" in {held["dag_id"] for held in around.switch.json["held"]}


def test_drained_was_said_when_nothing_was_at_work_on_the_old_side(story: Story, around: Around) -> None:
    assert around.switch.code == 0, around.switch.err
    late = [
        line
        for line in story.lines()
        if line.colour == "blue" and line.at > around.drained and line.due < around.since
    ]
    assert late == []


@pytest.mark.parametrize("dag", ["sensor_of_dag", "sensor_of_task", "sensor_of_done"])
def test_a_sensor_across_a_switch_waits_for_its_producers_end_and_no_longer(
    story: Story, around: Around, dag: str
) -> None:
    produced = max(story.done("sensor_producer"), key=lambda line: line.due)
    (unrelated,) = story.done("unrelated")
    assert produced.colour == "blue"
    after = {line.due for line in story.done(dag) if line.due > around.since}
    assert len(after) == 1
    (consumed,) = [line for line in story.done(dag) if line.due in after]
    (begun,) = [line for line in story.lines(dag, "start") if line.due in after and line.task == "consume"]
    assert begun.at > produced.at, "the consumer ran before its producer had ended"
    assert consumed.at < unrelated.at, "the consumer waited for a DAG that has nothing to do with it"


def test_an_asset_or_time_schedule_does_not_overlap_itself_across_a_switch(
    story: Story, around: Around
) -> None:
    done = sorted(story.await_done("either", 2, seconds=60), key=lambda line: line.at)
    starts = sorted(story.lines("either", "start"), key=lambda line: line.at)
    assert len(done) == len(starts) == 2
    assert done[0].at < starts[1].at, f"overlapped: {starts}"


def test_the_preflight_counts_cleared_runs_that_wait(story: Story, around: Around) -> None:
    (check,) = [c for c in around.preflight.json["checks"] if c["name"] == "cleared-runs"]
    assert check["result"] == "warn"
    assert "cleared" in check["detail"]
    assert [c for c in around.preflight.json["checks"] if c["result"] == "fail"] == []


def test_what_was_cleared_before_the_switch_is_executed_where_it_was_cleared(
    story: Story, around: Around
) -> None:
    done = story.done("cleared")
    runs = {run["dag_run_id"]: run["state"] for run in story.runs("blue", "cleared")}
    assert len(around.cleared) >= 4
    late = [line for line in story.lines("cleared", "start") if line.at > around.since]
    assert late, "some were to start after the switch"
    assert Counter(line.run for line in done) == dict.fromkeys(around.cleared, 1)
    assert {line.colour for line in done} == {"blue"}
    assert {runs[run] for run in around.cleared} == {"success"}


def test_what_was_cleared_on_the_old_side_after_the_switch_fails_with_the_command(
    story: Story, around: Around
) -> None:
    run = around.cleared_late
    assert [line for line in story.done("cleared") if line.run == run] == []
    assert story.task_states("blue", "cleared", run) == {"work": "failed"}
    log = "".join(file.read_text() for file in story.logs("blue", "cleared", run))
    assert "mwaactl" in log or "clear it on green" in log


def test_a_dag_that_depends_on_a_failed_run_does_not_go_on_before_it_is_repaired(
    story: Story, around: Around
) -> None:
    assert around.past_unrepaired == []
    done = sorted(story.await_done("past", 2, seconds=60), key=lambda line: line.at)
    start = story.origins["around"]
    assert [line.due for line in done] == [start + timedelta(seconds=30), start + timedelta(seconds=150)]


def test_an_audit_finds_what_was_lost_and_nothing_else_and_backfill_executes_it_once(
    story: Story, around: Around
) -> None:
    mirrored = {datetime.fromisoformat(run["run_after"]) for run in story.runs("blue", "lost")}
    lost = {instant for instant in mirrored if instant < around.drained} - {x.due for x in story.done("lost")}
    assert len(lost) >= 1, "the DAG was paused while it owned some instants"
    named = {
        (f["kind"], f["dag_id"], datetime.fromisoformat(f["due"])) for f in around.audit.json["findings"]
    }
    # What failed on blue and was cleared on green was worked on by both, as the guide says.
    cleared = ("both", "past", story.origins["around"] + timedelta(seconds=30))
    assert named - {cleared} == {("nobody", "lost", instant) for instant in lost}, findings(around.audit)
    assert around.audit.code == 1
    repaired = story.audit("--backfill", "--yes").json
    assert {datetime.fromisoformat(f["due"]) for f in repaired["backfilled"]} == lost
    assert repaired["not_backfilled"] == []
    wait_for(lambda: lost <= {line.due for line in story.done("lost")}, "the lost runs are executed", 60)
    counts = Counter(line.due for line in story.done("lost"))
    assert {counts[instant] for instant in lost} == {1}
    assert {line.colour for line in story.done("lost") if line.due in lost} == {"green"}


def test_no_scheduled_run_was_executed_twice(story: Story, around: Around) -> None:
    counts = Counter(
        (line.dag, line.due, line.task, line.map) for line in story.lines(what="done") if line.dag != "many"
    )
    assert [key for key, count in counts.items() if count > 1] == []


# --- DAGs that come after a switch ---


@pytest.fixture(scope="module")
def newcomers(story: Story, around: Around) -> datetime:
    """Both sides get DAGs with a history that begins before the switch; when their schedules end."""
    for colour in ("blue", "green"):
        story.pause(colour, "sleeper", False)
    return story.begin("new", "life_new.py", ahead=0)


def test_what_a_paused_dag_left_before_the_switch_is_executed_once_by_the_new_owner(
    story: Story, newcomers: datetime
) -> None:
    start, period = story.origins["around"], timedelta(seconds=30)
    instants = list(due(start + period, start + timedelta(seconds=180), 30))
    done = story.await_done("sleeper", len(instants), seconds=90)
    assert Counter(line.due for line in done) == dict.fromkeys(instants, 1)
    assert {line.colour for line in done} == {"green"}


def test_a_new_serial_dag_with_history_is_executed_by_one_side_in_order(
    story: Story, newcomers: datetime
) -> None:
    start, period = story.origins["around"], timedelta(seconds=30)
    instants = list(due(start + period, newcomers + period, 30))
    story.await_done("new_serial", len(instants), seconds=120)
    lines = story.lines("new_serial")
    assert {line.colour for line in lines} == {"green"}
    assert [line.due for line in lines if line.what == "done"] == instants
    assert [line.what for line in lines] == ["start", "done"] * len(instants)


def test_a_new_dag_with_history_is_executed_once_by_the_owner(story: Story, newcomers: datetime) -> None:
    start, end = story.origins["around"], newcomers + timedelta(seconds=30)
    instants = list(due(start + timedelta(seconds=30), end + timedelta(seconds=30), 30))
    story.await_done("new_parallel", len(instants), seconds=120)
    done = story.done("new_parallel")
    assert Counter(line.due for line in done) == dict.fromkeys(instants, 1)
    assert {line.colour for line in done} == {"green"}


# --- there and back before anything has drained ---


@dataclass(frozen=True)
class Back:
    """Green owned, then blue for half a minute, then green again."""

    refused: Answer  # a switch while halves of conditions waited
    blue_since: datetime
    green_since: datetime
    switch: Answer  # back to green, with --wait


@pytest.fixture(scope="module")
def back(story: Story, newcomers: datetime) -> Back:
    story.begin("back", "life_back.py")
    story.await_dags("back_sensor", "part_both")
    story.until("back", 5)
    story.await_done("part_a", seconds=15)
    refused = story.mwaactl("switch", "blue", "--dry-run")
    story.until("back", 33)
    for consumer in ("asset_both", "part_both"):
        story.await_done(consumer, seconds=5)
    there = story.mwaactl("switch", "blue", "--force", "cross-dag", "--yes")
    assert there.code == 0, there.out + there.err
    story.until("back", 64)
    command = story.switch("green", "--force", "cross-dag", "--wait", "--timeout", f"{DRAINED:.0f}")
    again = command.answer(DRAINED + 60)
    blue_since, green_since = (datetime.fromisoformat(x.json["owns_from"]) for x in (there, again))
    assert story.offset("back", blue_since) < 60 < story.offset("back", green_since) < 90, "too slow"
    return Back(refused, blue_since, green_since, again)


def test_a_mirror_of_an_ownership_before_the_last_one_is_put_right(story: Story, back: Back) -> None:
    (produced,) = story.done("back_producer")
    assert produced.colour == "green"
    consumed = story.await_done("back_sensor", seconds=60)
    assert [line.colour for line in consumed] == ["blue"]
    assert consumed[0].at > produced.at
    assert back.switch.code == 0, back.switch.err
    assert back.switch.json["drain"]["finished"]


def test_half_a_condition_stops_a_switch(story: Story, back: Back) -> None:
    failed = {c["name"]: c["detail"] for c in back.refused.json["checks"] if c["result"] == "fail"}
    assert failed.keys() == {"asset-events"}, failed
    assert {dag for dag in ("asset_both", "part_both") if dag in failed["asset-events"]} == {
        "asset_both",
        "part_both",
    }


def test_a_and_b_on_both_sides_of_two_switches_are_consumed_once_together(story: Story, back: Back) -> None:
    done = sorted(story.await_done("asset_both", 2, seconds=120), key=lambda line: line.at)
    a, b = (sorted(story.done(name), key=lambda line: line.due) for name in ("asset_a", "asset_b"))
    assert [sorted(line.causes) for line in done] == [sorted((a[n].run, b[n].run)) for n in range(2)]


def test_partitions_of_two_assets_are_joined_once(story: Story, back: Back) -> None:
    assert len(story.done("part_a")) == len(story.done("part_b")) == 1
    assert len(story.await_done("part_both", seconds=60)) == 1
