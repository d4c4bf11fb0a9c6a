"""The soak report: what it counts, and the figures that it draws from a load."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from benchmarks.soak import Soak, markdown, percentile, summed
from mwaactl.airflow.models import Run
from mwaactl.recovery.audit import audit_with_records
from mwaactl.recovery.completed_runs import Key
from tests.fakes.airflow.model import Dag
from tests.fakes.aws.clients import FakeClients, deployment
from tests.fakes.clock import minutes
from tests.fakes.mwaactl.audited import DONE, switched_at_half_time

SKIPPED = {"first": "skipped", "second": "skipped"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """Six runs of a load, of which blue executed the first three; another DAG of somebody's."""
    doubles = switched_at_half_time(monkeypatch)
    for side in (doubles.blue, doubles.green):
        side.dags["load_00"] = Dag({"first": ("second",), "second": ()}, next_due=minutes(100))
        side.add("load_00", minutes(-90), DONE)
    for number in range(6):
        mine, other = (doubles.blue, doubles.green) if number < 3 else (doubles.green, doubles.blue)
        mine.add("load_00", minutes(10 * number), DONE)
        other.add("load_00", minutes(10 * number), SKIPPED)
    doubles.blue.add("chain", minutes(10), DONE)
    doubles.green.add("chain", minutes(10), SKIPPED)
    return doubles


def soak(aws: FakeClients) -> Soak:
    report, records = audit_with_records(deployment(aws), since=minutes(0), until=minutes(60))
    return summed(records, report, "load_")


def test_each_run_of_the_load_is_counted_where_it_was_executed(aws: FakeClients) -> None:
    summary = soak(aws)
    assert (summary.dags, summary.due, len(summary.executions)) == (1, 6, 6)
    assert {side: dict(states) for side, states in summary.runs.items()} == {
        "blue": {"success": 3},
        "green": {"success": 3},
    }
    assert {side: dict(states) for side, states in summary.tasks.items()} == {
        "blue": {"success": 6},
        "green": {"success": 6},
    }
    assert dict(summary.mirrors) == {"blue": 3, "green": 3}
    assert list(summary.findings) == []


def test_a_run_that_both_executed_is_a_finding_and_counts_twice(aws: FakeClients) -> None:
    aws.blue.add("load_00", minutes(45), DONE)
    aws.green.add("load_00", minutes(45), DONE)
    summary = soak(aws)
    assert (summary.due, len(summary.executions)) == (7, 8)
    assert [each.kind for each in summary.findings] == ["both"]
    assert "| both | load_00 |" in "\n".join(markdown(summary))


def test_the_report_has_each_table_and_says_where_the_work_was_over_time(aws: FakeClients) -> None:
    text = "\n".join(markdown(soak(aws)))
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Soak report: fullha",
        "## States",
        "## Latencies",
        "## Over time",
        "## Exactly once",
    ]
    assert text.count("| blue 1 |") == 3
    assert text.count("| green 1 |") == 3
    assert "The audit has no finding" in text


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.9, 90), (0.95, 95), (0.99, 99)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([float(each) for each in range(100, 0, -1)], share) == expected
    assert percentile([7.0], share) == 7.0
    assert percentile([1.0, 2.0], 0.5) == 1.0


def test_latencies_are_measured_from_the_due_instant_and_distributed(aws: FakeClients) -> None:
    report, records = audit_with_records(deployment(aws), since=minutes(0), until=minutes(60))
    for side in records.sides.values():
        for key, run in list(side.runs.items()):
            after = timedelta(seconds=1 + key[1].minute / 10)  # 1 to 6 s
            cast(dict[Key, Run], side.runs)[key] = run.model_copy(
                update={"start": run.due, "end": key[1] + 2 * after}
            )
            tasks = [each.model_copy(update={"start": key[1] + after}) for each in side.tasks[run.key]]
            cast(dict[tuple[str, str], Any], side.tasks)[run.key] = tasks
    text = "\n".join(markdown(summed(records, report, "load_")))
    assert "| due to the start of the first task | 6 | 1.0 | 3.0 | 6.0 | 6.0 | 6.0 | 6.0 |" in text
    assert "| start to end of the run | 6 | 2.0 | 6.0 | 12.0 | 12.0 | 12.0 | 12.0 |" in text
    assert "| due to the end of the run | 6 | 2.0 | 6.0 | 12.0 | 12.0 | 12.0 | 12.0 |" in text
