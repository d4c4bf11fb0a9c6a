"""`mwaactl failover` and `unfence`: what an operator and a script see."""

from __future__ import annotations

import json

import pytest
from bluegreen.settings import MAX_AGE

from tests.fakes.aws.clients import FakeClients
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.mwaactl.commands import Command
from tests.fakes.mwaactl.dead_blue import blue_died, completed


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    return blue_died(monkeypatch)


def test_a_dry_run_shows_what_is_unknown_and_writes_nothing(run: Command, aws: FakeClients) -> None:
    result = run("failover", "green", "--dry-run")
    assert result.exit_code == 0
    assert "10 to rerun on green" in result.stdout
    assert "cannot report what blue completed" in result.stdout
    assert "A rerun may repeat completed work: nothing reports what blue completed" in result.stdout
    assert "Nothing was written. To carry it out, repeat the command without --dry-run" in result.stdout
    assert len(aws.ssm.values()) == 1
    assert aws.green.changes == 0


def test_it_says_that_it_was_at_least_once(run: Command, aws: FakeClients) -> None:
    result = run("failover", "green", "--yes", "--reason", "blue is dead", "--fence")
    assert result.exit_code == 0
    assert "At least once, not exactly once" in result.stdout
    assert "mwaactl unfence blue -s fullha" in result.stdout
    descriptions = [record["Description"] for record in aws.ssm.stored[OWNERSHIP]]
    assert descriptions[1] == "mwaactl failover to green, since 2026-11-23T10:45:00.000Z: blue is dead"


def test_without_waiting_it_says_when_to_repeat(run: Command, aws: FakeClients) -> None:
    aws.blue.answer()
    shown = run("failover", "green", "--yes", "--no-wait").stdout
    assert "6 runs are being rerun, 4 mirrors received blue's final states" in shown
    assert "may still act on an older ownership" in shown
    assert (
        f"Repeat the command in {MAX_AGE.total_seconds() + 60:.0f} s: mwaactl failover green -s fullha"
        in shown
    )
    repeated = run("failover", "green", "--yes").stdout
    assert "0 runs are being rerun" in repeated
    assert "Repeat the command in" not in repeated


def test_it_says_by_whom_it_knows_what_was_completed(run: Command, aws: FakeClients) -> None:
    completed(aws, ("a", 50), ("b", 52))
    shown = run("failover", "green", "--dry-run").stdout
    assert "8 to rerun on green" in shown
    assert "2 completed on blue (2 by the lineage log): not rerun" in shown
    assert "the lineage log does not show these runs as completed, but may be incomplete" in shown
    aws.blue.answer()
    shown = run("failover", "green", "--dry-run").stdout
    assert "4 completed on blue (4 by mwaa-openlineage-fullha-blue's REST API)" in shown
    assert "does not show" not in shown


def test_its_json_tells_what_was_done(run: Command, aws: FakeClients) -> None:
    result = run("failover", "green", "--json", "--since", "9m")
    value = json.loads(result.stdout)
    assert value["since"] == "2026-11-23T10:51:00.000Z"
    assert len(value["rerun"]) == 8
    assert value["completion_uncertain"] is True


def test_a_failed_check_and_what_is_left_have_exit_codes(run: Command, aws: FakeClients) -> None:
    aws.green.silence()
    assert run("failover", "green", "--json").exit_code == 1

    def refuses(method: str, path: str) -> None:
        if path.endswith("/clear"):
            raise client_error("AccessDeniedException", 403)

    aws.green.before = refuses
    result = run("failover", "green", "--yes")
    assert result.exit_code == 5
    assert "mwaactl failover green -s fullha" in result.stderr


def test_unfence_takes_the_fence_away(run: Command, aws: FakeClients) -> None:
    run("failover", "green", "--yes", "--fence")
    assert json.loads(run("unfence", "blue", "--json").stdout)["changed"] is True
    assert aws.iam.policies == {}
    repeated = run("unfence", "blue")
    assert repeated.exit_code == 0
    assert "no fence" in repeated.stdout
