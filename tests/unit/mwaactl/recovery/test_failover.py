"""A failover: everything that was due lately is executed, at least once; each step can be repeated."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from bluegreen.settings import MAX_AGE
from bluegreen.timeline import Colour

from lineage_log.log import key_at
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable, UsageError
from mwaactl.json_model import iso
from mwaactl.ownership.reading import newest_owner
from mwaactl.recovery import failover
from mwaactl.recovery.failover import FailoverResult
from tests.fakes.aws.clients import LEAD, FakeClients, deployment, standing
from tests.fakes.aws.errors import Killed, client_error
from tests.fakes.aws.ssm import ACTIVE, OWNERSHIP
from tests.fakes.clock import minutes
from tests.fakes.mwaactl.dead_blue import DONE, LATELY, NOW, blue_died, completed, killed_at
from tests.fakes.timeline import dumped

CALLS = 60  # more than a failover makes here


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    return blue_died(monkeypatch)


def fail_over(aws: FakeClients, **more: Any) -> FailoverResult:
    planned = {key: more.pop(key) for key in ("since", "force", "witnesses") if key in more}
    plan = failover.plan_failover(deployment(aws), "green", **planned)
    return failover.carry_out_failover(plan, **more)


def due(runs: Collection[Any]) -> list[datetime]:
    return sorted({run.due for run in runs})


def owner(aws: FakeClients, minute: float, dag_id: str = "a") -> str | None:
    return standing(aws).owner(minutes(minute), dag_id)


def test_everything_due_lately_is_executed_again_when_the_old_side_is_silent(aws: FakeClients) -> None:
    result = fail_over(aws)
    assert result.completion_uncertain
    assert result.since == minutes(45)
    assert due(result.rerun) == [minutes(minute) for minute in LATELY]
    assert len(result.rerun) == 10
    assert result.left == ()
    aws.green.work()
    assert sorted(aws.green.executed) == sorted((run.dag_id, run.run_id) for run in result.rerun)
    assert set(aws.green.states("a", minutes(30)).values()) == {"skipped"}, "not due lately"


def test_runs_are_cleared_in_the_order_of_their_due_instants(aws: FakeClients) -> None:
    aws.green.runs.reverse()
    order = [run.due for run in fail_over(aws).rerun]
    assert order == sorted(order)


def test_the_target_owns_from_the_past_instant_on(aws: FakeClients) -> None:
    fail_over(aws, since=minutes(51))
    assert [owner(aws, minute) for minute in (50, 51, 59, 70)] == ["blue", "green", "green", "green"]
    assert aws.ssm.values(ACTIVE) == ["blue", "green"]


def test_the_history_tells_which_decision_was_dated_back(aws: FakeClients) -> None:
    fail_over(aws, since=minutes(51))
    closed, newest, first, _ = deployment(aws).ownership.history().versions
    assert closed.change.endswith("blue's books are closed")
    assert newest.change == f"green from {iso(minutes(51))}, back-dated; blue's books are closing"
    assert first.change.startswith("green from ")
    assert "dated back" not in first.change


def test_one_write_alone_would_not_change_the_past(aws: FakeClients) -> None:
    """Why it writes twice: the value of the first write says nothing before its arrival."""
    aws.ssm.puts = ["stored", client_error("AccessDenied", 403)]
    with pytest.raises(Unreachable):
        fail_over(aws)
    assert owner(aws, 59) == "blue"
    assert owner(aws, 61) == "green"
    fail_over(aws)
    assert owner(aws, 59) == "green"


def test_decisions_of_single_dags_are_overruled(aws: FakeClients) -> None:
    aws.ssm.clock.now = minutes(40)
    timeline = standing(aws).switched("green", minutes(41), 2).dag_moved("b", "blue", minutes(41), 2)
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(timeline)})
    aws.ssm.clock.now = minutes(NOW)
    assert (owner(aws, 50, "a"), owner(aws, 50, "b")) == ("green", "blue")
    fail_over(aws)
    assert (owner(aws, 50, "a"), owner(aws, 50, "b"), owner(aws, 70, "b")) == ("green", "green", "green")


def test_it_waits_until_no_process_acts_on_what_it_read_before(aws: FakeClients) -> None:
    waits: list[float] = []
    result = fail_over(aws, on_wait=waits.append)
    assert result.waited
    wait = MAX_AGE + timedelta(seconds=LEAD)  # the gate's greatest age of a copy, and the lead
    assert waits[0] == wait.total_seconds()
    assert sorted(waits, reverse=True) == waits
    assert aws.ssm.clock.now >= minutes(NOW) + wait
    more_waits: list[float] = []
    fail_over(aws, on_wait=more_waits.append)
    assert more_waits == [], "a second time there is nothing to wait for"


def test_in_the_end_the_old_side_may_be_replaced(aws: FakeClients) -> None:
    fail_over(aws)
    assert not standing(aws).open_books("blue")
    assert owner(aws, 30) == "blue", "what was due before is settled, not passed on"


def test_a_side_that_comes_back_does_not_go_on_with_what_was_due_before(aws: FakeClients) -> None:
    """Also of an earlier switch that was never waited for; from the second write on, whatever comes then."""
    switches: list[tuple[Colour, float, int]] = [("green", 20, 2), ("blue", 40, 3)]
    for target, begin, version in switches:
        aws.ssm.clock.now = minutes(begin - 1)
        timeline = standing(aws).switched(target, minutes(begin), version, known=["a", "b"])
        aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(timeline)})
    aws.ssm.clock.now = minutes(NOW)
    aws.ssm.puts = ["stored", "stored", client_error("AccessDenied", 403)]
    fail_over(aws)
    claims = [standing(aws).claim(minutes(minute), "a") for minute in (10, 30, 42)]
    assert [(claim.entry and claim.entry.owner, claim.over) for claim in claims] == [
        ("blue", True),
        ("green", False),
        ("blue", True),
    ]
    assert standing(aws).open_books("blue"), "it has not come to its end"


def test_what_the_old_side_had_not_created_is_executed_if_it_still_answers(aws: FakeClients) -> None:
    aws.blue.answer()
    aws.blue.dags["b"].paused = True
    aws.blue.dags["b"].next_due = minutes(30)
    result = fail_over(aws)
    assert "blue had not created" in " ".join(result.notes)
    assert (owner(aws, 30, "a"), owner(aws, 28, "b"), owner(aws, 30, "b")) == ("blue", "blue", "green")
    aws.green.work()
    assert aws.green.scheduled("b", minutes(30)).run_id in {run_id for _, run_id in aws.green.executed}


def test_a_failover_after_a_switch_that_was_waited_for_waits_too(aws: FakeClients) -> None:
    """It changes the past again."""
    before = standing(aws).switched("green", minutes(NOW - 5), 2, known=["a"])
    closed = before.with_books("blue", {}, 2, closed=True)
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(closed)})
    aws.ssm.clock.forward(30)
    assert fail_over(aws, since=minutes(NOW - 20)).waited
    assert not standing(aws).open_books("blue")


def test_with_no_wait_it_does_not_wait(aws: FakeClients) -> None:
    result = fail_over(aws, wait=False)
    assert not result.waited
    assert aws.ssm.clock.now < minutes(NOW + 1)
    assert len(result.rerun) == 10


def test_what_the_old_side_completed_is_not_executed_again(aws: FakeClients) -> None:
    aws.blue.answer()
    result = fail_over(aws)
    assert not result.completion_uncertain
    assert due(result.rerun) == [minutes(54), minutes(56), minutes(58)]
    assert result.mirrored is not None
    assert result.mirrored.copied == 4
    aws.green.work()
    assert aws.green.states("a", minutes(50)) == aws.blue.states("a", minutes(50))
    assert aws.green.scheduled("a", minutes(50)).note == "mwaactl: executed on blue"
    assert not {run_id for _, run_id in aws.green.executed} & {aws.green.scheduled("a", minutes(50)).run_id}


def test_what_failed_on_the_old_side_is_executed_again(aws: FakeClients) -> None:
    aws.blue.answer()
    aws.blue.scheduled("a", minutes(50)).state = "failed"
    assert ("a", minutes(50)) in {(run.dag_id, run.due) for run in fail_over(aws).rerun}


def test_a_mirror_with_copied_states_there_proves_nothing(aws: FakeClients) -> None:
    aws.blue.answer()
    aws.blue.scheduled("a", minutes(50)).note = "mwaactl: executed on green"
    assert ("a", minutes(50)) in {(run.dag_id, run.due) for run in fail_over(aws).rerun}


def test_what_was_known_as_completed_once_stays_so_when_the_old_side_dies_later(aws: FakeClients) -> None:
    aws.blue.answer()
    fail_over(aws)
    aws.blue.silence()
    assert fail_over(aws).rerun == ()


def test_what_only_the_lineage_log_knows_as_completed_is_not_executed_again(aws: FakeClients) -> None:
    known = [("a", 50.0), ("b", 52.0)]
    completed(aws, *known)
    result = fail_over(aws)
    assert len(result.rerun) == 8
    at = {(dag_id, minutes(minute)) for dag_id, minute in known}
    assert {(run.dag_id, run.due) for run in result.left} == at, (
        "their mirrors cannot receive the final states yet"
    )
    assert result.window is not None
    assert {run.known_by for run in result.window.having("completed")} == {"the lineage log"}
    assert result.window.witnesses == ("the lineage log",)
    assert result.completion_uncertain, "the log may not have every run"
    aws.green.work()
    assert not {aws.green.scheduled("a", minutes(50)).run_id} & {i for d, i in aws.green.executed if d == "a"}


def test_when_the_old_side_answers_later_the_mirrors_receive_its_states(aws: FakeClients) -> None:
    completed(aws, ("a", 50), ("a", 52), ("b", 50), ("b", 52))
    assert len(fail_over(aws).left) == 4
    aws.blue.answer()
    result = fail_over(aws)
    assert result.left == ()
    assert result.mirrored is not None
    assert result.mirrored.copied == 4


def test_the_log_knows_what_the_old_side_has_forgotten(aws: FakeClients) -> None:
    """As after its database was put back to an older state."""
    aws.blue.answer()
    aws.blue.runs.remove(aws.blue.scheduled("a", minutes(52)))
    completed(aws, ("a", 52))
    assert ("a", minutes(52)) not in {(run.dag_id, run.due) for run in fail_over(aws).rerun}


def test_the_old_side_may_deny_what_the_log_says(aws: FakeClients) -> None:
    """It was completed, and an operator has cleared it since."""
    aws.blue.answer()
    completed(aws, ("a", 54))
    result = fail_over(aws)
    assert ("a", minutes(54)) in {(run.dag_id, run.due) for run in result.rerun}
    assert not result.completion_uncertain


def test_what_is_completed_while_it_waits_is_not_executed_again(aws: FakeClients) -> None:
    plan = failover.plan_failover(deployment(aws), "green")
    assert plan.window is not None
    assert len(plan.window.having("rerun")) == 10
    completed(aws, ("a", 58))
    assert len(failover.carry_out_failover(plan).rerun) == 9


def test_a_log_that_cannot_be_read_is_reported_and_changes_nothing(aws: FakeClients) -> None:
    completed(aws, ("a", 50))
    aws.s3.lineage.objects[f"{key_at(minutes(59))}-x.json.gz"] = b"{"
    aws.s3.lineage.modified[f"{key_at(minutes(59))}-x.json.gz"] = minutes(59)
    result = fail_over(aws)
    assert len(result.rerun) == 10
    assert result.window is not None
    assert "cannot be read: not JSON" in result.window.silent["the lineage log"]


def test_what_the_target_executes_or_has_executed_is_left_alone(aws: FakeClients) -> None:
    aws.green.scheduled("a", minutes(50)).state = "running"
    aws.green.runs.remove(aws.green.scheduled("a", minutes(52)))
    aws.green.add("a", minutes(52), DONE)
    result = fail_over(aws)
    assert {run.due for run in result.rerun if run.dag_id == "a"} == {minutes(m) for m in (54, 56, 58)}


def test_repeated_it_changes_nothing(aws: FakeClients) -> None:
    fail_over(aws)
    changes, versions = aws.green.changes, aws.ssm.values()
    assert fail_over(aws).rerun == (), "still being executed"
    aws.green.work()
    aws.ssm.clock.now = minutes(NOW + 120)
    assert fail_over(aws).rerun == (), "executed"
    assert aws.green.changes == changes
    assert aws.ssm.values() == versions


def test_repeated_within_the_same_millisecond_it_is_the_same_decision(aws: FakeClients) -> None:
    aws.ssm.clock.now += timedelta(microseconds=1234)

    def killed_after_both_writes(*_: str) -> None:
        if len(aws.ssm.values()) == 3:
            raise Killed

    aws.ssm.before = aws.green.before = killed_after_both_writes
    with pytest.raises(Killed):
        fail_over(aws)
    assert len(aws.ssm.values()) == 3
    aws.ssm.before = lambda operation: None
    aws.green.answer()
    fail_over(aws)
    assert len(aws.ssm.values()) == 4, "the last one closes the books"
    fail_over(aws)
    assert len(aws.ssm.values()) == 4


def test_a_run_that_skipped_all_its_tasks_when_executed_again_is_not_cleared_for_ever(
    aws: FakeClients,
) -> None:
    fail_over(aws)
    for run in aws.green.runs:
        run.state = "success"
        for task in run.tasks.values():
            task.state = "skipped"
    assert fail_over(aws).rerun == ()


def test_the_kills_below_reach_the_last_call(aws: FakeClients) -> None:
    aws.blue.answer()
    killed_at(CALLS - 1, aws)
    fail_over(aws)


@pytest.mark.parametrize("blue_answers", [False, True])
@pytest.mark.parametrize("count", range(1, CALLS))
def test_killed_at_any_call_and_repeated_everything_is_executed_once(
    aws: FakeClients, count: int, blue_answers: bool
) -> None:
    if blue_answers:
        aws.blue.answer()
    killed_at(count, aws)
    with suppress(Killed):
        fail_over(aws)
    aws.ssm.before = lambda operation: None
    aws.green.answer()
    aws.ssm.clock.forward(120)  # the operator comes back
    aws.green.work()
    result = fail_over(aws)
    assert result.left == ()
    assert owner(aws, 49) == "green"
    assert aws.ssm.values(ACTIVE)[-1] == "green"
    aws.green.work()
    executed = [run_id for _, run_id in aws.green.executed]
    expected = [minute for minute in LATELY if not (blue_answers and minute < 53)]
    assert sorted(executed) == sorted(
        2 * [aws.green.scheduled("a", minutes(minute)).run_id for minute in expected]
    )


def test_an_interrupted_one_goes_on_with_its_own_since_and_window(aws: FakeClients) -> None:
    aws.ssm.puts = ["stored", client_error("AccessDenied", 403)]
    with pytest.raises(Unreachable):
        fail_over(aws, since=minutes(51))
    aws.ssm.clock.now = minutes(NOW + 30)
    result = fail_over(aws)
    assert result.since == minutes(51)
    assert result.until == minutes(NOW) + timedelta(seconds=5)


def test_after_an_ordinary_switch_the_old_sides_last_runs_can_still_be_taken(aws: FakeClients) -> None:
    timeline = standing(aws).switched("green", minutes(NOW) + timedelta(seconds=5), 2)
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(timeline)})
    aws.ssm.clock.now = minutes(NOW + 2)
    result = fail_over(aws)
    assert len(result.rerun) == 10
    assert result.version == 3


def test_another_operator_who_was_faster_wins(aws: FakeClients) -> None:
    plan = failover.plan_failover(deployment(aws), "green")
    other = standing(aws).switched("green", minutes(NOW) + timedelta(seconds=5), 2)
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(other)})
    with pytest.raises(LostRace):
        failover.carry_out_failover(plan)
    assert aws.green.changes == 0


def test_the_fence_denies_everything_and_stops_switches(aws: FakeClients) -> None:
    result = fail_over(aws, with_fence=True)
    assert result.fenced
    document = json.loads(aws.iam.policies["x", "mwaactl-fence"])
    assert document["Statement"][0] | {"Sid": ""} == {
        "Sid": "",
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
    }
    aws.iam.policies["x", "mwaactl-fence"] = "{}"
    back = failover.plan_failover(deployment(aws), "blue", force=["target-api"])
    assert [(check.name, check.stops) for check in back.checks] == [("target-api", False), ("fenced", True)]
    assert "mwaactl unfence blue" in back.checks[1].detail


def test_a_fence_that_is_refused_can_be_left_out(aws: FakeClients) -> None:
    aws.iam.refuses = True
    with pytest.raises(Unfinished, match="without --fence"):
        fail_over(aws, with_fence=True)
    assert aws.green.changes == 0
    assert len(fail_over(aws).rerun) == 10


def test_a_target_that_does_not_answer_stops_it_before_anything_is_written(aws: FakeClients) -> None:
    aws.green.silence()
    with pytest.raises(CheckFailed, match="--force"):
        fail_over(aws)
    assert len(aws.ssm.values()) == 1
    with pytest.raises(Unfinished, match="Repeat the command"):
        fail_over(aws, force=["target-api"])
    assert owner(aws, 59) == "green"
    aws.green.answer()
    assert len(fail_over(aws).rerun) == 10


def test_what_cannot_be_cleared_is_reported(aws: FakeClients) -> None:
    def refuses(method: str, path: str) -> None:
        if path.endswith("/clear") and "/dags/b/" in path:
            raise client_error("RestApiClientException", 400, RestApiStatusCode=403, RestApiResponse="no")

    aws.green.before = refuses
    result = fail_over(aws)
    assert {run.dag_id for run in result.left} == {"b"}
    assert {run.dag_id for run in result.rerun} == {"a"}


def test_a_paused_dag_is_named(aws: FakeClients) -> None:
    aws.green.dags["b"].paused = True
    assert "paused on green" in fail_over(aws).notes[0]


@pytest.mark.parametrize("more", [{"since": minutes(61)}, {"force": ["gate"]}])
def test_what_makes_no_sense_is_wrong_usage(aws: FakeClients, more: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        fail_over(aws, **more)


def test_it_does_not_begin_before_what_is_remembered(aws: FakeClients) -> None:
    """It would give the target what nobody remembers the owner of, however long ago that was due."""
    switches: list[tuple[Colour, Colour, float]] = [("green", "blue", 20), ("blue", "green", 40)]
    for version, (target, source, begin) in enumerate(switches, 2):
        aws.ssm.clock.now = minutes(begin - 1)
        timeline = standing(aws).switched(target, minutes(begin), version, known=["a"])
        timeline = timeline.with_books(source, {}, version, closed=True)
        aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(timeline.folded(minutes(begin)))})
    aws.ssm.clock.now = minutes(NOW)
    assert standing(aws).owners[0].since == minutes(40)
    before = aws.ssm.values()
    with pytest.raises(UsageError, match=f"--since {iso(minutes(40))}"):
        fail_over(aws, since=minutes(39))
    assert aws.ssm.values() == before
    fail_over(aws, since=minutes(40))
    assert owner(aws, 41) == "green"


def test_a_switch_that_lands_behind_a_failover_has_the_last_word_in_the_plain_parameter(
    aws: FakeClients,
) -> None:
    ours = deployment(aws)
    plan = failover.plan_failover(ours, "green")
    steps: list[str] = []

    def switch_back(operation: str) -> None:
        steps.append(operation)
        if operation == "put" and steps.count("put") == 3:  # two of the ownership, then the plain one
            aws.ssm.before = lambda _: None
            theirs = deployment(aws).ownership
            before = theirs.read()
            since = aws.ssm.clock.now + theirs.lead
            theirs.write(
                before, before.timeline.switched("blue", since, before.top + 1), "mwaactl switch blue"
            )
            aws.ssm.put_parameter(Name=ACTIVE, Value="blue", Type="String", Overwrite=True)

    aws.ssm.before = switch_back
    failover.carry_out_failover(plan, wait=False)
    assert newest_owner(standing(aws)) == "blue"
    assert aws.ssm.values(ACTIVE)[-1] == "blue"


def test_a_plain_parameter_that_cannot_be_written_leaves_the_failover_unfinished(aws: FakeClients) -> None:
    plan = failover.plan_failover(deployment(aws), "green")
    puts: list[str] = []

    def deny(operation: str) -> None:
        if operation == "put":
            puts.append(operation)
            if len(puts) > 2:
                raise client_error("AccessDenied", 403)

    aws.ssm.before = deny
    with pytest.raises(Unfinished, match="does not name it yet"):
        failover.carry_out_failover(plan)
    assert newest_owner(standing(aws)) == "green"
    aws.ssm.before = lambda _: None
    fail_over(aws)
    assert aws.ssm.values(ACTIVE)[-1] == "green"


def test_the_target_does_not_execute_the_past_of_a_dag_that_it_cannot_import_yet(
    aws: FakeClients,
) -> None:
    del aws.green.dags["b"]
    aws.green.runs = [run for run in aws.green.runs if run.dag_id != "b"]
    aws.blue.answer()  # its scheduler has died, its web server has not
    fail_over(aws)
    assert owner(aws, -600, "b") != "green", "blue executed it"
