"""What an audit counts and what it does not: its window, other runs beside the schedule's, what it offers."""

from __future__ import annotations

from typing import Any

import pytest

from mwaactl.errors import Unreachable
from mwaactl.recovery import audit
from mwaactl.recovery.audit import Audit
from tests.fakes.aws.clients import FakeClients, deployment
from tests.fakes.clock import minutes
from tests.fakes.lineage.events import dag_run, log_complete, log_dag
from tests.fakes.mwaactl.audited import DONE, compare, switched_at_half_time


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    return switched_at_half_time(monkeypatch)


def kinds(report: Audit) -> list[tuple[str, Any]]:
    return [(finding.kind, finding.due) for finding in report.findings]


def skipped_on_both(aws: FakeClients, *dues: float) -> None:
    for due in dues:
        aws.blue.mirror("chain", minutes(due))
        aws.green.mirror("chain", minutes(due))


# --- what the lineage log says of a silent side ---


def test_of_the_log_too_only_the_window_counts(aws: FakeClients) -> None:
    aws.blue.silence()
    for due in (-1, 0, 59, 60):
        log_complete(aws.s3, "chain", minutes(due), at=minutes(max(due, 1)))
    report = compare(aws, lineage=True)
    assert report.instants == 2
    assert kinds(report) == [("wrong side", minutes(59))]


def test_a_run_that_ended_on_the_silent_side_with_all_tasks_skipped_was_not_executed_there(
    aws: FakeClients,
) -> None:
    aws.blue.silence()
    log_complete(aws.s3, "chain", minutes(10), at=minutes(11), states={"first": "skipped"})
    log_complete(aws.s3, "chain", minutes(12), at=minutes(13))
    aws.green.mirror("chain", minutes(10))
    report = compare(aws, lineage=True)
    assert (report.instants, len(report.unknown), report.findings) == (2, 1, ())


def manual(due: float | None, start: float | None, run_id: str) -> dict[str, Any]:
    after = None if due is None else minutes(due).isoformat()
    began = None if start is None else minutes(start).isoformat()
    return dag_run(
        "chain", minutes(0), run_id=run_id, run_type="manual", run_after=after, data_interval_end=after,
        start_date=began,
    )  # fmt: skip


def test_a_run_that_no_schedule_made_is_reported_by_when_it_was_due_or_else_began(aws: FakeClients) -> None:
    aws.blue.silence()
    runs = (manual(50, 51, "due"), manual(None, 52, "began"), manual(None, None, "neither"))
    for number, run in enumerate(runs):
        log_dag(aws.s3, "START", "chain", minutes(-number), at=minutes(53), run=run)
    log_complete(aws.s3, "chain", minutes(-9), at=minutes(54), run=manual(54, 54, "ended"))
    report = compare(aws, lineage=True)
    assert {(finding.run_id, finding.due) for finding in report.findings} == {
        ("due", minutes(50)),
        ("began", minutes(52)),
        ("neither", minutes(60)),
    }
    assert {finding.kind for finding in report.findings} == {"left unfinished"}


def test_without_being_told_to_it_does_not_take_the_log_for_a_side(aws: FakeClients) -> None:
    skipped_on_both(aws, 10)
    before = compare(aws)
    log_complete(aws.s3, "chain", minutes(10), at=minutes(11))
    aws.blue.silence()
    with pytest.raises(Unreachable):
        compare(aws)
    with pytest.raises(Unreachable):
        audit.backfill(deployment(aws), before)


def test_a_fault_of_its_own_is_not_taken_for_a_side_that_does_not_answer(aws: FakeClients) -> None:
    log_complete(aws.s3, "chain", minutes(10), at=minutes(11))

    def fails(method: str, path: str) -> None:
        raise ZeroDivisionError

    aws.blue.before = fails
    with pytest.raises(ZeroDivisionError):
        compare(aws, lineage=True)


def test_reading_the_log_reports_its_progress(aws: FakeClients) -> None:
    aws.blue.silence()
    log_complete(aws.s3, "chain", minutes(10), at=minutes(11))
    seen: list[tuple[int, int]] = []
    compare(aws, lineage=True, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]


