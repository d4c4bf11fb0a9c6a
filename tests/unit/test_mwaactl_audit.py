"""The audit finds what was not executed exactly once by its owner, and lets it be executed once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from mwaactl import airflow_api, audit, cli, clock, recovery_cli
from mwaactl.audit import Audit
from mwaactl.aws import Clients
from mwaactl.errors import Unreachable
from mwaactl.stack import Stack, parse
from tests.unit.mwaactl_doubles import OWNERSHIP, client_error, outputs, standing
from tests.unit.recovery_doubles import Cloud, Dag, Run, cloud, minutes

CHAIN = Dag({"first": ("second",), "second": ()}, next_due=minutes(100))
DONE = {"first": "success", "second": "success"}
SKIPPED = {"first": "skipped", "second": "skipped"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Two environments, one hour after the beginning; green owns what is due from minute 30 on."""
    made = cloud({"chain": CHAIN})
    made.ssm.clock.now = minutes(20)
    timeline = standing(cast(Any, made)).switched("green", minutes(30), 2)
    made.ssm.store({"Name": OWNERSHIP, "Value": timeline.dump()})
    made.ssm.clock.now = minutes(60)
    monkeypatch.setattr(clock, "now", lambda: made.ssm.clock.now)
    monkeypatch.setattr(airflow_api._Pace, "wait", lambda pace: None)
    return made


@pytest.fixture
def stack() -> Stack:
    return parse(outputs("fullha"))


def look(stack: Stack, aws: Cloud) -> Audit:
    return audit.audit(stack, cast(Clients, aws), since=minutes(0), until=minutes(60))


def backfill(stack: Stack, aws: Cloud, found: Audit) -> Audit:
    return audit.backfill(stack, cast(Clients, aws), found)


def both(aws: Cloud, minute: int, blue: dict[str, str] | None, green: dict[str, str] | None) -> list[Run]:
    """One instant with the tasks' states on each side; None: the side has no run."""
    states = ((aws.blue, blue), (aws.green, green))
    return [airflow.add("chain", minutes(minute), found) for airflow, found in states if found is not None]


def kinds(found: Audit) -> list[tuple[str, Any]]:
    return [(one.kind, one.due) for one in found.findings]


def test_runs_that_their_owners_executed_are_no_findings(stack: Stack, aws: Cloud) -> None:
    both(aws, 10, DONE, SKIPPED)
    both(aws, 40, SKIPPED, DONE)
    found = look(stack, aws)
    assert found.findings == ()
    assert (found.instants, found.unfinished, found.failed) == (2, 0, 0)


def test_a_run_that_both_executed_is_found(stack: Stack, aws: Cloud) -> None:
    both(aws, 10, DONE, DONE)
    found = look(stack, aws)
    assert kinds(found) == [("both", minutes(10))]
    assert found.findings[0].owner == "blue"
    assert found.findings[0].runs == {"blue": "success", "green": "success"}
    assert found.findings[0].backfill_on is None


def test_a_run_that_only_the_wrong_side_executed_is_found(stack: Stack, aws: Cloud) -> None:
    both(aws, 10, SKIPPED, DONE)
    both(aws, 40, DONE, None)
    assert kinds(look(stack, aws)) == [("wrong side", minutes(10)), ("wrong side", minutes(40))]


def test_a_run_that_was_skipped_on_its_owner_was_executed_by_nobody(stack: Stack, aws: Cloud) -> None:
    both(aws, 10, SKIPPED, SKIPPED)
    found = look(stack, aws)
    assert kinds(found) == [("nobody", minutes(10))]
    assert "skipped on blue" in found.findings[0].detail


def test_a_run_that_its_owner_never_made_was_executed_by_nobody(stack: Stack, aws: Cloud) -> None:
    both(aws, 40, SKIPPED, None)
    found = look(stack, aws)
    assert kinds(found) == [("nobody", minutes(40))]
    assert found.findings[0].backfill_on == "green"


def test_a_run_that_its_owner_may_still_make_is_unfinished(stack: Stack, aws: Cloud) -> None:
    aws.green.dags["chain"].next_due = minutes(40)
    both(aws, 40, SKIPPED, None)
    found = look(stack, aws)
    assert found.findings == ()
    assert found.unfinished == 1


