"""The audit finds what was not executed exactly once by its owner, and lets it be executed once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mwaactl.errors import Unreachable
from mwaactl.recovery import audit
from mwaactl.recovery.audit import Audit
from tests.fakes.airflow.model import Run
from tests.fakes.aws.clients import FakeClients, deployment, outputs, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import minutes
from tests.fakes.lineage.events import log_complete, log_dag
from tests.fakes.mwaactl.audited import DONE, compare, switched_at_half_time
from tests.fakes.mwaactl.commands import Command
from tests.fakes.timeline import dumped

SKIPPED = {"first": "skipped", "second": "skipped"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    return switched_at_half_time(monkeypatch)


def backfill(aws: FakeClients, report: Audit) -> Audit:
    return audit.backfill(deployment(aws), report)


def both(
    aws: FakeClients, minute: int, blue: dict[str, str] | None, green: dict[str, str] | None
) -> list[Run]:
    """One instant with the tasks' states on each side; None: the side has no run."""
    states = ((aws.blue, blue), (aws.green, green))
    return [airflow.add("chain", minutes(minute), tasks) for airflow, tasks in states if tasks is not None]


def kinds(report: Audit) -> list[tuple[str, Any]]:
    return [(finding.kind, finding.due) for finding in report.findings]


def test_runs_that_their_owners_executed_are_no_findings(aws: FakeClients) -> None:
    both(aws, 10, DONE, SKIPPED)
    both(aws, 40, SKIPPED, DONE)
    report = compare(aws)
    assert report.findings == ()
    assert (report.instants, report.unfinished, report.failed) == (2, 0, 0)


def test_a_run_that_both_executed_is_found(aws: FakeClients) -> None:
    both(aws, 10, DONE, DONE)
    report = compare(aws)
    assert kinds(report) == [("both", minutes(10))]
    assert report.findings[0].owner == "blue"
    assert report.findings[0].runs == {"blue": "success", "green": "success"}
    assert report.findings[0].backfill_on is None


def test_a_run_that_only_the_wrong_side_executed_is_found(aws: FakeClients) -> None:
    both(aws, 10, SKIPPED, DONE)
    both(aws, 40, DONE, None)
    assert kinds(compare(aws)) == [("wrong side", minutes(10)), ("wrong side", minutes(40))]


def test_a_run_that_was_skipped_on_its_owner_was_executed_by_nobody(aws: FakeClients) -> None:
    both(aws, 10, SKIPPED, SKIPPED)
    report = compare(aws)
    assert kinds(report) == [("nobody", minutes(10))]
    assert "skipped on blue" in report.findings[0].detail


def test_a_run_that_its_owner_never_made_was_executed_by_nobody(aws: FakeClients) -> None:
    both(aws, 40, SKIPPED, None)
    report = compare(aws)
    assert kinds(report) == [("nobody", minutes(40))]
    assert report.findings[0].backfill_on == "green"


def test_a_run_that_its_owner_may_still_make_is_unfinished(aws: FakeClients) -> None:
    aws.green.dags["chain"].next_due = minutes(40)
    both(aws, 40, SKIPPED, None)
    report = compare(aws)
    assert report.findings == ()
    assert report.unfinished == 1


def test_a_dag_with_no_next_run_is_past_it_unless_it_waits_for_its_runs_to_end(aws: FakeClients) -> None:
    """Before 3.3 Airflow reports no next run while max_active_runs is reached."""
    aws.green.dags["chain"].next_due = None
    both(aws, 40, SKIPPED, None)
    assert kinds(compare(aws)) == [("nobody", minutes(40))]
    aws.green.add("chain", minutes(-10), DONE, state="running")
    report = compare(aws)
    assert (report.findings, report.unfinished) == ((), 1)


def test_a_paused_or_missing_dag_on_the_owner_is_found(aws: FakeClients) -> None:
    aws.green.dags["chain"].paused = True
    aws.green.dags["chain"].next_due = minutes(40)
    both(aws, 40, SKIPPED, None)
    paused = compare(aws).findings[0]
    assert "paused" in paused.detail
    assert paused.backfill_on is None, "once it is unpaused, its scheduler may make the run"
    del aws.green.dags["chain"]
    assert "no such DAG" in compare(aws).findings[0].detail


def test_unfinished_and_failed_runs_are_counted(aws: FakeClients) -> None:
    both(aws, 10, DONE, SKIPPED)[0].state = "running"
    both(aws, 20, {"first": "success", "second": "failed"}, SKIPPED)[0].state = "failed"
    report = compare(aws)
    assert (report.unfinished, report.failed, report.findings) == (1, 1, ())


def test_a_mirror_with_copied_states_was_not_executed_unless_it_was_cleared_later(aws: FakeClients) -> None:
    mirror = both(aws, 10, DONE, DONE)[1]
    mirror.note = "mwaactl: executed on blue"
    for task in mirror.tasks.values():
        task.rendered = {}
    assert compare(aws).findings == ()
    aws.green._clear(mirror, mirror.tasks)
    aws.green.work()
    assert kinds(compare(aws)) == [("both", minutes(10))]


