"""The audit tells what was lost from what Airflow itself passes over, and from what nobody can know."""

from __future__ import annotations

from datetime import datetime

import pytest
from bluegreen.timeline import LEAD, Timeline
from hypothesis import given
from hypothesis import strategies as st

from lineage_log.log import EVENTS
from mwaactl.airflow.models import Run as ReadRun
from mwaactl.airflow.models import TaskInstance
from mwaactl.json_model import iso
from mwaactl.recovery import audit
from mwaactl.recovery.audit import Audit
from mwaactl.recovery.records import DagHistory, SideRecords
from tests.fakes.airflow.model import Dag, Run
from tests.fakes.aws.clients import BLUE, FakeClients, clients_of_models, deployment
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START, minutes, stop_time
from tests.fakes.lineage.events import dag_run, log_complete, log_dag, write, write_ungated
from tests.fakes.mwaactl.commands import Command
from tests.fakes.timeline import LIVES, dumped

DONE = {"first": "success", "second": "success"}
SKIPPED = {"first": "skipped", "second": "skipped"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """An hour after the beginning; blue owns everything. Each DAG may have one run at a time."""
    dag = Dag({"first": ("second",), "second": ()}, next_due=minutes(100), max_active_runs=1)
    doubles = clients_of_models({"chain": dag})
    doubles.ssm.clock.now = minutes(60)
    stop_time(monkeypatch, doubles.ssm.clock)
    return doubles


def compare(aws: FakeClients) -> Audit:
    return audit.audit(deployment(aws), since=minutes(0), until=minutes(60))


def found(report: Audit) -> list[tuple[str, datetime]]:
    return [(finding.kind, finding.due) for finding in report.findings]


def executed(aws: FakeClients, due: float, begin: float, end: float | None) -> Run:
    run = aws.blue.add("chain", minutes(due), DONE, state="running" if end is None else "success")
    run.start, run.end = minutes(begin), None if end is None else minutes(end)
    return run


def mirrors(aws: FakeClients, *dues: float) -> None:
    for due in dues:
        aws.green.mirror("chain", minutes(due))


# --- a DAG that is slower than its schedule ---


def slow(aws: FakeClients) -> None:
    """Due every minute, each run takes 2.5: the standby skips at once and has a mirror of each instant."""
    executed(aws, 10, 10, 12.5)
    executed(aws, 12, 12.5, 15)
    executed(aws, 15, 15, 17.5)
    mirrors(aws, *range(10, 18))


def test_what_a_slow_dag_without_catchup_passes_over_is_no_finding(aws: FakeClients, run: Command) -> None:
    slow(aws)
    report = compare(aws)
    assert found(report) == []
    assert (report.instants, report.passed_over) == (8, 5)
    shown = run("audit", "--since", "1h", "--backfill", "--yes")
    assert shown.exit_code == 0
    assert "0 unfinished, 0 failed, 5 passed over by Airflow itself, 0 findings." in shown.stdout
    assert aws.blue.changes == aws.green.changes == 0


def test_a_run_that_is_still_at_work_passes_over_too(aws: FakeClients) -> None:
    executed(aws, 10, 10, None)
    mirrors(aws, 10, 11, 12)
    report = compare(aws)
    assert (found(report), report.passed_over) == ([], 2)


def test_a_run_that_was_created_late_passes_over_what_became_due_before_it_began(aws: FakeClients) -> None:
    """As seen on 2.11.2: when a slot is free, Airflow does not always take the newest instant."""
    executed(aws, 10, 10, 11.99)
    executed(aws, 11, 12.01, 14)
    mirrors(aws, 10, 11, 12)
    assert (found(compare(aws)), compare(aws).passed_over) == ([], 1)


def test_a_run_that_began_before_the_window_passes_over_too(aws: FakeClients) -> None:
    executed(aws, -30, -30, 5)
    mirrors(aws, 4, 6)
    assert found(compare(aws)) == [("nobody", minutes(6))]


def test_what_became_due_while_nothing_was_at_work_was_lost(aws: FakeClients) -> None:
    slow(aws)
    mirrors(aws, 18, 19)
    executed(aws, 20, 20, 20.5)
    report = compare(aws)
    assert found(report) == [("nobody", minutes(18)), ("nobody", minutes(19))]
    assert {finding.backfill_on for finding in report.findings} == {"blue"}


@pytest.mark.parametrize("change", [{"catchup": True}, {"max_active_runs": 2}])
def test_a_dag_that_may_catch_up_or_had_room_for_the_run_did_not_pass_it_over(
    aws: FakeClients, change: dict[str, bool | int]
) -> None:
    slow(aws)
    for name, value in change.items():
        setattr(aws.blue.dags["chain"], name, value)
    assert [due for _, due in found(compare(aws))] == [minutes(due) for due in (11, 13, 14, 16, 17)]


def test_the_other_sides_busy_runs_excuse_nothing(aws: FakeClients) -> None:
    executed(aws, 10, 10, 10.5)
    mirrors(aws, 10, 11)
    manual = aws.green.add("chain", minutes(9), DONE)
    manual.kind, manual.run_id, manual.end = "manual", "manual__x", minutes(20)
    assert found(compare(aws)) == [("nobody", minutes(11))]


def test_a_backfill_takes_no_slot_of_the_schedule(aws: FakeClients) -> None:
    """As on Airflow 3. On Airflow 2 it does: there this reports too much."""
    executed(aws, 9, 9, 9.5)
    backfill = executed(aws, 10, 10, 12)
    backfill.kind, backfill.run_id = "backfill", "backfill__x"
    mirrors(aws, 11)
    assert found(compare(aws)) == [("nobody", minutes(11))]


# --- a DAG that begins ---


def test_what_only_the_standby_saw_before_the_dag_began_on_its_owner_is_no_finding(aws: FakeClients) -> None:
    mirrors(aws, 10, 11, 12, 13)
    executed(aws, 12, 12, 12.5)
    executed(aws, 13, 13, 13.5)
    report = compare(aws)
    assert (found(report), report.passed_over) == ([], 2)


def test_a_dag_that_had_begun_long_ago_was_lost_when_its_owner_made_no_run(aws: FakeClients) -> None:
    executed(aws, -600, -600, -599)
    mirrors(aws, 10)
    executed(aws, 12, 12, 12.5)
    assert found(compare(aws)) == [("nobody", minutes(10))]


def test_a_dag_that_is_paused_on_its_owner_is_a_finding_even_if_it_never_began(aws: FakeClients) -> None:
    mirrors(aws, 10)
    aws.blue.dags["chain"].paused, aws.blue.dags["chain"].next_due = True, minutes(10)
    assert found(compare(aws)) == [("nobody", minutes(10))]


# --- skipped by Airflow, skipped by the gate ---


def skipped(aws: FakeClients, *, started: set[str], mapped: set[str]) -> None:
    aws.blue.dags["chain"].mapped = frozenset(mapped)
    run = aws.blue.add("chain", minutes(10), SKIPPED)
    for (task_id, _), task in run.tasks.items():
        task.start = minutes(10) if task_id in started else None
    mirrors(aws, 10)


def test_a_dag_that_maps_over_an_empty_list_is_no_finding(aws: FakeClients) -> None:
    """As seen on 2.11.2 and 3.3.1: the mapped task has no start, what follows from it has one."""
    skipped(aws, started={"second"}, mapped={"first"})
    assert found(compare(aws)) == []


def test_a_run_that_the_gate_created_as_skipped_is_a_finding_also_with_mapped_tasks(aws: FakeClients) -> None:
    skipped(aws, started=set(), mapped={"first"})
    assert found(compare(aws)) == [("nobody", minutes(10))]


def test_a_mapped_index_that_was_created_as_skipped_is_the_gates(aws: FakeClients) -> None:
    """Airflow creates the indexes of a list with items, and none for an empty one."""
    aws.blue.dags["chain"].mapped = frozenset({"first", "second"})
    aws.blue.add("chain", minutes(10), {"first": ["skipped", "skipped"], "second": "skipped"})
    assert found(compare(aws)) == [("nobody", minutes(10))]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from(["skipped", "removed"])), min_size=1))