def test_a_dag_with_no_next_run_is_past_it_unless_it_waits_for_its_runs_to_end(
    stack: Stack, aws: Cloud
) -> None:
    """Before 3.3 Airflow tells no next run while max_active_runs is reached."""
    aws.green.dags["chain"].next_due = None
    both(aws, 40, SKIPPED, None)
    assert kinds(look(stack, aws)) == [("nobody", minutes(40))]
    aws.green.add("chain", minutes(-10), DONE, state="running")
    found = look(stack, aws)
    assert (found.findings, found.unfinished) == ((), 1)


def test_a_paused_or_missing_dag_on_the_owner_is_found(stack: Stack, aws: Cloud) -> None:
    aws.green.dags["chain"].paused = True
    aws.green.dags["chain"].next_due = minutes(40)
    both(aws, 40, SKIPPED, None)
    paused = look(stack, aws).findings[0]
    assert "paused" in paused.detail
    assert paused.backfill_on is None, "once it is unpaused, its scheduler may make the run"
    del aws.green.dags["chain"]
    assert "no such DAG" in look(stack, aws).findings[0].detail


def test_unfinished_and_failed_runs_are_counted(stack: Stack, aws: Cloud) -> None:
    both(aws, 10, DONE, SKIPPED)[0].state = "running"
    both(aws, 20, {"first": "success", "second": "failed"}, SKIPPED)[0].state = "failed"
    found = look(stack, aws)
    assert (found.unfinished, found.failed, found.findings) == (1, 1, ())


def test_a_mirror_that_was_made_true_was_not_executed_unless_it_was_cleared_later(
    stack: Stack, aws: Cloud
) -> None:
    mirror = both(aws, 10, DONE, DONE)[1]
    mirror.note = "mwaactl: executed on blue"
    for one in mirror.tasks.values():
        one.rendered = {}
    assert look(stack, aws).findings == ()
    aws.green._clear(mirror, mirror.tasks)
    aws.green.work()
    assert kinds(look(stack, aws)) == [("both", minutes(10))]


def test_an_owner_with_a_mirror_made_true_lost_nothing(stack: Stack, aws: Cloud) -> None:
    """After a failover: green owns the instant by the back-dated decision, blue had completed it."""
    mirror = both(aws, 40, DONE, SKIPPED)[1]
    mirror.note = "mwaactl: executed on blue"
    assert look(stack, aws).findings == ()


def test_a_task_that_failed_for_want_of_a_verdict_was_not_executed(stack: Stack, aws: Cloud) -> None:
    mirror = both(aws, 10, DONE, {"first": "failed", "second": "upstream_failed"})[1]
    mirror.state = "failed"
    mirror.tasks["first", -1].rendered = {}
    assert look(stack, aws).findings == ()


def test_a_dags_own_decision_says_who_owns_it(stack: Stack, aws: Cloud) -> None:
    aws.ssm.clock.now = minutes(31)
    timeline = standing(cast(Any, aws)).dag_moved("chain", "blue", minutes(35), 3)
    aws.ssm.store({"Name": OWNERSHIP, "Value": timeline.dump()})
    aws.ssm.clock.now = minutes(60)
    both(aws, 40, DONE, SKIPPED)
    assert look(stack, aws).findings == ()


def test_half_an_audit_is_none(stack: Stack, aws: Cloud) -> None:
    def silent(method: str, path: str) -> None:
        raise client_error("InternalServerException", 500)

    aws.green.before = silent
    with pytest.raises(Unreachable):
        look(stack, aws)


def test_what_nobody_executed_is_cleared_on_the_owner_of_now_once(stack: Stack, aws: Cloud) -> None:
    both(aws, 10, SKIPPED, SKIPPED)
    done = backfill(stack, aws, look(stack, aws))
    assert [(one.due, one.backfill_on) for one in done.backfilled] == [(minutes(10), "green")]
    assert done.open == ()
    assert look(stack, aws).unfinished == 1
    aws.green.work()
    assert aws.green.executed == [("chain", aws.green.one("chain", minutes(10)).run_id)]
    assert aws.blue.executed == []
    again = look(stack, aws)
    assert again.findings == ()
    backfill(stack, aws, done)
    aws.green.work()
    assert len(aws.green.executed) == 1


