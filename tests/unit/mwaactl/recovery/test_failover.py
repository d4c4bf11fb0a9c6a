"""A failover: everything that was due lately is executed, at least once; each step can be repeated."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from lineage_log.log import key_at
from mwaactl import clock
from mwaactl.airflow import client as airflow_api
from mwaactl.aws import Clients
from mwaactl.cli import app as cli
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable, UsageError
from mwaactl.json_model import iso
from mwaactl.ownership.reading import newest_owner
from mwaactl.recovery import failover
from mwaactl.recovery.failover import FailoverResult
from mwaactl.stack import Stack, parse
from tests.fakes.aws import ACTIVE, OWNERSHIP, client_error, opens, outputs, standing
from tests.fakes.lineage_events import log_complete
from tests.fakes.recovery import Cloud, Dag, cloud, minutes

DAGS = {name: Dag({"first": ("second",), "second": ()}, next_due=minutes(100)) for name in ("a", "b")}
DONE = {"first": "success", "second": "success"}
NOW = 60.0  # minutes: when the operator types the command
CALLS = 60  # more than a failover makes here
LATELY = (50, 52, 54, 56, 58)  # minutes at which runs were due, since 15 minutes before


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Blue executed what was due until minute 53 and then died: it answers nothing. Green has the mirrors."""
    doubles = cloud(DAGS)
    for dag_id in DAGS:
        for minute in (30, *LATELY):
            doubles.green.mirror(dag_id, minutes(minute))
            run = doubles.blue.add(dag_id, minutes(minute), DONE)
            if minute > 53:
                run.state, run.tasks["second", -1].state = "running", "running"
    doubles.ssm.clock.now = minutes(NOW)
    monkeypatch.setattr(clock, "now", lambda: doubles.ssm.clock.now)
    monkeypatch.setattr(clock, "sleep", doubles.ssm.clock.forward)
    monkeypatch.setattr(airflow_api._Pace, "wait", lambda pace: None)
    silence(doubles)
    return doubles


@pytest.fixture
def stack() -> Stack:
    return parse(outputs("fullha"))


def silence(aws: Cloud, name: str = "blue") -> None:
    def silent(method: str, path: str) -> None:
        raise client_error("InternalServerException", 500)

    getattr(aws, name).before = silent


def answer(aws: Cloud, name: str = "blue") -> None:
    getattr(aws, name).before = lambda method, path: None


def fail_over(stack: Stack, aws: Cloud, **more: Any) -> FailoverResult:
    planned = {key: more.pop(key) for key in ("since", "force", "witnesses") if key in more}
    plan = failover.plan_failover(Deployment(stack, cast(Clients, aws)), "green", **planned)
    return failover.carry_out_failover(plan, **more)


def due(runs: Collection[Any]) -> list[datetime]:
    return sorted({run.due for run in runs})


def owner(aws: Cloud, minute: float, dag_id: str = "a") -> str:
    return standing(cast(Any, aws)).owner(minutes(minute), dag_id)


def test_everything_due_lately_is_executed_again_when_the_old_side_is_silent(
    stack: Stack, aws: Cloud
) -> None:
    result = fail_over(stack, aws)
    assert result.completion_uncertain
    assert result.since == minutes(45)
    assert due(result.rerun) == [minutes(minute) for minute in LATELY]
    assert len(result.rerun) == 10
    assert result.left == ()
    aws.green.work()
    assert sorted(aws.green.executed) == sorted((run.dag_id, run.run_id) for run in result.rerun)
    assert set(aws.green.states("a", minutes(30)).values()) == {"skipped"}, "not due lately"


def test_runs_are_cleared_in_the_order_of_their_due_instants(stack: Stack, aws: Cloud) -> None:
    aws.green.runs.reverse()
    order = [run.due for run in fail_over(stack, aws).rerun]
    assert order == sorted(order)


def test_the_target_owns_from_the_past_instant_on(stack: Stack, aws: Cloud) -> None:
    fail_over(stack, aws, since=minutes(51))
    assert [owner(aws, minute) for minute in (50, 51, 59, 70)] == ["blue", "green", "green", "green"]
    assert aws.ssm.values(ACTIVE) == ["blue", "green"]


