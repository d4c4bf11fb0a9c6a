"""What the old side had at work when it died is executed again, or named: nothing of it is lost silently."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from mwaactl.recovery import audit, failover
from mwaactl.recovery.at_work import AtWork, AtWorkReport
from mwaactl.recovery.failover import FailoverResult
from tests.fakes.airflow.model import Dag, Run
from tests.fakes.aws.clients import FakeClients, deployment, standing
from tests.fakes.aws.errors import Killed, client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import minutes
from tests.fakes.lineage.events import dag_run, log_complete, log_dag
from tests.fakes.mwaactl.commands import Command
from tests.fakes.mwaactl.dead_blue import DONE, LATELY, blue_died, completed, killed_at
from tests.fakes.timeline import dumped

EARLY = -30.0  # due 75 minutes before `since`, and still at work
CALLS = 75  # more than a failover makes here


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    doubles = blue_died(monkeypatch)
    for airflow in (doubles.blue, doubles.green):
        airflow.dags["long"] = Dag({"first": ("second",), "second": ()}, next_due=minutes(100))
        airflow.dags["free"] = Dag({"first": ()})
    return doubles


def fail_over(aws: FakeClients, **more: Any) -> FailoverResult:
    plan = failover.plan_failover(deployment(aws), "green", **more)
    return failover.carry_out_failover(plan)


def begin(aws: FakeClients, dag_id: str, due: datetime | None = None, **run: Any) -> None:
    """Blue begins a run (due at EARLY): it is in its database, and in the lineage log."""
    due = due or minutes(EARLY)
    kind = run.get("run_type", "scheduled")
    run_id = run.get("run_id", f"scheduled__{due.isoformat()}")
    conf, by = run.get("conf", {}), run.get("triggered_by", "timetable")
    aws.blue.runs.append(Run(dag_id, run_id, due, "running", kind, {}, conf=conf, triggered_by=by))
    facet = dag_run(dag_id, due, logical_date=due.isoformat(), **run)
    log_dag(aws.s3, "START", dag_id, due, at=due, run=facet)


def on_request(aws: FakeClients, dag_id: str, kind: str = "manual", **run: Any) -> str:
    run_id = f"{kind}__2026-11-23T10:40:00.123456+00:00"
    begin(aws, dag_id, minutes(40), run_type=kind, run_id=run_id, **run)
    return run_id


def known(result: FailoverResult) -> AtWorkReport:
    assert result.at_work is not None
    return result.at_work


def fates(result: FailoverResult) -> dict[tuple[str, str], str]:
    """Of the runs beside the window."""
    return {(run.dag_id, run.run_id): run.fate for run in known(result).runs}


def only(result: FailoverResult) -> AtWork:
    (run,) = known(result).runs
    return run


@pytest.fixture(params=["by the lineage log", "by its REST API"])
def known_by(request: pytest.FixtureRequest, aws: FakeClients) -> str:
    """Blue is silent, or still answers."""
    if request.param == "by its REST API":
        aws.blue.answer()
    return str(request.param)


# --- scheduled runs ---


@pytest.mark.usefixtures("known_by")
def test_a_run_that_was_due_long_before_and_still_at_work_is_executed_again(aws: FakeClients) -> None:
    begin(aws, "long")
    mirror = aws.green.mirror("long", minutes(EARLY))
    result = fail_over(aws)
    assert fates(result) == {("long", mirror.run_id): "rerun"}
    assert [run.dag_id for run in result.rerun_at_work] == ["long"]
    assert standing(aws).owner(minutes(EARLY), "long") == "blue", (
        "the mirror is cleared, no past is rewritten"
    )
    aws.green.work()
    assert aws.green.executed.count(("long", mirror.run_id)) == 1
    again = fail_over(aws)
    assert (again.rerun_at_work, fates(again)) == ((), {("long", mirror.run_id): "taken over"})


@pytest.mark.usefixtures("known_by")
def test_without_a_mirror_it_is_executed_in_a_run_for_the_same_interval(aws: FakeClients) -> None:
    begin(aws, "long")
    assert only(fail_over(aws)).fate == "rerun"
    created = aws.green.runs[-1]
    assert (created.dag_id, created.due, created.kind) == ("long", minutes(EARLY), "manual")
    assert only(fail_over(aws)).fate == "taken over"


def test_what_has_ended_is_left_alone(aws: FakeClients) -> None:
    begin(aws, "long")
    log_complete(aws.s3, "long", minutes(EARLY), at=minutes(EARLY + 1))
    begin(aws, "long", minutes(EARLY + 1))
    log_dag(aws.s3, "FAIL", "long", minutes(EARLY + 1), at=minutes(EARLY + 2))
    begin(aws, "long", minutes(EARLY + 2))
    log_complete(aws.s3, "long", minutes(EARLY + 2), at=minutes(EARLY + 3), states={})
    assert known(fail_over(aws)).runs == ()


def test_the_log_is_read_as_far_back_as_asked(aws: FakeClients) -> None:
    begin(aws, "long")
    begin(aws, "free", minutes(20), run_type="manual", run_id="manual__x")
    assert [run.dag_id for run in known(fail_over(aws, look_back=timedelta(minutes=30))).runs] == ["free"]
    day_before = minutes(45) - timedelta(hours=24)
    begin(aws, "long", day_before)
    begin(aws, "long", day_before - timedelta(minutes=1))
    assert [run.due for run in known(fail_over(aws)).runs if run.dag_id == "long"] == [
        day_before,
        minutes(EARLY),
    ]


def test_its_own_rest_api_outweighs_the_log(aws: FakeClients) -> None:
    begin(aws, "long")
    aws.blue.answer()
    aws.blue.runs[-1].state = "success"
    result = fail_over(aws)
    assert known(result).known_by == "mwaa-openlineage-fullha-blue's REST API"
    assert known(result).runs == ()


def test_what_the_target_owned_is_not_the_old_sides(aws: FakeClients) -> None:
    aws.ssm.clock.now = minutes(-60)
    timeline = standing(aws).dag_moved("long", "green", minutes(-50), 2)
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(timeline)})
    aws.ssm.clock.now = minutes(60)
    begin(aws, "long")
    assert known(fail_over(aws)).runs == ()


def test_a_run_of_the_window_that_the_target_never_created_is_created(aws: FakeClients) -> None:
    begin(aws, "long", minutes(50))
    assert only(fail_over(aws)).fate == "rerun"
    assert aws.green.runs[-1].due == minutes(50)
    assert only(fail_over(aws)).fate == "taken over"


def test_what_the_targets_scheduler_will_create_is_left_to_it(aws: FakeClients) -> None:
    aws.green.dags["long"].next_due = minutes(50)
    begin(aws, "long", minutes(50))
    assert only(fail_over(aws)).fate == "follows"
    assert all(run.dag_id != "long" for run in aws.green.runs)


def test_a_mirror_that_is_not_finished_is_looked_at_again_later(aws: FakeClients) -> None:
    begin(aws, "long")
    mirror = aws.green.mirror("long", minutes(EARLY))
    mirror.state = "running"
    result = fail_over(aws)
    assert only(result).fate == "by hand"
    assert "repeat the command" in result.left[0].reason
    mirror.state = "success"
    assert only(fail_over(aws)).fate == "rerun"


def test_what_the_target_worked_on_is_left_alone(aws: FakeClients) -> None:
    begin(aws, "long")
    aws.green.add("long", minutes(EARLY), DONE)
    assert only(fail_over(aws)).fate == "taken over"


def test_a_dag_that_the_target_does_not_have_is_named(aws: FakeClients) -> None:
    begin(aws, "long")
    del aws.green.dags["long"]
    result = fail_over(aws)
    assert [(run.dag_id, "has no such DAG" in run.reason) for run in result.left] == [("long", True)]


# --- runs that no schedule made ---


@pytest.mark.usefixtures("known_by")
def test_a_manual_run_is_created_again_with_its_configuration(aws: FakeClients) -> None:
    run_id = on_request(aws, "free", conf={"day": 7}, triggered_by="ui")
    assert only(fail_over(aws)).fate == "rerun"
    created = aws.green.runs[-1]
    assert (created.dag_id, created.run_id, created.conf) == ("free", run_id, {"day": 7})
    assert created.note is not None
    assert created.note.startswith("mwaactl: run again on green: failover")
    assert only(fail_over(aws)).fate == "taken over"
    aws.green.work()
    assert aws.green.executed.count(("free", run_id)) == 1


def test_a_configuration_with_a_secret_is_left_to_the_operator(aws: FakeClients) -> None:
    run_id = on_request(aws, "free", conf={"password": "***"})
    result = fail_over(aws)
    assert only(result).fate == "by hand"
    assert f"with the run id {run_id}" in result.left[0].reason
    aws.green.add("free", minutes(40), {"first": "success"}).run_id = run_id
    assert fail_over(aws).left == ()


@pytest.mark.parametrize("kind", ["manual", "operator_triggered"])  # Airflow 3.0, and later
def test_a_child_is_triggered_by_its_parent_if_that_runs_again(aws: FakeClients, kind: str) -> None:
    on_request(aws, "free", kind, triggered_by="operator")
    assert only(fail_over(aws)).fate == "rerun", "no DAG that runs again triggers others"
    aws.green.runs.pop()
    aws.green.dags["a"].operators = {"second": "TriggerDagRunOperator"}
    child = only(fail_over(aws))
    assert (child.fate, child.detail) == ("follows", "if a triggers it")


def test_children_do_not_wait_for_themselves_or_for_each_other(aws: FakeClients) -> None:
    for dag_id in ("free", "long"):
        aws.green.dags[dag_id].operators = {"first": "TriggerDagRunOperator"}
    on_request(aws, "free", "operator_triggered")
    assert only(fail_over(aws)).fate == "rerun"
    aws.green.runs.pop()
    on_request(aws, "long", "operator_triggered")
    assert sorted(run.fate for run in known(fail_over(aws)).runs) == ["follows", "rerun"]


def test_a_child_of_a_run_that_was_at_work_follows_it_too(aws: FakeClients) -> None:
    aws.green.dags["long"].operators = {"first": "TriggerDagRunOperator"}
    begin(aws, "long")
    aws.green.mirror("long", minutes(EARLY))
    on_request(aws, "free", "operator_triggered")
    assert [run.fate for run in known(fail_over(aws)).runs] == ["rerun", "follows"]
    assert [run.fate for run in known(fail_over(aws)).runs] == ["taken over", "follows"]


def test_a_consumer_whose_producer_runs_again_follows_it(aws: FakeClients) -> None:
    aws.green.assets = [("a", "free"), ("b", "free")]
    on_request(aws, "free", "asset_triggered")
    consumer = only(fail_over(aws))
    assert (consumer.fate, consumer.detail) == ("follows", "once a, b has run again")


def test_what_follows_is_judged_after_what_it_follows(aws: FakeClients) -> None:
    """Whatever began first: a run that triggers the child, and the child that produces the asset."""
    aws.green.dags["child"] = Dag({"first": ()})
    aws.green.dags["free"].operators = {"first": "TriggerDagRunOperator"}
    aws.green.dags["last"] = Dag({"first": ()})
    aws.green.assets = [("child", "long"), ("long", "last")]
    kinds = {"last": "asset_triggered", "long": "asset_triggered", "child": "operator_triggered"}
    for minute, (dag_id, kind) in enumerate(kinds.items(), 38):
        begin(aws, dag_id, minutes(minute), run_type=kind, run_id=f"{kind}__x")
    begin(aws, "free", minutes(42), run_type="manual", run_id="manual__x")
    fate = {run.dag_id: run.fate for run in known(fail_over(aws)).runs}
    assert fate == {"free": "rerun", "child": "follows", "long": "follows", "last": "follows"}


def test_a_consumer_of_a_producer_that_completed_is_followed_up_by_name(
    aws: FakeClients, run: Command
) -> None:
    aws.green.assets = [("a", "free"), ("long", "free")]  # a runs again, long does not
    run_id = on_request(aws, "free", "asset_triggered")
    shown = run("failover", "green", "--yes")
    assert shown.exit_code == 5
    assert f"free {run_id}: its producers have completed" in shown.stdout
    by_hand = run_id.replace("asset_triggered", "manual")
    assert f"trigger it on mwaa-openlineage-fullha-green with the run id {by_hand}" in shown.stdout
    aws.green.add("free", minutes(61), {"first": "success"}).run_id = by_hand
    assert run("failover", "green", "--yes").exit_code == 0


def test_a_consumer_that_nobody_saw_start_is_noted(aws: FakeClients) -> None:
    aws.green.assets = [("a", "free")]
    completed(aws, ("a", 50), ("a", 52))
    assert ["free" in note for note in fail_over(aws).notes] == [True]
    begin(aws, "free", minutes(53), run_type="asset_triggered", run_id="asset_triggered__x",
          start_date=minutes(53).isoformat())  # fmt: skip
    log_complete(
        aws.s3, "free", minutes(53), at=minutes(54),
        run=dag_run("free", minutes(53), run_type="asset_triggered", run_id="asset_triggered__x",
                    start_date=minutes(53).isoformat()),
    )  # fmt: skip
    assert fail_over(aws).notes == ()


def test_a_backfill_is_left_to_the_operator(aws: FakeClients) -> None:
    on_request(aws, "free", "backfill")
    assert "start the backfill again" in fail_over(aws).left[0].reason


def test_a_run_that_cannot_be_created_is_reported(aws: FakeClients) -> None:
    def refuses(method: str, path: str) -> None:
        if method == "POST" and path == "/dags/free/dagRuns":
            raise client_error("RestApiClientException", 400, RestApiStatusCode=403, RestApiResponse="no")

    on_request(aws, "free")
    aws.green.before = refuses
    assert [(run.dag_id, run.reason.startswith("it was at work: ")) for run in fail_over(aws).left] == [
        ("free", True)
    ]


def test_when_nothing_reports_what_was_at_work_it_says_so(aws: FakeClients, run: Command) -> None:
    shown = run("failover", "green", "--dry-run")
    assert "Nothing reports what else blue had at work" in shown.stdout


def test_a_dry_run_lists_them(aws: FakeClients, run: Command) -> None:
    begin(aws, "long")
    shown = run("failover", "green", "--dry-run", "--look-back", "2h")
    assert "blue had 1 runs at work, by the lineage log" in shown.stdout
    assert f"long scheduled__{minutes(EARLY).isoformat()}" in shown.stdout
    assert run("failover", "green", "--dry-run", "--look-back", "often").exit_code == 2


# --- all of it together ---


def everything(aws: FakeClients) -> list[tuple[str, str]]:
    """Three runs at work beside the window; as green has to execute them."""
    begin(aws, "long")
    mirror = aws.green.mirror("long", minutes(EARLY))
    begin(aws, "a", minutes(EARLY))
    run_id = on_request(aws, "free")
    return [
        ("long", mirror.run_id),
        ("a", mirror.run_id.replace("scheduled", "manual")),
        ("free", run_id),
    ]


def test_the_kills_below_reach_the_last_call(aws: FakeClients) -> None:
    everything(aws)
    killed_at(CALLS - 1, aws)
    fail_over(aws)


@pytest.mark.parametrize("count", range(1, CALLS))
def test_killed_at_any_call_and_repeated_everything_at_work_is_executed_once(
    aws: FakeClients, count: int
) -> None:
    expected = everything(aws)
    killed_at(count, aws)
    with suppress(Killed):
        fail_over(aws)
    aws.ssm.before = lambda operation: None
    aws.green.answer()
    aws.ssm.clock.forward(120)
    aws.green.work()
    assert fail_over(aws).left == ()
    aws.green.work()
    window = [(dag_id, f"scheduled__{minutes(due).isoformat()}") for dag_id in ("a", "b") for due in LATELY]
    assert sorted(aws.green.executed) == sorted(expected + window)


@pytest.mark.usefixtures("known_by")
def test_an_audit_afterwards_has_nothing_left_unfinished(aws: FakeClients) -> None:
    everything(aws)

    def left() -> set[str]:
        aws.iam.policies["x", "mwaactl-fence"] = "{}"
        report = audit.audit(deployment(aws), since=minutes(-60), until=minutes(60), lineage=True)
        del aws.iam.policies["x", "mwaactl-fence"]
        return {finding.dag_id for finding in report.findings if finding.kind == "left unfinished"}

    assert left() >= {"long", "a", "free"}
    fail_over(aws)
    aws.green.work()
    assert left() == set()