def test_a_run_was_skipped_by_the_gate_if_a_task_has_no_other_reason(
    tasks: list[tuple[bool, bool, str]],
) -> None:
    """For any DAG of skipped tasks: each mapped or not, with a start or without."""
    instances = [
        TaskInstance(
            dag_id="d", run_id="r", task_id=str(number), map_index=-1, state=state, operator=None,
            started=False, start=START if has_start else None,
        )
        for number, (_, has_start, state) in enumerate(tasks)
    ]  # fmt: skip
    mapped = frozenset(str(number) for number, (is_mapped, _, _) in enumerate(tasks) if is_mapped)
    history = DagHistory(catchup=False, max_active_runs=1, at_work=(), first_due=None, mapped=mapped)
    run = ReadRun(dag_id="d", run_id="r", type="scheduled", state="success", due=START, start=None, end=None)
    side = SideRecords({}, {}, {run.key: instances}, histories={"d": history})
    assert side.skipped(run) == any(not is_mapped and not has_start for is_mapped, has_start, _ in tasks)


# --- environments that no longer exist ---


@pytest.fixture
def replaced(aws: FakeClients) -> FakeClients:
    """Green owns what is due from minute 30 on. Blue was replaced in minute 35; its former life is gone."""
    aws.ssm.clock.now = minutes(25)
    first = Timeline.initial("blue", "a former life", LEAD).seen_with(LIVES)
    switched = first.switched("green", minutes(30), 2, known=["chain"])
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(switched)})
    aws.ssm.clock.now = minutes(60)
    aws.mwaa.environments[BLUE]["CreatedAt"] = minutes(35)
    mirrors(aws, 10, 12, 14)
    aws.green.add("chain", minutes(40), DONE)
    return aws