def test_the_history_tells_which_decision_was_dated_back(stack: Stack, aws: Cloud) -> None:
    fail_over(stack, aws, since=minutes(51))
    newest, first, _ = Deployment(stack, cast(Clients, aws)).ownership.history().versions
    assert newest.change == f"green from {iso(minutes(51))}, back-dated"
    assert first.change.startswith("green from ")
    assert "dated back" not in first.change


def test_one_write_alone_would_not_change_the_past(stack: Stack, aws: Cloud) -> None:
    """Why it writes twice: the value of the first write says nothing before its arrival."""
    aws.ssm.puts = ["stored", client_error("AccessDenied", 403)]
    with pytest.raises(Unreachable):
        fail_over(stack, aws)
    assert owner(aws, 59) == "blue"
    assert owner(aws, 61) == "green"
    fail_over(stack, aws)
    assert owner(aws, 59) == "green"


def test_decisions_of_single_dags_are_overruled(stack: Stack, aws: Cloud) -> None:
    aws.ssm.clock.now = minutes(40)
    timeline = (
        standing(cast(Any, aws)).switched("green", minutes(41), 2).dag_moved("b", "blue", minutes(41), 2)
    )
    aws.ssm.store({"Name": OWNERSHIP, "Value": timeline.dump()})
    aws.ssm.clock.now = minutes(NOW)
    assert (owner(aws, 50, "a"), owner(aws, 50, "b")) == ("green", "blue")
    fail_over(stack, aws)
    assert (owner(aws, 50, "a"), owner(aws, 50, "b"), owner(aws, 70, "b")) == ("green", "green", "green")


def test_it_waits_until_no_process_acts_on_what_it_read_before(stack: Stack, aws: Cloud) -> None:
    waits: list[float] = []
    result = fail_over(stack, aws, on_wait=waits.append)
    assert result.waited
    assert waits[0] == 305  # the gate's greatest age of a copy, and the lead
    assert sorted(waits, reverse=True) == waits
    assert aws.ssm.clock.now >= minutes(NOW) + timedelta(seconds=305)
    more_waits: list[float] = []
    fail_over(stack, aws, on_wait=more_waits.append)
    assert more_waits == [], "a second time there is nothing to wait for"


def test_with_no_wait_it_does_not_wait(stack: Stack, aws: Cloud) -> None:
    result = fail_over(stack, aws, wait=False)
    assert not result.waited
    assert aws.ssm.clock.now < minutes(NOW + 1)
    assert len(result.rerun) == 10


def test_what_the_old_side_completed_is_not_executed_again(stack: Stack, aws: Cloud) -> None:
    answer(aws)
    result = fail_over(stack, aws)
    assert not result.completion_uncertain
    assert due(result.rerun) == [minutes(54), minutes(56), minutes(58)]
    assert result.mirrored is not None
    assert result.mirrored.copied == 4
    aws.green.work()
    assert aws.green.states("a", minutes(50)) == aws.blue.states("a", minutes(50))
    assert aws.green.one("a", minutes(50)).note == "mwaactl: executed on blue"
    assert not {run_id for _, run_id in aws.green.executed} & {aws.green.one("a", minutes(50)).run_id}


def test_what_failed_on_the_old_side_is_executed_again(stack: Stack, aws: Cloud) -> None:
    answer(aws)
    aws.blue.one("a", minutes(50)).state = "failed"
    assert ("a", minutes(50)) in {(run.dag_id, run.due) for run in fail_over(stack, aws).rerun}


def test_a_mirror_with_copied_states_there_proves_nothing(stack: Stack, aws: Cloud) -> None:
    answer(aws)
    aws.blue.one("a", minutes(50)).note = "mwaactl: executed on green"
    assert ("a", minutes(50)) in {(run.dag_id, run.due) for run in fail_over(stack, aws).rerun}