# --- what is at work on a side that cannot go on ---


def test_what_is_at_work_on_a_fenced_side_counts_unless_it_is_a_mirror(aws: FakeClients) -> None:
    """Of runs outside the window: those of the schedule by their owner, all others wherever they are."""
    aws.iam.policies["x", "mwaactl-fence"] = "{}"
    aws.blue.add("chain", minutes(10), DONE)
    for due, kind in ((10, "manual"), (65, "manual"), (70, "scheduled"), (-30, "scheduled")):
        run = aws.blue.add("chain", minutes(due), DONE, state="running")
        run.kind, run.run_id = kind, f"{kind}__{due}"
    assert {finding.run_id for finding in compare(aws).findings} == {
        "manual__10",
        "manual__65",
        "scheduled__-30",
    }


# --- runs that stand in for others ---


def test_a_run_that_was_made_in_its_place_does_not_excuse_what_the_wrong_side_executed(
    aws: FakeClients,
) -> None:
    skipped_on_both(aws, 8)
    aws.blue.add("chain", minutes(40), DONE)
    del aws.green.runs[:]
    aws.green.mirror("chain", minutes(8))
    assert kinds(compare(aws)) == [("nobody", minutes(8)), ("wrong side", minutes(40))]
    made = aws.green.add("chain", minutes(40), DONE)
    scheduled = aws.blue.scheduled("chain", minutes(40)).run_id
    made.kind, made.run_id = "manual", scheduled.replace("scheduled__", "manual__")
    made.note = "mwaactl: run again on green: it was not executed"
    assert ("wrong side", minutes(40)) in kinds(compare(aws))


def test_a_persons_own_run_does_not_stand_in_for_a_missing_one(aws: FakeClients) -> None:
    aws.blue.mirror("chain", minutes(40))
    made = aws.green.add("chain", minutes(40), DONE)
    made.kind, made.run_id = "manual", made.run_id.replace("scheduled__", "manual__")
    assert kinds(compare(aws)) == [("nobody", minutes(40))]
    made.note = "mwaactl: run again on green: it was not executed"
    report = compare(aws)
    assert (report.findings, report.unfinished) == ((), 0)


# --- what is backfilled ---


def test_only_what_was_offered_and_still_can_be_is_backfilled(aws: FakeClients) -> None:
    """The operator has agreed to what was shown, and to nothing else."""
    skipped_on_both(aws, 10)
    aws.green.dags["chain"].paused = True
    shown_without_offer = compare(aws)
    aws.green.dags["chain"].paused = False
    assert audit.backfill(deployment(aws), shown_without_offer).backfilled == ()
    shown = compare(aws)
    skipped_on_both(aws, 12)
    aws.blue.mirror("chain", minutes(14))
    aws.green.add("chain", minutes(14), DONE)
    seen: list[tuple[int, int]] = []
    done = audit.backfill(deployment(aws), shown, lambda count, total: seen.append((count, total)))
    assert [finding.due for finding in done.backfilled] == [minutes(10)]
    assert kinds(done)[1:] == [("nobody", minutes(12)), ("wrong side", minutes(14))]
    assert seen == [(1, 1)]
    aws.green.dags["chain"].paused = True
    later = audit.backfill(deployment(aws), compare(aws))
    assert (later.backfilled, later.not_backfilled) == ((), ())


def test_what_was_offered_and_is_paused_now_is_not_backfilled(aws: FakeClients) -> None:
    skipped_on_both(aws, 10, 12)
    shown = compare(aws)
    aws.green.dags["chain"].paused = True
    done = audit.backfill(deployment(aws), shown)
    assert (done.backfilled, done.not_backfilled, aws.green.changes) == ((), (), 0)
    aws.green.dags["chain"].paused = False
    seen: list[tuple[int, int]] = []
    audit.backfill(deployment(aws), shown, lambda count, total: seen.append((count, total)))
    assert seen == [(1, 2), (2, 2)]
