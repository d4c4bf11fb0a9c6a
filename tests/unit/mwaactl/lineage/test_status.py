"""`mwaactl lineage status`: what an operator and a script see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import CHECKPOINT_KEY, forwarder, keeper_of
from tests.fakes.lineage.marquez import FakeMarquez
from tests.fakes.mwaactl.commands import Command, output


def test_status_counts_the_events_by_hour(run: Command, s3: FakeS3) -> None:
    for minute in (1, 2, 61, -24 * 60):
        log_event(s3, minute * 60, "START")
    status = output(run("status", "--json"))
    counts = {hour["hour"]: hour["events"] for hour in status["hours"] if hour["events"]}
    assert counts == {"2026-11-23T10:00:00.000Z": 2, "2026-11-23T11:00:00.000Z": 1}
    assert status["events"] == 3
    assert len(status["hours"]) == 24


def test_status_reports_the_lag_of_each_back_end(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 10, "START")
    forwarder(s3, marquez, seconds=60).once(1)
    log_event(s3, 3600, "START", run="waiting")
    log_event(s3, 3700, "START", run="waiting too")
    status = output(run("status", "--json"))
    [checkpoint] = status["checkpoints"]
    assert checkpoint["waiting"] == 2
    assert checkpoint["lag_seconds"] == 3600
    assert checkpoint["holder"] is None
    assert "none running" in run("status").stdout


def test_status_counts_the_events_to_retry(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 10, "START")
    marquez.answers = [500] * 5
    forwarder(s3, marquez, seconds=60).once(1)
    [checkpoint] = output(run("status", "--json"))["checkpoints"]
    assert (checkpoint["waiting"], checkpoint["suspects"]) == (0, 1)
    assert "to retry" in run("status").stdout


def test_status_shows_a_forwarder_that_went_silent(run: Command, s3: FakeS3) -> None:
    keeper_of(s3, "node-1").try_take(START)
    s3.lineage.modified[CHECKPOINT_KEY] = START + timedelta(hours=2, seconds=-5)
    assert output(run("status", "--json"))["checkpoints"][0]["silent"] is False
    s3.lineage.modified[CHECKPOINT_KEY] = START + timedelta(hours=2, seconds=-31)
    assert output(run("status", "--json"))["checkpoints"][0]["silent"] is True
    assert "node-1, saved 31 s ago" in run("status").stdout


def test_status_says_whether_the_back_end_answers(run: Command, marquez: FakeMarquez) -> None:
    assert output(run("status", "--json", "--to", marquez.url))["back_end"]["healthy"] is True
    wrong = output(run("status", "--json", "--to", f"{marquez.url}/api/v1/lineage"))["back_end"]
    assert wrong["healthy"] is False
    assert "Give the server's root" in wrong["detail"]
    away = output(run("status", "--json", "--to", "http://marquez.invalid"))["back_end"]
    assert away["healthy"] is None
    assert "not reachable from here" in away["detail"]


def test_status_of_a_private_back_end_says_how_to_open_it(run: Command) -> None:
    detail = output(run("status", "--json"))["back_end"]["detail"]
    assert "lineage_open_command" in detail
    assert "--to http://localhost:8080" in detail


def test_status_of_an_empty_log_says_that_no_forwarder_has_started(run: Command) -> None:
    result = run("status")
    assert result.exit_code == 0
    assert "No forwarder has started yet" in result.stdout


def test_status_of_a_broken_checkpoint_says_how_to_start_over(run: Command, s3: FakeS3) -> None:
    s3.put_object(Bucket=LINEAGE_LOG, Key="forwarder/db.json", Body=b"{}")
    result = run("status")
    assert result.exit_code == 6
    assert "aws s3 rm s3://mwaa-openlineage-fullha-lineage/forwarder/db.json" in result.stderr


def test_what_waits_behind_an_old_checkpoint_is_not_counted_to_the_end(
    run: Command, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mwaactl.lineage.status.COUNTED", 2)
    for second in range(50):
        log_event(s3, second, "RUNNING", name=str(second))
    keeper_of(s3, "node-1").try_take(datetime(2026, 11, 1, tzinfo=UTC))
    [checkpoint] = output(run("status", "--json"))["checkpoints"]
    assert checkpoint["more_waiting"] is True
    assert 14 <= checkpoint["waiting"] <= 21
    assert checkpoint["forwarded_to"] is None