def test_what_was_known_as_completed_once_stays_so_when_the_old_side_dies_later(
    stack: Stack, aws: Cloud
) -> None:
    answer(aws)
    fail_over(stack, aws)
    silence(aws)
    assert fail_over(stack, aws).rerun == ()


def completed(aws: Cloud, *runs: tuple[str, float]) -> None:
    """The lineage log records that blue completed these, each a minute after it was due."""
    for dag_id, minute in runs:
        log_complete(aws.s3, dag_id, minutes(minute), at=minutes(minute + 1))


def test_what_only_the_lineage_log_knows_as_completed_is_not_executed_again(stack: Stack, aws: Cloud) -> None:
    known = [("a", 50.0), ("b", 52.0)]
    completed(aws, *known)
    result = fail_over(stack, aws)
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
    assert not {aws.green.one("a", minutes(50)).run_id} & {i for d, i in aws.green.executed if d == "a"}


def test_when_the_old_side_answers_later_the_mirrors_receive_its_states(stack: Stack, aws: Cloud) -> None:
    completed(aws, ("a", 50), ("a", 52), ("b", 50), ("b", 52))
    assert len(fail_over(stack, aws).left) == 4
    answer(aws)
    result = fail_over(stack, aws)
    assert result.left == ()
    assert result.mirrored is not None
    assert result.mirrored.copied == 4


def test_the_log_knows_what_the_old_side_has_forgotten(stack: Stack, aws: Cloud) -> None:
    """As after its database was put back to an older state."""
    answer(aws)
    aws.blue.runs.remove(aws.blue.one("a", minutes(52)))
    completed(aws, ("a", 52))
    assert ("a", minutes(52)) not in {(run.dag_id, run.due) for run in fail_over(stack, aws).rerun}


def test_the_old_side_may_deny_what_the_log_says(stack: Stack, aws: Cloud) -> None:
    """It was completed, and an operator has cleared it since."""
    answer(aws)
    completed(aws, ("a", 54))
    result = fail_over(stack, aws)
    assert ("a", minutes(54)) in {(run.dag_id, run.due) for run in result.rerun}
    assert not result.completion_uncertain


def test_what_is_completed_while_it_waits_is_not_executed_again(stack: Stack, aws: Cloud) -> None:
    plan = failover.plan_failover(Deployment(stack, cast(Clients, aws)), "green")
    assert plan.window is not None
    assert len(plan.window.having("rerun")) == 10
    completed(aws, ("a", 58))
    assert len(failover.carry_out_failover(plan).rerun) == 9


def test_a_log_that_cannot_be_read_is_reported_and_changes_nothing(stack: Stack, aws: Cloud) -> None:
    completed(aws, ("a", 50))
    aws.s3.objects[f"{key_at(minutes(59))}-x.json.gz"] = b"{"
    aws.s3.modified[f"{key_at(minutes(59))}-x.json.gz"] = minutes(59)
    result = fail_over(stack, aws)
    assert len(result.rerun) == 10
    assert result.window is not None
    assert "cannot be read: not JSON" in result.window.silent["the lineage log"]


def test_what_the_target_executes_or_has_executed_is_left_alone(stack: Stack, aws: Cloud) -> None:
    aws.green.one("a", minutes(50)).state = "running"
    aws.green.runs.remove(aws.green.one("a", minutes(52)))
    aws.green.add("a", minutes(52), DONE)
    result = fail_over(stack, aws)
    assert {run.due for run in result.rerun if run.dag_id == "a"} == {minutes(m) for m in (54, 56, 58)}


def test_repeated_it_changes_nothing(stack: Stack, aws: Cloud) -> None:
    fail_over(stack, aws)
    changes, versions = aws.green.changes, aws.ssm.values()
    assert fail_over(stack, aws).rerun == (), "still being executed"
    aws.green.work()
    aws.ssm.clock.now = minutes(NOW + 120)
    assert fail_over(stack, aws).rerun == (), "executed"
    assert aws.green.changes == changes
    assert aws.ssm.values() == versions