def test_what_the_owner_never_made_is_made_once(stack: Stack, aws: Cloud) -> None:
    both(aws, 40, SKIPPED, None)
    first = look(stack, aws)
    for _ in range(2):
        backfill(stack, aws, first)
        assert look(stack, aws).unfinished == 1
    aws.green.work()
    assert len(aws.green.executed) == 1
    backfill(stack, aws, first)
    aws.green.work()
    assert len(aws.green.executed) == 1
    assert look(stack, aws).findings == ()


def test_what_the_other_side_may_still_execute_is_not_backfilled(stack: Stack, aws: Cloud) -> None:
    """Blue owned the instant and is behind; green, the owner of now, must not be faster."""
    aws.blue.dags["chain"].next_due = minutes(5)
    both(aws, 10, None, SKIPPED)
    assert look(stack, aws).unfinished == 1
    aws.blue.dags["chain"].paused = True
    finding = look(stack, aws).findings[0]
    assert finding.backfill_on is None
    assert "unpause" in finding.detail


def test_a_run_is_not_started_where_it_is_paused_now(stack: Stack, aws: Cloud) -> None:
    aws.green.dags["chain"].paused = True
    both(aws, 10, SKIPPED, SKIPPED)
    finding = look(stack, aws).findings[0]
    assert finding.backfill_on is None
    assert "paused on green" in finding.detail


def test_what_is_executed_meanwhile_is_not_backfilled(stack: Stack, aws: Cloud) -> None:
    run = both(aws, 10, SKIPPED, SKIPPED)[0]
    found = look(stack, aws)
    aws.blue._clear(run, run.tasks)
    assert backfill(stack, aws, found).backfilled == ()
    assert aws.green.changes == 0


# --- as an operator sees it ---


@pytest.fixture
def run(aws: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    def opened(stack: str | None, cwd: Path | None) -> Any:
        return parse(outputs(stack or "fullha")), cast(Clients, aws)

    monkeypatch.setattr(recovery_cli, "open_stack", opened)
    return lambda *arguments: CliRunner().invoke(cli.app, ["audit", *arguments])


def test_the_exit_code_says_whether_there_is_something(run: Callable[..., Result], aws: Cloud) -> None:
    both(aws, 10, DONE, SKIPPED)
    assert run().exit_code == 0
    both(aws, 40, SKIPPED, None)
    result = run("--since", "90m")
    assert result.exit_code == 1
    assert "executed by nobody" in result.stdout
    assert "mwaactl audit --backfill -s fullha" in result.stdout
    result = run("--backfill", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["backfilled"][0]["dag_id"] == "chain"
    assert run().exit_code == 0


def test_a_double_cannot_be_backfilled_and_stays_a_finding(run: Callable[..., Result], aws: Cloud) -> None:
    both(aws, 10, DONE, DONE)
    assert run("--backfill", "--yes").exit_code == 1
    assert aws.green.changes == aws.blue.changes == 0


def test_a_backfill_that_is_refused_ends_with_5(run: Callable[..., Result], aws: Cloud) -> None:
    both(aws, 10, SKIPPED, SKIPPED)

    def refuses(method: str, path: str) -> None:
        if path.endswith("/clear"):
            raise client_error("AccessDeniedException", 403)

    aws.green.before = refuses
    result = run("--backfill", "--yes")
    assert result.exit_code == 5
    assert "Not backfilled: chain" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [("--since", "yesterday"), ("--since", "2026-11-23T10:00:00"), ("--since", "1h", "--until", "2h")],
)
def test_a_window_that_makes_no_sense_is_wrong_usage(
    run: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    assert run(*arguments).exit_code == 2


def test_only_the_window_is_looked_at(run: Callable[..., Result], aws: Cloud) -> None:
    both(aws, 10, SKIPPED, SKIPPED)
    assert run("--since", "2026-11-23T10:11:00Z").exit_code == 0
    assert run("--until", "50m").exit_code == 0
    assert run("--until", "49m").exit_code == 1