def test_what_a_replaced_environment_executed_is_known_by_the_lineage_log(replaced: FakeClients) -> None:
    log_complete(replaced.s3, "chain", minutes(10), at=minutes(11))
    log_dag(replaced.s3, "FAIL", "chain", minutes(12), at=minutes(13))
    report = compare(replaced)
    assert found(report) == []
    assert (report.instants, report.failed) == (4, 1)
    assert [(each.dag_id, each.due) for each in report.unknown] == [("chain", minutes(14))]


def test_where_nothing_is_known_it_says_unknown_and_backfills_nothing(
    replaced: FakeClients, run: Command
) -> None:
    report = compare(replaced)
    assert (found(report), len(report.unknown), report.notes) == ([], 3, ())
    shown = run("audit", "--backfill", "--yes")
    assert shown.exit_code == 0
    assert "3 unknown" in shown.stdout
    assert f"unknown: chain due {iso(minutes(14))}" in shown.stdout
    assert replaced.blue.changes == replaced.green.changes == 0


def test_a_log_that_cannot_be_read_is_reported_and_leaves_them_unknown(
    replaced: FakeClients, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(**_: str) -> None:
        raise client_error("AccessDenied", operation="ListObjectsV2")

    monkeypatch.setattr(replaced.s3, "list_objects_v2", refuses)
    shown = run("audit")
    assert shown.exit_code == 0
    assert "3 unknown" in shown.stdout
    assert "is unknown: could not read the lineage log" in shown.stdout


def test_what_the_successor_executed_again_is_a_finding(replaced: FakeClients) -> None:
    log_complete(replaced.s3, "chain", minutes(10), at=minutes(11))
    executed(replaced, 10, 36, 37)
    log_complete(replaced.s3, "chain", minutes(10), at=minutes(37))
    assert found(compare(replaced)) == [("both", minutes(10))]


def test_what_only_the_successor_executed_is_no_finding(replaced: FakeClients) -> None:
    executed(replaced, 10, 36, 37)
    log_complete(replaced.s3, "chain", minutes(10), at=minutes(37))  # its own event
    report = compare(replaced)
    assert (found(report), len(report.unknown)) == ([], 2)


def test_what_it_was_at_work_on_is_a_finding(replaced: FakeClients) -> None:
    log_dag(replaced.s3, "START", "chain", minutes(14), at=minutes(14))
    report = compare(replaced)
    assert found(report) == [("left unfinished", minutes(14))]
    assert report.findings[0].backfill_on is None


def test_a_mirror_that_has_its_states_was_executed(replaced: FakeClients) -> None:
    replaced.green.scheduled("chain", minutes(12)).note = "mwaactl: executed on blue"
    assert len(compare(replaced).unknown) == 2


def test_the_log_is_read_only_where_an_owner_is_gone(aws: FakeClients) -> None:
    executed(aws, 10, 10, 11)
    mirrors(aws, 10)
    assert found(compare(aws)) == []
    assert EVENTS not in aws.s3.listed


def test_executions_without_a_gate_are_listed_and_exit_1(aws: FakeClients, run: Command) -> None:
    for minute in (-1, 30):  # the first is outside the window
        write_ungated(aws.s3, minutes(minute), dag_id=f"at_{minute}")
    assert [str(each) for each in compare(aws).ungated] == ["at_30.load of r1 on green"]
    result = run("audit", "--since", "1h")
    assert result.exit_code == 1
    assert "Executed without a gate, 2026-11-23T10:30:00.000Z: at_30.load of r1 on green" in result.stdout


def test_if_the_log_does_not_answer_a_note_says_what_is_unknown(aws: FakeClients) -> None:
    executed(aws, 10, 10, 11)
    mirrors(aws, 10)
    aws.s3.error = client_error("AccessDenied", 403)
    report = compare(aws)
    assert report.findings == ()
    assert "whether anything was executed without a gate is unknown" in report.notes[0]


def test_a_new_environment_that_catches_up_owns_its_history(aws: FakeClients) -> None:
    aws.mwaa.environments[BLUE]["CreatedAt"] = minutes(30)
    executed(aws, 10, 31, 32)
    aws.blue.mirror("chain", minutes(12))
    mirrors(aws, 10, 12)
    assert (found(compare(aws)), len(compare(aws).unknown)) == ([("nobody", minutes(12))], 0)
    assert EVENTS not in aws.s3.listed


def test_before_its_environment_was_created_a_run_is_unknown_or_had_not_begun(aws: FakeClients) -> None:
    aws.mwaa.environments[BLUE]["CreatedAt"] = minutes(30)
    mirrors(aws, 10)
    assert (len(compare(aws).unknown), compare(aws).passed_over) == (0, 1)
    executed(aws, -600, 31, 32)  # it caught up
    assert (len(compare(aws).unknown), compare(aws).passed_over) == (1, 0)
    log_complete(aws.s3, "chain", minutes(10), at=minutes(11))
    assert (len(compare(aws).unknown), found(compare(aws))) == (0, [])


# --- left unfinished ---


@pytest.fixture
def fenced(aws: FakeClients) -> FakeClients:
    """Blue was fenced at work."""
    executed(aws, 50, 50, None)
    mirrors(aws, 50)
    late = executed(aws, -300, -300, None)
    late.run_id = "scheduled__early"
    child = executed(aws, 49, 49, None)
    child.kind, child.run_id = "manual", "manual__child"
    aws.iam.policies["x", "mwaactl-fence"] = "{}"
    return aws


def test_what_is_unfinished_on_a_fenced_side_is_a_finding(fenced: FakeClients, run: Command) -> None:
    del fenced.iam.policies["x", "mwaactl-fence"]
    assert (found(compare(fenced)), compare(fenced).unfinished) == ([], 1)
    fenced.iam.policies["x", "mwaactl-fence"] = "{}"
    report = compare(fenced)
    assert sorted(found(report)) == [
        ("left unfinished", minutes(-300)),
        ("left unfinished", minutes(49)),
        ("left unfinished", minutes(50)),
    ]
    assert "blue, which is fenced" in report.findings[0].detail
    assert any(finding.run_id == "manual__child" for finding in report.findings)
    shown = run("audit")
    assert shown.exit_code == 1
    assert "left unfinished" in shown.stdout


def test_what_was_run_again_is_none(fenced: FakeClients) -> None:
    fenced.green.scheduled("chain", minutes(50)).note = "mwaactl: run again on green: failover"
    fenced.green.scheduled("chain", minutes(50)).tasks["first", -1].pid = 7
    fenced.green.scheduled("chain", minutes(50)).tasks["first", -1].state = "success"
    again = fenced.green.add("chain", minutes(49), DONE)
    again.kind, again.run_id = "manual", "manual__child"
    created = fenced.green.add("chain", minutes(-300), DONE)
    created.kind, created.run_id, created.note = "manual", "manual__early", "mwaactl: run again on green: x"
    assert found(compare(fenced)) == []


def test_a_fence_that_iam_does_not_tell_about_is_none(fenced: FakeClients) -> None:
    fenced.iam.refuses = True
    assert found(compare(fenced)) == []


def test_a_manual_run_at_work_on_a_silent_side_is_a_finding(aws: FakeClients) -> None:
    aws.blue.silence()
    log_dag(
        aws.s3, "START", "chain", minutes(50), at=minutes(50),
        run=dag_run("chain", minutes(50), run_id="manual__x", run_type="manual"),
    )  # fmt: skip
    write(aws.s3, minutes(51), {"dataset": {"namespace": "s3://lake", "name": "x"}})
    report = audit.audit(deployment(aws), since=minutes(0), until=minutes(60), lineage=True)
    assert [(finding.kind, finding.run_id) for finding in report.findings] == [
        ("left unfinished", "manual__x")
    ]
    assert "blue, which does not answer" in report.findings[0].detail