def test_repeated_within_the_same_millisecond_it_is_the_same_decision(stack: Stack, aws: Cloud) -> None:
    aws.ssm.clock.now += timedelta(microseconds=1234)
    killed_at(8, aws)  # after both writes
    with suppress(Killed):
        fail_over(stack, aws)
    assert len(aws.ssm.values()) == 3
    aws.ssm.before = lambda operation: None
    answer(aws, "green")
    fail_over(stack, aws)
    assert len(aws.ssm.values()) == 3


def test_a_run_that_skipped_all_its_tasks_when_executed_again_is_not_cleared_for_ever(
    stack: Stack, aws: Cloud
) -> None:
    fail_over(stack, aws)
    for run in aws.green.runs:
        run.state = "success"
        for task in run.tasks.values():
            task.state = "skipped"
    assert fail_over(stack, aws).rerun == ()


class Killed(BaseException):
    """The operator's process ended here."""


def killed_at(count: int, aws: Cloud) -> None:
    """From the count-th call on, of AWS or of green's Airflow."""
    calls = iter(range(count))

    def call(*_: str) -> None:
        if next(calls, None) is None:
            raise Killed

    aws.ssm.before = call
    aws.green.before = call


def test_the_kills_below_reach_the_last_call(stack: Stack, aws: Cloud) -> None:
    answer(aws)
    killed_at(CALLS - 1, aws)
    fail_over(stack, aws)


@pytest.mark.parametrize("blue_answers", [False, True])
@pytest.mark.parametrize("count", range(1, CALLS))
def test_killed_at_any_call_and_repeated_everything_is_executed_once(
    stack: Stack, aws: Cloud, count: int, blue_answers: bool
) -> None:
    if blue_answers:
        answer(aws)
    killed_at(count, aws)
    with suppress(Killed):
        fail_over(stack, aws)
    aws.ssm.before = lambda operation: None
    answer(aws, "green")
    aws.ssm.clock.forward(120)  # the operator comes back
    aws.green.work()
    result = fail_over(stack, aws)
    assert result.left == ()
    assert owner(aws, 49) == "green"
    assert aws.ssm.values(ACTIVE)[-1] == "green"
    aws.green.work()
    executed = [run_id for _, run_id in aws.green.executed]
    expected = [minute for minute in LATELY if not (blue_answers and minute < 53)]
    assert sorted(executed) == sorted(2 * [aws.green.one("a", minutes(minute)).run_id for minute in expected])


def test_an_interrupted_one_goes_on_with_its_own_since_and_window(stack: Stack, aws: Cloud) -> None:
    aws.ssm.puts = ["stored", client_error("AccessDenied", 403)]
    with pytest.raises(Unreachable):
        fail_over(stack, aws, since=minutes(51))
    aws.ssm.clock.now = minutes(NOW + 30)
    result = fail_over(stack, aws)
    assert result.since == minutes(51)
    assert result.until == minutes(NOW) + timedelta(seconds=5)


def test_after_an_ordinary_switch_the_old_sides_last_runs_can_still_be_taken(
    stack: Stack, aws: Cloud
) -> None:
    timeline = standing(cast(Any, aws)).switched("green", minutes(NOW) + timedelta(seconds=5), 2)
    aws.ssm.store({"Name": OWNERSHIP, "Value": timeline.dump()})
    aws.ssm.clock.now = minutes(NOW + 2)
    result = fail_over(stack, aws)
    assert len(result.rerun) == 10
    assert result.version == 3


def test_another_operator_who_was_faster_wins(stack: Stack, aws: Cloud) -> None:
    plan = failover.plan_failover(Deployment(stack, cast(Clients, aws)), "green")
    other = standing(cast(Any, aws)).switched("green", minutes(NOW) + timedelta(seconds=5), 2)
    aws.ssm.store({"Name": OWNERSHIP, "Value": other.dump()})
    with pytest.raises(LostRace):
        failover.carry_out_failover(plan)
    assert aws.green.changes == 0


