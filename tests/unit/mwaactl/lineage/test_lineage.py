"""`mwaactl lineage`: what an operator and a script see, on an S3 in memory and a real HTTP server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from lineage_log.patient_client import Patience
from mwaactl.aws import Clients
from mwaactl.cli import app as cli
from mwaactl.errors import Unfinished
from mwaactl.lineage import replay as lineage_replay
from mwaactl.lineage import set_aside as lineage_set_aside
from mwaactl.lineage.replay import Window
from tests.fakes.clients import FakeClients, opens
from tests.fakes.clock import START
from tests.fakes.forwarders import CHECKPOINT_KEY, forwarder, keeper_of
from tests.fakes.lineage_events import log_event
from tests.fakes.marquez import FakeMarquez
from tests.fakes.s3 import LINEAGE_LOG, FakeS3

Run = Callable[..., Result]
QUICK = Patience(longest_pause=0.01, give_up=0.05)
WINDOW = ("--since", "2026-11-23T10:00:00Z", "--until", "2026-11-23T11:00:00Z")


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3(page_size=7)


@pytest.fixture
def run(aws: FakeClients, s3: FakeS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    aws.s3 = s3
    aws.ssm.clock.now = START + timedelta(hours=2)
    opens(monkeypatch, aws)
    for function in (lineage_replay.replay, lineage_set_aside.retry):
        defaults = {**cast(Any, function).__kwdefaults__, "patience": QUICK}
        monkeypatch.setattr(function, "__kwdefaults__", defaults)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli.app, ["lineage", *arguments])

    return invoke


def output(result: Result) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(result.stdout)
    return value


# status


def test_status_counts_the_events_by_hour(run: Run, s3: FakeS3) -> None:
    for minute in (1, 2, 61, -24 * 60):
        log_event(s3, minute * 60, "START")
    status = output(run("status", "--json"))
    counts = {hour["hour"]: hour["events"] for hour in status["hours"] if hour["events"]}
    assert counts == {"2026-11-23T10:00:00.000Z": 2, "2026-11-23T11:00:00.000Z": 1}
    assert status["events"] == 3
    assert len(status["hours"]) == 24


def test_status_reports_the_lag_of_each_back_end(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
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


def test_status_counts_the_events_to_retry(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 10, "START")
    marquez.answers = [500] * 5
    forwarder(s3, marquez, seconds=60).once(1)
    [checkpoint] = output(run("status", "--json"))["checkpoints"]
    assert (checkpoint["waiting"], checkpoint["suspects"]) == (0, 1)
    assert "to retry" in run("status").stdout


def test_status_shows_a_forwarder_that_went_silent(run: Run, s3: FakeS3) -> None:
    keeper_of(s3, "node-1").try_take(START)
    s3.lineage.modified[CHECKPOINT_KEY] = START + timedelta(hours=2, seconds=-5)
    assert output(run("status", "--json"))["checkpoints"][0]["silent"] is False
    s3.lineage.modified[CHECKPOINT_KEY] = START + timedelta(hours=2, seconds=-31)
    assert output(run("status", "--json"))["checkpoints"][0]["silent"] is True
    assert "node-1, saved 31 s ago" in run("status").stdout


def test_status_says_whether_the_back_end_answers(run: Run, marquez: FakeMarquez) -> None:
    assert output(run("status", "--json", "--to", marquez.url))["back_end"]["healthy"] is True
    wrong = output(run("status", "--json", "--to", f"{marquez.url}/api/v1/lineage"))["back_end"]
    assert wrong["healthy"] is False
    assert "Give the server's root" in wrong["detail"]
    away = output(run("status", "--json", "--to", "http://marquez.invalid"))["back_end"]
    assert away["healthy"] is None
    assert "not reachable from here" in away["detail"]


def test_status_of_a_private_back_end_says_how_to_open_it(run: Run) -> None:
    detail = output(run("status", "--json"))["back_end"]["detail"]
    assert "lineage_open_command" in detail
    assert "--to http://localhost:8080" in detail


def test_status_of_an_empty_log_says_that_no_forwarder_has_started(run: Run) -> None:
    result = run("status")
    assert result.exit_code == 0
    assert "No forwarder has started yet" in result.stdout


def test_status_of_a_broken_checkpoint_says_how_to_start_over(run: Run, s3: FakeS3) -> None:
    s3.put_object(Bucket=LINEAGE_LOG, Key="forwarder/db.json", Body=b"{}")
    result = run("status")
    assert result.exit_code == 6
    assert "aws s3 rm s3://mwaa-openlineage-fullha-lineage/forwarder/db.json" in result.stderr


# replay


def test_a_replay_posts_the_window_in_order(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
    for second in (-1, 0, 5, 3599, 3600):
        log_event(s3, second, "RUNNING", name=str(second))
    result = run("replay", *WINDOW, "--to", marquez.url, "--json")
    assert result.exit_code == 0
    assert marquez.accepted("name") == ["0", "5", "3599"]
    done = output(result)
    assert (done["events"], done["posted"], done["refused"], done["resumed"]) == (3, 3, 0, False)
    assert not [key for key in s3.lineage.objects if key.startswith("forwarder/")]


def test_a_dry_run_counts_and_posts_nothing(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
    for second in range(20):
        log_event(s3, second, "RUNNING", name=str(second))
    result = run("replay", "--since", "2h", "--dry-run", "--to", marquez.url)
    assert "Would post 20 events" in result.stdout
    assert marquez.tried == 0


def test_a_replay_of_nothing_says_so(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 1, "START")
    result = run("replay", *WINDOW, "--namespace", "other", "--to", marquez.url)
    assert result.exit_code == 0
    assert "There are no events of namespace other in s3://" in result.stdout


def test_a_replay_of_one_namespace_leaves_the_others(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 1, "START")
    arguments = ("replay", *WINDOW, "--to", marquez.url, "--json")
    for namespace, count in (("other", 0), ("test", 1)):
        assert output(run(*arguments, "--namespace", namespace, "--dry-run"))["events"] == count
        assert output(run(*arguments, "--namespace", namespace))["posted"] == count


def test_a_replay_to_a_back_end_that_is_ahead_keeps_its_newest_state(
    run: Run, s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 10, "START", run="one")
    log_event(s3, 3700, "COMPLETE", run="one")
    forwarder(s3, marquez).once(1)
    assert run("replay", *WINDOW, "--to", marquez.url).exit_code == 0
    assert marquez.of_run("one") == ["START", "COMPLETE", "START", "COMPLETE"]
    assert marquez.state("one") == "COMPLETED"


def test_an_interrupted_replay_resumes_where_it_stopped(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
    for second in range(30):
        log_event(s3, second, "RUNNING", name=f"{second:02}")
    marquez.answers, marquez.probes = [201] * 10 + [503] * 10_000, 503
    stopped = run("replay", *WINDOW, "--to", marquez.url)
    assert stopped.exit_code == 5
    assert "10 events were posted, then the back end became unreachable" in stopped.stderr
    assert "--since 2026-11-23T10:00:00+00:00 --until 2026-11-23T11:00:00+00:00" in stopped.stderr
    marquez.answers, marquez.probes = [], 201
    result = output(run("replay", *WINDOW, "--to", marquez.url, "--json"))
    assert marquez.accepted("name") == [f"{second:02}" for second in range(30)]
    assert (result["events"], result["posted"], result["resumed"]) == (30, 30, True)
    again = output(run("replay", *WINDOW, "--to", marquez.url, "--json"))
    assert again["resumed"] is False, "a finished replay leaves no checkpoint"


def test_a_replay_that_its_operator_interrupts_can_be_resumed(
    s3: FakeS3, marquez: FakeMarquez, tmp_path: Path
) -> None:
    for second in range(30):
        log_event(s3, second, "RUNNING", name=f"{second:02}")
    window = Window(
        stack="fullha",
        bucket=LINEAGE_LOG,
        to=marquez.url,
        since=START,
        until=START + timedelta(hours=1),
        namespace=None,
    )
    clients = cast(Clients, FakeClients(ssm=cast(Any, None), s3=s3))

    def interrupt(read: int, _total: int) -> None:
        if read == 20:
            while not marquez.posted:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(
        Unfinished, match=r"the replay was interrupted. To resume: mwaactl lineage replay -s fullha"
    ):
        lineage_replay.replay(clients, window, folder=tmp_path, report=interrupt)
    result = lineage_replay.replay(clients, window, folder=tmp_path)
    assert result.resumed
    assert sorted(set(marquez.accepted("name"))) == [f"{second:02}" for second in range(30)]


def test_a_replay_can_start_over(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
    for second in range(3):
        log_event(s3, second, "RUNNING", name=str(second))
    marquez.answers, marquez.probes = [201] + [503] * 10_000, 503
    assert run("replay", *WINDOW, "--to", marquez.url).exit_code == 5
    marquez.answers, marquez.probes = [], 201
    assert run("replay", *WINDOW, "--to", marquez.url, "--restart").exit_code == 0
    assert marquez.accepted("name") == ["0", "0", "1", "2"]


def test_a_replay_reports_what_was_refused(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
    bad = log_event(s3, 1, "START", run="bad")
    log_event(s3, 2, "START", run="good")
    marquez.answers = [422]
    result = run("replay", *WINDOW, "--to", marquez.url, "--json")
    assert result.exit_code == 5
    assert output(result)["refusals"] == [{"key": bad, "reason": "HTTP 422: answer", "final": True}]
    assert output(result)["exit_code"] == 5
    assert marquez.of_run("good") == ["START"]


def test_a_replay_retries_once_what_failed_while_other_events_were_taken(
    run: Run, s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 1, "START", run="one")
    log_event(s3, 2, "COMPLETE", run="one")
    marquez.answers = [500] * 5
    assert run("replay", *WINDOW, "--to", marquez.url).exit_code == 0
    assert marquez.of_run("one") == ["COMPLETE", "START", "COMPLETE"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "yesterday"], "--since must be like 15m"),
        (["--since", "1h", "--until", "2h"], "is not before --until"),
        (["--since", "1h", "--to", "marquez:5000"], "--to: 'marquez:5000' is not the URL of a server"),
        (["--since", "1h", "--to", "ftp://marquez"], "is not the URL of a server"),
        (
            ["--since", "1h", "--to", "http://me:secret@marquez"],
            "--to: credentials in the URL are not supported",
        ),
    ],
)
def test_a_replay_refuses_wrong_arguments(run: Run, arguments: list[str], message: str) -> None:
    result = run("replay", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_replay_to_a_back_end_that_is_away_ends_before_anything_is_posted(run: Run, s3: FakeS3) -> None:
    log_event(s3, 1, "START")
    result = run("replay", *WINDOW)
    assert result.exit_code == 4
    assert "lineage_open_command" in result.stderr


def test_a_replay_whose_checkpoint_is_broken_can_start_over(
    run: Run, s3: FakeS3, marquez: FakeMarquez, tmp_path: Path
) -> None:
    log_event(s3, 1, "START")
    marquez.answers, marquez.probes = [503] * 10_000, 503
    assert run("replay", *WINDOW, "--to", marquez.url).exit_code == 5
    [file] = (tmp_path / "mwaactl").glob("replay-*.json")
    file.write_text("{")
    marquez.answers, marquez.probes = [], 201
    broken = run("replay", *WINDOW, "--to", marquez.url)
    assert broken.exit_code == 6
    assert "--restart" in broken.stderr
    assert run("replay", *WINDOW, "--to", marquez.url, "--restart").exit_code == 0


# set-aside


@pytest.fixture
def refused(s3: FakeS3, marquez: FakeMarquez) -> list[str]:
    """Three events of three runs, set aside."""
    for number in range(3):
        log_event(s3, number, "START", run=str(number), job=str(number))
    marquez.answers = [422] * 3
    forwarder(s3, marquez, posters=1).once(1)
    return sorted(key for key in s3.lineage.objects if key.startswith("set-aside/"))


def test_the_list_shows_reason_and_key(run: Run, refused: list[str]) -> None:
    listed = output(run("set-aside", "list", "--json"))
    assert [event["key"] for event in listed["events"]] == refused
    assert {event["reason"] for event in listed["events"]} == {"HTTP 422: answer"}
    assert listed["total"] == 3
    text = run("set-aside", "list", "--limit", "1").stdout
    assert refused[0] in text
    assert "and 2 more" in text


def test_an_empty_list_says_so(run: Run, marquez: FakeMarquez) -> None:
    for command in (["list"], ["retry", "--all", "--to", marquez.url]):
        result = run("set-aside", *command)
        assert result.exit_code == 0
        assert "Nothing is set aside" in result.stdout


def test_what_the_back_end_takes_is_no_longer_set_aside(
    run: Run, s3: FakeS3, marquez: FakeMarquez, refused: list[str]
) -> None:
    result = run("set-aside", "retry", "--all", "--to", marquez.url, "--json")
    assert result.exit_code == 0
    assert output(result)["posted"] == refused
    assert marquez.accepted("eventType") == ["START"] * 3
    assert output(run("set-aside", "list", "--json"))["total"] == 0


def test_what_is_still_refused_stays(run: Run, s3: FakeS3, marquez: FakeMarquez, refused: list[str]) -> None:
    marquez.answers = [422]
    result = run("set-aside", "retry", "--all", "--to", marquez.url)
    assert result.exit_code == 5
    assert "1 events are still refused" in result.stderr
    assert [key for key in s3.lineage.objects if key.startswith("set-aside/")] == refused[:1]


def test_single_events_can_be_named_by_either_key(
    run: Run, s3: FakeS3, marquez: FakeMarquez, refused: list[str]
) -> None:
    in_log = refused[1].replace("set-aside/", "events/")
    assert run("set-aside", "retry", refused[0], in_log, "--to", marquez.url).exit_code == 0
    assert [key for key in s3.lineage.objects if key.startswith("set-aside/")] == refused[2:]


def test_a_dry_retry_changes_nothing(run: Run, s3: FakeS3, marquez: FakeMarquez, refused: list[str]) -> None:
    tried = marquez.tried
    result = run("set-aside", "retry", "--all", "--dry-run", "--to", marquez.url)
    assert "Would post 3 events" in result.stdout
    assert marquez.tried == tried
    assert sorted(key for key in s3.lineage.objects if key.startswith("set-aside/")) == refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the keys to retry, or use --all"),
        (["a", "--all"], "name the keys to retry, or use --all"),
        (["events/2026/x"], "not set aside: set-aside/2026/x"),
    ],
)
def test_a_retry_refuses_wrong_arguments(run: Run, arguments: list[str], message: str) -> None:
    result = run("set-aside", "retry", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_retried_start_does_not_reopen_its_run(run: Run, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 10, "START", run="one")
    marquez.answers = [422]
    log_event(s3, 20, "COMPLETE", run="one")
    forwarder(s3, marquez).once(1)
    assert run("set-aside", "retry", "--all", "--to", marquez.url).exit_code == 0
    assert marquez.of_run("one") == ["COMPLETE", "START", "COMPLETE"]
    assert marquez.state("one") == "COMPLETED"


def test_what_waits_behind_an_old_checkpoint_is_not_counted_to_the_end(
    run: Run, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mwaactl.lineage.status.COUNTED", 2)
    for second in range(50):
        log_event(s3, second, "RUNNING", name=str(second))
    keeper_of(s3, "node-1").try_take(datetime(2026, 11, 1, tzinfo=UTC))
    [checkpoint] = output(run("status", "--json"))["checkpoints"]
    assert checkpoint["more_waiting"] is True
    assert 14 <= checkpoint["waiting"] <= 21
    assert checkpoint["forwarded_to"] is None