def test_an_owner_with_a_mirror_with_copied_states_lost_nothing(aws: FakeClients) -> None:
    """After a failover: green owns the instant by the back-dated decision, blue had completed it."""
    mirror = both(aws, 40, DONE, SKIPPED)[1]
    mirror.note = "mwaactl: executed on blue"
    assert compare(aws).findings == ()


def test_a_task_that_failed_for_want_of_a_verdict_was_not_executed(aws: FakeClients) -> None:
    mirror = both(aws, 10, DONE, {"first": "failed", "second": "upstream_failed"})[1]
    mirror.state = "failed"
    mirror.tasks["first", -1].rendered = {}
    assert compare(aws).findings == ()


def test_a_dags_own_decision_says_who_owns_it(aws: FakeClients) -> None:
    aws.ssm.clock.now = minutes(31)
    timeline = standing(aws).dag_moved("chain", "blue", minutes(35), 3)
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(timeline)})
    aws.ssm.clock.now = minutes(60)
    both(aws, 40, DONE, SKIPPED)
    assert compare(aws).findings == ()


def test_half_an_audit_is_none(aws: FakeClients) -> None:
    aws.green.silence()
    with pytest.raises(Unreachable):
        compare(aws)


@pytest.fixture
def blue_is_gone(aws: FakeClients) -> None:
    aws.blue.silence()


def by_lineage(aws: FakeClients, **changes: Any) -> Audit:
    return audit.audit(deployment(aws, **changes), since=minutes(0), until=minutes(60), lineage=True)


@pytest.mark.usefixtures("blue_is_gone")
def test_the_lineage_log_stands_in_for_a_side_that_does_not_answer(aws: FakeClients) -> None:
    for minute in (10, 12, 14, 16, 18):
        aws.green.mirror("chain", minutes(minute))
    aws.green.add("chain", minutes(20), DONE)
    both(aws, 40, None, DONE)
    both(aws, 42, None, DONE)
    for minute in (10, 20, 42):
        log_complete(aws.s3, "chain", minutes(minute), at=minutes(minute + 1))
    log_dag(aws.s3, "FAIL", "chain", minutes(12), at=minutes(13))
    log_dag(aws.s3, "START", "chain", minutes(14), at=minutes(15))
    log_complete(aws.s3, "chain", minutes(44), at=minutes(45))
    report = by_lineage(aws)
    assert kinds(report) == [
        ("left unfinished", minutes(14)),
        ("both", minutes(20)),
        ("both", minutes(42)),
        ("wrong side", minutes(44)),
    ]
    assert (report.instants, report.failed, report.unfinished, len(report.unknown)) == (9, 1, 0, 2)
    assert "InternalServerException" in report.by_lineage["blue"]


@pytest.mark.usefixtures("blue_is_gone")
def test_nothing_is_backfilled_that_the_silent_side_may_have_executed(aws: FakeClients) -> None:
    log_complete(aws.s3, "chain", minutes(10), at=minutes(11))
    both(aws, 40, None, SKIPPED)
    report = by_lineage(aws)
    assert kinds(report) == [("nobody", minutes(40))]
    assert report.findings[0].backfill_on is None
    assert "blue does not answer" in report.findings[0].detail


def test_sides_that_answer_are_asked_themselves(aws: FakeClients) -> None:
    both(aws, 10, DONE, SKIPPED)
    log_complete(aws.s3, "chain", minutes(40), at=minutes(41))
    report = by_lineage(aws)
    assert (report.instants, report.findings, report.by_lineage) == (1, (), {})


def test_the_log_does_not_stand_in_for_both_sides(aws: FakeClients, blue_is_gone: None) -> None:
    for environment in ("blue", "green"):
        namespace = f"mwaa-openlineage-fullha-{environment}"
        log_complete(aws.s3, "chain", minutes(10), at=minutes(11), namespace=namespace)
    aws.green.before = aws.blue.before
    with pytest.raises(Unreachable):
        by_lineage(aws)


@pytest.mark.usefixtures("blue_is_gone")
def test_a_shared_namespace_does_not_tell_who_executed_a_run(aws: FakeClients) -> None:
    exports = outputs("fullha")
    for environment in exports["airflow_environments"].values():
        environment["lineage_namespace"] = "shared"
    log_complete(aws.s3, "chain", minutes(10), at=minutes(11), namespace="shared")
    with pytest.raises(Unreachable, match="share the namespace shared"):
        by_lineage(aws, airflow_environments=exports["airflow_environments"])