def test_the_fence_denies_everything_and_stops_switches(stack: Stack, aws: Cloud) -> None:
    result = fail_over(stack, aws, with_fence=True)
    assert result.fenced
    document = json.loads(aws.iam.policies["x", "mwaactl-fence"])
    assert document["Statement"][0] | {"Sid": ""} == {
        "Sid": "",
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
    }
    aws.iam.policies["x", "mwaactl-fence"] = "{}"
    back = failover.plan_failover(Deployment(stack, cast(Clients, aws)), "blue", force=["target-api"])
    assert [(check.name, check.stops) for check in back.checks] == [("target-api", False), ("fenced", True)]
    assert "mwaactl unfence blue" in back.checks[1].detail


def test_a_fence_that_is_refused_can_be_left_out(stack: Stack, aws: Cloud) -> None:
    aws.iam.refuses = True
    with pytest.raises(Unfinished, match="without --fence"):
        fail_over(stack, aws, with_fence=True)
    assert aws.green.changes == 0
    assert len(fail_over(stack, aws).rerun) == 10


def test_a_target_that_does_not_answer_stops_it_before_anything_is_written(stack: Stack, aws: Cloud) -> None:
    silence(aws, "green")
    with pytest.raises(CheckFailed, match="--force"):
        fail_over(stack, aws)
    assert len(aws.ssm.values()) == 1
    with pytest.raises(Unfinished, match="Repeat the command"):
        fail_over(stack, aws, force=["target-api"])
    assert owner(aws, 59) == "green"
    answer(aws, "green")
    assert len(fail_over(stack, aws).rerun) == 10


def test_what_cannot_be_cleared_is_reported(stack: Stack, aws: Cloud) -> None:
    def refuses(method: str, path: str) -> None:
        if path.endswith("/clear") and "/dags/b/" in path:
            raise client_error("RestApiClientException", 400, RestApiStatusCode=403, RestApiResponse="no")

    aws.green.before = refuses
    result = fail_over(stack, aws)
    assert {run.dag_id for run in result.left} == {"b"}
    assert {run.dag_id for run in result.rerun} == {"a"}


def test_a_paused_dag_is_named(stack: Stack, aws: Cloud) -> None:
    aws.green.dags["b"].paused = True
    assert "paused on green" in fail_over(stack, aws).notes[0]


