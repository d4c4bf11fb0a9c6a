"""`mwaactl lineage set-aside`: what an operator and a script see."""

from __future__ import annotations

import pytest

from lineage_log.http_server import Answer
from lineage_log.marquez_client import MarquezClient
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import Clock, at
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez
from tests.fakes.mwaactl.commands import Command, output


@pytest.fixture
def refused(s3: FakeS3, marquez: FakeMarquez) -> list[str]:
    """Three events of three runs, set aside."""
    for number in range(3):
        log_event(s3, number, "START", run=str(number), job=str(number))
    marquez.answers = [422] * 3
    forwarder(s3, marquez, posters=1).once(1)
    return sorted(key for key in s3.lineage.objects if key.startswith("set-aside/"))


def test_the_list_shows_reason_and_key(run: Command, refused: list[str]) -> None:
    listed = output(run("set-aside", "list", "--json"))
    assert [event["key"] for event in listed["events"]] == refused
    assert {event["reason"] for event in listed["events"]} == {"HTTP 422: answer"}
    assert listed["total"] == 3
    text = run("set-aside", "list", "--limit", "1").stdout
    assert refused[0] in text
    assert "and 2 more" in text


def test_an_empty_list_says_so(run: Command, marquez: FakeMarquez) -> None:
    for command in (["list"], ["retry", "--all", "--to", marquez.url]):
        result = run("set-aside", *command)
        assert result.exit_code == 0
        assert "Nothing is set aside" in result.stdout


def test_what_the_back_end_takes_is_no_longer_set_aside(
    run: Command, s3: FakeS3, marquez: FakeMarquez, refused: list[str]
) -> None:
    result = run("set-aside", "retry", "--all", "--to", marquez.url, "--json")
    assert result.exit_code == 0
    assert output(result)["posted"] == refused
    assert marquez.accepted("eventType") == ["START"] * 3
    assert output(run("set-aside", "list", "--json"))["total"] == 0


def test_what_is_still_refused_stays(
    run: Command, s3: FakeS3, marquez: FakeMarquez, refused: list[str]
) -> None:
    marquez.answers = [422]
    result = run("set-aside", "retry", "--all", "--to", marquez.url)
    assert result.exit_code == 5
    assert "1 events are still refused" in result.stderr
    assert [key for key in s3.lineage.objects if key.startswith("set-aside/")] == refused[:1]


def test_single_events_can_be_named_by_either_key(
    run: Command, s3: FakeS3, marquez: FakeMarquez, refused: list[str]
) -> None:
    in_log = refused[1].replace("set-aside/", "events/")
    assert run("set-aside", "retry", refused[0], in_log, "--to", marquez.url).exit_code == 0
    assert [key for key in s3.lineage.objects if key.startswith("set-aside/")] == refused[2:]


def test_a_dry_retry_changes_nothing(
    run: Command, s3: FakeS3, marquez: FakeMarquez, refused: list[str]
) -> None:
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
def test_a_retry_refuses_wrong_arguments(run: Command, arguments: list[str], message: str) -> None:
    result = run("set-aside", "retry", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_retried_start_does_not_reopen_its_run(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 10, "START", run="one")
    marquez.answers = [422]
    log_event(s3, 20, "COMPLETE", run="one")
    forwarder(s3, marquez).once(1)
    assert run("set-aside", "retry", "--all", "--to", marquez.url).exit_code == 0
    assert marquez.of_run("one") == ["COMPLETE", "START", "COMPLETE"]
    assert marquez.state("one") == "COMPLETED"


class Killed(BaseException):
    """The process is gone."""


def test_a_place_that_cannot_be_read_is_named(run: Command, s3: FakeS3, marquez: FakeMarquez) -> None:
    log_event(s3, 0, "START", run="one")
    marquez.answers = [422]
    log_event(s3, 20, "COMPLETE", run="one")
    forwarder(s3, marquez, clock=Clock(60)).once(1)
    s3.lineage.put("forwarder/old.json", b"{")
    result = run("set-aside", "retry", "--all", "--to", marquez.url, "--json")
    assert result.exit_code not in (0, 1)
    assert "forwarder/old.json is not a forwarder's checkpoint" in result.stderr


@pytest.mark.parametrize("posts", [0, 1])
def test_wherever_a_retry_is_killed_the_forwarder_puts_the_run_right(
    run: Command, s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch, posts: int
) -> None:
    """After a FAIL before START and COMPLETE, nothing that Marquez says leads to the COMPLETE."""
    clock = Clock(60)
    log_event(s3, 0, "FAIL", run="one")
    marquez.answers = [422]
    log_event(s3, 10, "START", run="one")
    log_event(s3, 20, "COMPLETE", run="one")
    forwarder(s3, marquez, clock=clock).once(1)
    post, left = MarquezClient.post, [posts]

    def posted(client: MarquezClient, text: bytes) -> Answer:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return post(client, text)

    with monkeypatch.context() as patched:
        patched.setattr(MarquezClient, "post", posted)
        with pytest.raises(Killed):
            run("set-aside", "retry", "--all", "--to", marquez.url)
    assert marquez.of_run("one") == ["START", "COMPLETE", "FAIL"][: 2 + posts]
    for clock.seconds in (7220, 7260):  # the command is run two hours later
        forwarder(s3, marquez, clock=clock).once(1)
    known = marquez.known("one")
    assert (known.state, known.endedAt) == ("COMPLETED", at(20).isoformat().replace("+00:00", "Z"))