def test_what_nobody_executed_is_cleared_once_on_the_current_owner(aws: FakeClients) -> None:
    both(aws, 10, SKIPPED, SKIPPED)
    backfilled = backfill(aws, compare(aws))
    assert [(finding.due, finding.backfill_on) for finding in backfilled.backfilled] == [
        (minutes(10), "green")
    ]
    assert backfilled.open == ()
    assert compare(aws).unfinished == 1
    aws.green.work()
    assert aws.green.executed == [("chain", aws.green.scheduled("chain", minutes(10)).run_id)]
    assert aws.blue.executed == []
    assert compare(aws).findings == ()
    backfill(aws, backfilled)
    aws.green.work()
    assert len(aws.green.executed) == 1


def test_what_the_owner_never_made_is_made_once(aws: FakeClients) -> None:
    both(aws, 40, SKIPPED, None)
    first = compare(aws)
    for _ in range(2):
        backfill(aws, first)
        assert compare(aws).unfinished == 1
    aws.green.work()
    assert len(aws.green.executed) == 1
    backfill(aws, first)
    aws.green.work()
    assert len(aws.green.executed) == 1
    report = compare(aws)
    assert (report.findings, report.unfinished, report.failed) == ((), 0, 0)


def test_what_the_other_side_may_still_execute_is_not_backfilled(aws: FakeClients) -> None:
    """Blue owned the instant and is behind; green, the current owner, must not be faster."""
    aws.blue.dags["chain"].next_due = minutes(5)
    both(aws, 10, None, SKIPPED)
    assert compare(aws).unfinished == 1
    aws.blue.dags["chain"].paused = True
    finding = compare(aws).findings[0]
    assert finding.backfill_on is None
    assert "unpause" in finding.detail


def test_a_run_is_not_started_where_it_is_paused_now(aws: FakeClients) -> None:
    aws.green.dags["chain"].paused = True
    both(aws, 10, SKIPPED, SKIPPED)
    finding = compare(aws).findings[0]
    assert finding.backfill_on is None
    assert "paused on green" in finding.detail


def test_what_is_executed_meanwhile_is_not_backfilled(aws: FakeClients) -> None:
    run = both(aws, 10, SKIPPED, SKIPPED)[0]
    report = compare(aws)
    aws.blue._clear(run, run.tasks)
    assert backfill(aws, report).backfilled == ()
    assert aws.green.changes == 0


# --- as an operator sees it ---


@pytest.fixture
def run(run: Command) -> Command:
    """Runs `mwaactl audit`."""
    return lambda *arguments: run("audit", *arguments)


def test_the_exit_code_says_whether_there_is_something(run: Command, aws: FakeClients) -> None:
    both(aws, 10, DONE, SKIPPED)
    assert run().exit_code == 0
    both(aws, 40, SKIPPED, None)
    result = run("--since", "90m")
    assert result.exit_code == 1
    assert "not executed" in result.stdout
    assert "mwaactl audit --backfill -s fullha" in result.stdout
    result = run("--backfill", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["backfilled"][0]["dag_id"] == "chain"
    assert run().exit_code == 0


def test_a_double_cannot_be_backfilled_and_stays_a_finding(run: Command, aws: FakeClients) -> None:
    both(aws, 10, DONE, DONE)
    assert run("--backfill", "--yes").exit_code == 1
    assert aws.green.changes == aws.blue.changes == 0


def test_a_backfill_that_is_refused_ends_with_5(run: Command, aws: FakeClients) -> None:
    both(aws, 10, SKIPPED, SKIPPED)

    def refuses(method: str, path: str) -> None:
        if path.endswith("/clear"):
            raise client_error("AccessDeniedException", 403)

    aws.green.before = refuses
    result = run("--backfill", "--yes")
    assert result.exit_code == 5
    assert "Not backfilled: chain" in result.stdout


@pytest.mark.usefixtures("blue_is_gone")
def test_it_says_that_a_side_is_known_by_its_lineage_only(run: Command, aws: FakeClients) -> None:
    log_complete(aws.s3, "chain", minutes(10), at=minutes(11))
    aws.green.mirror("chain", minutes(12))
    assert run().exit_code == 4
    shown = run("--lineage")
    assert shown.exit_code == 0
    assert "blue does not answer" in shown.stdout
    assert "taken from the lineage log" in shown.stdout
    assert "0 unfinished, 0 failed, 1 unknown" in shown.stdout
    assert json.loads(run("--lineage", "--json").stdout)["by_lineage"].keys() == {"blue"}


@pytest.mark.parametrize(
    "arguments",
    [("--since", "yesterday"), ("--since", "2026-11-23T10:00:00"), ("--since", "1h", "--until", "2h")],
)
def test_a_window_that_makes_no_sense_is_wrong_usage(run: Command, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_only_the_window_is_looked_at(run: Command, aws: FakeClients) -> None:
    both(aws, 10, SKIPPED, SKIPPED)
    assert run("--since", "2026-11-23T10:11:00Z").exit_code == 0
    assert run("--until", "50m").exit_code == 0
    assert run("--until", "49m").exit_code == 1