@pytest.mark.parametrize("more", [{"since": minutes(61)}, {"force": ["gate"]}])
def test_what_makes_no_sense_is_wrong_usage(stack: Stack, aws: Cloud, more: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        fail_over(stack, aws, **more)


# --- as an operator sees it ---


@pytest.fixture
def run(aws: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    opens(monkeypatch, aws)
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def test_a_dry_run_shows_what_is_unknown_and_writes_nothing(run: Callable[..., Result], aws: Cloud) -> None:
    result = run("failover", "green", "--dry-run")
    assert result.exit_code == 0
    assert "10 to rerun on green" in result.stdout
    assert "cannot report what blue completed" in result.stdout
    assert "A rerun may repeat completed work: nothing reports what blue completed" in result.stdout
    assert "Nothing was written. To carry it out, repeat the command without --dry-run" in result.stdout
    assert len(aws.ssm.values()) == 1
    assert aws.green.changes == 0


def test_it_says_that_it_was_at_least_once(run: Callable[..., Result], aws: Cloud) -> None:
    result = run("failover", "green", "--yes", "--reason", "blue is dead", "--fence")
    assert result.exit_code == 0
    assert "At least once, not exactly once" in result.stdout
    assert "mwaactl unfence blue -s fullha" in result.stdout
    descriptions = [record["Description"] for record in aws.ssm.stored[OWNERSHIP]]
    assert descriptions[1] == "mwaactl failover to green, since 2026-11-23T10:45:00.000Z: blue is dead"


def test_without_waiting_it_says_when_to_repeat(run: Callable[..., Result], aws: Cloud) -> None:
    answer(aws)
    shown = run("failover", "green", "--yes", "--no-wait").stdout
    assert "6 runs are being rerun, 4 mirrors received blue's final states" in shown
    assert "may still act on an older ownership" in shown
    assert "Repeat the command in 6 minutes: mwaactl failover green -s fullha" in shown
    repeated = run("failover", "green", "--yes").stdout
    assert "0 runs are being rerun" in repeated
    assert "6 minutes" not in repeated


def test_it_says_by_whom_it_knows_what_was_completed(run: Callable[..., Result], aws: Cloud) -> None:
    completed(aws, ("a", 50), ("b", 52))
    shown = run("failover", "green", "--dry-run").stdout
    assert "8 to rerun on green" in shown
    assert "2 completed on blue (2 by the lineage log): not rerun" in shown
    assert "the lineage log does not show these runs as completed, but may be incomplete" in shown
    answer(aws)
    shown = run("failover", "green", "--dry-run").stdout
    assert "4 completed on blue (4 by mwaa-openlineage-fullha-blue's REST API)" in shown
    assert "does not show" not in shown


def test_its_json_tells_what_was_done(run: Callable[..., Result], aws: Cloud) -> None:
    result = run("failover", "green", "--json", "--since", "9m")
    value = json.loads(result.stdout)
    assert value["since"] == "2026-11-23T10:51:00.000Z"
    assert len(value["rerun"]) == 8
    assert value["completion_uncertain"] is True


def test_a_failed_check_and_what_is_left_have_exit_codes(run: Callable[..., Result], aws: Cloud) -> None:
    silence(aws, "green")
    assert run("failover", "green", "--json").exit_code == 1

    def refuses(method: str, path: str) -> None:
        if path.endswith("/clear"):
            raise client_error("AccessDeniedException", 403)

    aws.green.before = refuses
    result = run("failover", "green", "--yes")
    assert result.exit_code == 5
    assert "mwaactl failover green -s fullha" in result.stderr


def test_unfence_takes_the_fence_away(run: Callable[..., Result], aws: Cloud) -> None:
    run("failover", "green", "--yes", "--fence")
    assert json.loads(run("unfence", "blue", "--json").stdout)["changed"] is True
    assert aws.iam.policies == {}
    repeated = run("unfence", "blue")
    assert repeated.exit_code == 0
    assert "no fence" in repeated.stdout


def test_a_switch_that_lands_behind_a_failover_has_the_last_word_in_the_plain_parameter(
    stack: Stack, aws: Cloud
) -> None:
    ours = Deployment(stack, cast(Clients, aws))
    plan = failover.plan_failover(ours, "green")
    steps: list[str] = []

    def switch_back(operation: str) -> None:
        steps.append(operation)
        if operation == "put" and steps.count("put") == 3:  # two of the ownership, then the plain one
            aws.ssm.before = lambda _: None
            theirs = Deployment(stack, cast(Clients, aws)).ownership
            before = theirs.read()
            since = aws.ssm.clock.now + theirs.lead
            theirs.write(
                before, before.timeline.switched("blue", since, before.top + 1), "mwaactl switch blue"
            )
            aws.ssm.put_parameter(Name=ACTIVE, Value="blue", Type="String", Overwrite=True)

    aws.ssm.before = switch_back
    failover.carry_out_failover(plan, wait=False)
    assert newest_owner(standing(cast(Any, aws))) == "blue"
    assert aws.ssm.values(ACTIVE)[-1] == "blue"


def test_a_plain_parameter_that_cannot_be_written_leaves_the_failover_unfinished(
    stack: Stack, aws: Cloud
) -> None:
    plan = failover.plan_failover(Deployment(stack, cast(Clients, aws)), "green")
    puts: list[str] = []

    def deny(operation: str) -> None:
        if operation == "put":
            puts.append(operation)
            if len(puts) > 2:
                raise client_error("AccessDenied", 403)

    aws.ssm.before = deny
    with pytest.raises(Unfinished, match="does not name it yet"):
        failover.carry_out_failover(plan)
    assert newest_owner(standing(cast(Any, aws))) == "green"
    aws.ssm.before = lambda _: None
    fail_over(stack, aws)
    assert aws.ssm.values(ACTIVE)[-1] == "green"
