"""`mwaactl` on a stack without Marquez (`lineage: log`), and without lineage (`none`)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from mwaactl.acceptance.doctor import examine
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.recovery.audit import audit
from mwaactl.recovery.completed_by_lineage import LineageLog
from mwaactl.stack import LOCAL_LINEAGE
from mwaactl.switching.status import status
from tests.fakes.aws.clients import FakeClients, deployment
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.clock import START, minutes
from tests.fakes.lineage.events import log_event, write_ungated
from tests.fakes.lineage.marquez import FakeMarquez
from tests.fakes.mwaactl.audited import switched_at_half_time
from tests.fakes.mwaactl.commands import Command, output

LOG = {"lineage": "log", "lineage_url": "", "lineage_open_command": ""}
NONE = {**LOG, "lineage": "none"}
NO_MARQUEZ = "stack fullha has no Marquez (lineage: log)"
NO_LINEAGE = "stack fullha has no lineage (lineage: none)"


def of(aws: FakeClients, monkeypatch: pytest.MonkeyPatch, outputs: dict[str, str]) -> None:
    """Every command finds a stack with these outputs."""
    monkeypatch.setattr(Deployment, "open", lambda *_: deployment(aws, **outputs))


@pytest.fixture
def log_only(run: Command, aws: FakeClients, monkeypatch: pytest.MonkeyPatch) -> None:
    of(aws, monkeypatch, LOG)


@pytest.mark.usefixtures("log_only")
@pytest.mark.parametrize(
    "command",
    [("replay", "--since", "1h"), ("set-aside", "retry", "--all", "--yes"), ("set-aside", "retry", "key")],
)
def test_what_posts_to_marquez_says_that_there_is_none(run: Command, command: tuple[str, ...]) -> None:
    result = run(*command)
    assert result.exit_code == 2
    assert NO_MARQUEZ in result.stderr
    assert "pulumi config set lineage marquez -s fullha" in result.stderr


@pytest.mark.usefixtures("log_only")
def test_the_log_can_be_replayed_to_a_marquez_elsewhere(
    run: Command, s3: FakeS3, marquez: FakeMarquez
) -> None:
    log_event(s3, 10, "START")
    assert output(run("replay", "--since", "24h", "--to", marquez.url, "--json"))["posted"] == 1


@pytest.mark.usefixtures("log_only")
def test_status_has_the_log_and_no_back_end(run: Command, s3: FakeS3) -> None:
    log_event(s3, 10, "START")
    shown = output(run("status", "--json"))
    assert (shown["events"], shown["back_end"], shown["lacks"]) == (1, None, NO_MARQUEZ)
    text = run("status").stdout
    assert f"back end   none: {NO_MARQUEZ}" in text
    assert "No forwarder has started yet" not in text


def test_the_local_clouds_addresses_are_each_for_its_own_stack(
    run: Command, s3: FakeS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_event(s3, 10, "START")
    monkeypatch.setenv(LOCAL_LINEAGE, json.dumps({"fullha": marquez.url}))
    assert output(run("replay", "--since", "24h", "--json"))["posted"] == 1
    monkeypatch.setenv(LOCAL_LINEAGE, json.dumps({"standard": marquez.url}))
    elsewhere = run("replay", "--since", "24h", "--json")
    assert elsewhere.exit_code != 0
    assert marquez.url not in elsewhere.stdout + elsewhere.stderr
    monkeypatch.setenv(LOCAL_LINEAGE, marquez.url)
    assert "MWAACTL_LINEAGE_URLS is not a JSON object" in run("status").stderr


def test_open_marquez_says_that_there_is_none(
    run: Command, aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mwaactl.errors import UsageError
    from mwaactl.pages import marquez_url

    with (
        pytest.raises(UsageError, match=r"has no Marquez \(lineage: log\)"),
        marquez_url(deployment(aws, **LOG)),
    ):
        pass


def test_the_doctor_examines_what_the_stack_has(aws: FakeClients, s3: FakeS3) -> None:
    for outputs, expected, said in (
        (LOG, ["lineage-log", "marquez"], NO_MARQUEZ),
        (NONE, ["lineage-log"], NO_LINEAGE),
    ):
        lines = [
            line
            for line in examine(deployment(aws, **outputs)).lines
            if line.name in ("lineage-log", "forwarder", "set-aside", "marquez")
        ]
        assert [line.name for line in lines] == expected
        assert said in lines[-1].detail
        assert lines[-1].result == "pass"


def test_without_lineage_no_command_says_that_nothing_was_ungated(aws: FakeClients, s3: FakeS3) -> None:
    write_ungated(s3, START - timedelta(minutes=1))
    stack = deployment(aws, **NONE)
    assert NO_LINEAGE in status(stack).not_checked["ungated"]
    [line] = [line for line in examine(stack).lines if line.name == "ungated"]
    assert (line.result, NO_LINEAGE in line.detail) == ("unknown", True)


def test_an_audit_without_lineage_says_that_it_cannot_know_what_was_ungated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws = switched_at_half_time(monkeypatch)
    report = audit(deployment(aws, **NONE), since=minutes(0), until=minutes(60))
    assert any(NO_LINEAGE in note for note in report.notes)


def test_without_lineage_the_gate_is_proven_by_its_probes_alone(aws: FakeClients) -> None:
    for outputs, said in ((LOG, False), (NONE, True)):
        gate = next(c for c in status(deployment(aws, **outputs)).switch_checks if c.name == "gate")
        assert gate.result == "pass"
        assert (f"only the probes show it: {NO_LINEAGE}" in gate.detail) is said


def test_without_lineage_no_log_stands_in_for_a_side_that_is_silent(aws: FakeClients, s3: FakeS3) -> None:
    log_event(s3, 10, "START")
    with pytest.raises(Unreachable, match=r"has no lineage \(lineage: none\), so no log says what ran"):
        LineageLog(deployment(aws, **NONE), "blue").runs(START)
