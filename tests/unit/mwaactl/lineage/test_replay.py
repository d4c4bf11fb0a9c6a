"""`mwaactl lineage replay`: what an operator and a script see."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from lineage_log.http_server import Answer
from lineage_log.marquez_client import MarquezClient
from mwaactl.aws import Clients
from mwaactl.errors import Unfinished
from mwaactl.lineage import replay as lineage_replay
from mwaactl.lineage.replay import Window
from tests.fakes.aws.clients import FakeClients
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START, at
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez
from tests.fakes.mwaactl.commands import Command, output

WINDOW = ("--since", "2026-11-23T10:00:00Z", "--until", "2026-11-23T11:00:00Z")


def test_a_replay_posts_the_window_in_order(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    for second in (-1, 0, 5, 3599, 3600):
        log_event(s3, second, "RUNNING", name=str(second))
    result = run("replay", *WINDOW, "--to", marquez.url, "--json")
    assert result.exit_code == 0
    assert marquez.accepted("name") == ["0", "5", "3599"]
    done = output(result)
    assert (done["events"], done["posted"], done["refused"], done["resumed"]) == (3, 3, 0, False)
    assert not [key for key in s3.lineage.objects if key.startswith("forwarder/")]


def test_a_dry_run_counts_and_posts_nothing(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    for second in range(20):
        log_event(s3, second, "RUNNING", name=str(second))
    result = run("replay", "--since", "2h", "--dry-run", "--to", marquez.url)
    assert "Would post 20 events" in result.stdout
    assert marquez.tried == 0


def test_a_replay_of_nothing_says_so(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 1, "START")
    result = run("replay", *WINDOW, "--namespace", "other", "--to", marquez.url)
    assert result.exit_code == 0
    assert "There are no events of namespace other in s3://" in result.stdout


def test_a_replay_of_one_namespace_leaves_the_others(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 1, "START")
    arguments = ("replay", *WINDOW, "--to", marquez.url, "--json")
    for namespace, count in (("other", 0), ("test", 1)):
        assert output(run(*arguments, "--namespace", namespace, "--dry-run"))["events"] == count
        assert output(run(*arguments, "--namespace", namespace))["posted"] == count


def test_a_replay_to_a_back_end_that_is_ahead_keeps_its_newest_state(
    run: Command, s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 10, "START", run="one")
    log_event(s3, 3700, "COMPLETE", run="one")
    forwarder(s3, marquez).once(1)
    assert run("replay", *WINDOW, "--to", marquez.url).exit_code == 0
    assert marquez.of_run("one") == ["START", "COMPLETE", "START", "COMPLETE"]
    assert marquez.state("one") == "COMPLETED"


def test_an_interrupted_replay_resumes_where_it_stopped(
    run: Command, s3: FakeS3, marquez: FakeMarquez
) -> None:
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


class KilledError(Exception):
    """The process is gone."""


@pytest.mark.parametrize("posts", [0, 1])
def test_wherever_a_replay_is_killed_the_next_one_puts_the_run_right(
    run: Command, s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch, posts: int
) -> None:
    """After a FAIL before START and COMPLETE, nothing that Marquez says leads to the COMPLETE."""
    for second, kind in ((0, "FAIL"), (10, "START"), (20, "COMPLETE")):
        log_event(s3, second, kind, run="one")
    forwarder(s3, marquez).once(1)
    replay = ("replay", "--since", at(0).isoformat(), "--until", at(5).isoformat(), "--to", marquez.url)
    post, save, left = MarquezClient.post, lineage_replay.ReplayCheckpoint.save, [posts]

    def posted(client: MarquezClient, text: bytes) -> Answer:
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        return post(client, text)

    def saved(checkpoint: lineage_replay.ReplayCheckpoint) -> None:
        if left[0] < 0:
            raise KilledError
        save(checkpoint)

    with monkeypatch.context() as patched:
        patched.setattr(MarquezClient, "post", posted)
        patched.setattr(lineage_replay.ReplayCheckpoint, "save", saved)
        assert run(*replay).exit_code != 0
    assert marquez.of_run("one") == ["FAIL", "START", "COMPLETE", "FAIL"][: 3 + posts]
    marquez.run_status = 500
    unfinished = run(*replay)
    marquez.run_status = 0
    assert unfinished.exit_code == 5
    assert run(*replay).exit_code == 0
    known = marquez.known("one")
    assert (known.state, known.endedAt) == ("COMPLETED", at(20).isoformat().replace("+00:00", "Z"))


def test_a_replay_can_start_over(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    for second in range(3):
        log_event(s3, second, "RUNNING", name=str(second))
    marquez.answers, marquez.probes = [201] + [503] * 10_000, 503
    assert run("replay", *WINDOW, "--to", marquez.url).exit_code == 5
    marquez.answers, marquez.probes = [], 201
    assert run("replay", *WINDOW, "--to", marquez.url, "--restart").exit_code == 0
    assert marquez.accepted("name") == ["0", "0", "1", "2"]


def test_a_replay_reports_what_was_refused(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    bad = log_event(s3, 1, "START", run="bad")
    log_event(s3, 2, "START", run="good")
    marquez.answers = [422]
    result = run("replay", *WINDOW, "--to", marquez.url, "--json")
    assert result.exit_code == 5
    assert output(result)["refusals"] == [{"key": bad, "reason": "HTTP 422: answer", "final": True}]
    assert output(result)["exit_code"] == 5
    assert marquez.of_run("good") == ["START"]


def test_a_replay_retries_once_what_failed_while_other_events_were_taken(
    run: Command, s3: FakeS3, marquez: FakeMarquez
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
def test_a_replay_refuses_wrong_arguments(run: Command, arguments: list[str], message: str) -> None:
    result = run("replay", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_replay_to_a_back_end_that_is_away_ends_before_anything_is_posted(run: Command, s3: FakeS3) -> None:
    log_event(s3, 1, "START")
    result = run("replay", *WINDOW)
    assert result.exit_code == 4
    assert "lineage_open_command" in result.stderr


def test_a_replay_whose_checkpoint_is_broken_can_start_over(
    run: Command, s3: FakeS3, marquez: FakeMarquez, tmp_path: Path
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
