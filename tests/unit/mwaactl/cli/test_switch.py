"""`mwaactl switch` and `rollback`: output, JSON, exit codes, with `--wait` and `--sync`."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from mwaactl.switching.copy_settings import CopyResult
from tests.fakes.airflow.schedule import ScheduledAirflows, Work
from tests.fakes.aws.clients import FakeClients
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import ACTIVE
from tests.fakes.clock import at
from tests.fakes.mwaactl.commands import Command
from tests.fakes.mwaactl.mirrors import FakeMirrorCopy

GREEN = "mwaa-openlineage-fullha-green"


def test_a_switch_prints_the_instant_from_which_the_target_owns(run: Command) -> None:
    result = run("switch", "green")
    assert result.exit_code == 0
    assert "2026-11-23T10:00:05.000Z" in result.stdout
    again = run("switch", "green")
    assert again.exit_code == 0
    assert "already" in again.stdout


def test_a_switch_prints_one_json_object(run: Command) -> None:
    result = run("switch", "green", "--json", "--reason", "drill")
    value = json.loads(result.stdout)
    assert value["changed"] is True
    assert value["owns_from"] == "2026-11-23T10:00:05.000Z"
    assert {check["result"] for check in value["checks"]} == {"pass"}
    assert result.stderr == ""


def test_a_failed_check_exits_1_and_shows_all_checks(run: Command, aws: FakeClients) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    result = run("switch", "green")
    assert result.exit_code == 1
    assert "target-available" in result.stdout
    assert "pause-state" in result.stdout
    assert "--force target-available" in result.stderr
    assert len(aws.ssm.values()) == 1


def test_a_failed_check_in_json_has_the_checks_and_the_error(run: Command, aws: FakeClients) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    result = run("switch", "green", "--json")
    value = json.loads(result.stdout)
    assert (result.exit_code, value["exit_code"]) == (1, 1)
    assert "target-available" in value["error"]
    assert value["checks"][0]["result"] == "fail"


def test_a_lost_race_exits_3(run: Command, aws: FakeClients) -> None:
    aws.ssm.puts = [client_error("TooManyUpdates")]
    result = run("switch", "green", "--json")
    assert result.exit_code == json.loads(result.stdout)["exit_code"] == 3


def test_an_unknown_outcome_exits_5(run: Command, aws: FakeClients) -> None:
    aws.ssm.puts = ["late", "late"]
    assert run("switch", "green").exit_code == 5


def test_a_dry_run_says_that_nothing_was_written(run: Command, aws: FakeClients) -> None:
    result = run("switch", "green", "--dry-run")
    assert result.exit_code == 0
    assert "Nothing was written" in result.stdout
    assert len(aws.ssm.values()) == len(aws.ssm.values(ACTIVE)) == 1


def test_a_single_dag_is_moved_and_shown_apart(run: Command, aws: FakeClients) -> None:
    value = json.loads(run("switch", "green", "--dag", "daily", "--dag", "hourly", "--json").stdout)
    assert (value["dags"], value["previous"], value["changed"]) == (["daily", "hourly"], "blue", True)
    assert value["owns_from"] == "2026-11-23T10:00:05.000Z"
    assert (
        "green already owns the work of daily, hourly"
        in run("switch", "green", "--dag", "daily", "--dag", "hourly").stdout
    )
    aws.ssm.clock.forward(5)
    assert run("active").stdout == "blue\n"
    assert "green has owned daily since 2026-11-23T10:00:05.000Z" in run("status").stdout


def test_a_single_dag_that_is_not_there_exits_1(run: Command, aws: FakeClients) -> None:
    result = run("switch", "green", "--dag", "typo")
    assert result.exit_code == 1
    assert "--force moving-dags" in result.stderr
    assert len(aws.ssm.values()) == 1


def test_a_dry_run_of_a_canary_names_the_dag(run: Command, aws: FakeClients) -> None:
    assert (
        "every scheduled run of daily due 5 s after"
        in run("switch", "green", "--dag", "daily", "--dry-run").stdout
    )
    assert len(aws.ssm.values()) == 1


def test_a_rollback_prints_the_instant_and_stands_in_the_history(run: Command, aws: FakeClients) -> None:
    run("switch", "green")
    aws.ssm.clock.forward(60)
    dry = json.loads(run("rollback", "--dry-run", "--json").stdout)
    assert (dry["target"], dry["dry_run"], dry["rollback"]) == ("blue", True, True)
    result = run("rollback", "--reason", "slow")
    assert result.exit_code == 0
    assert "blue owns every scheduled run due from 2026-11-23T10:01:10.000Z" in result.stdout
    versions = json.loads(run("history", "--json").stdout)["versions"]
    assert [one["why"] for one in versions[:2]] == ["mwaactl rollback to blue: slow", "mwaactl switch green"]


def test_a_rollback_without_a_switch_exits_2(run: Command) -> None:
    result = run("rollback")
    assert result.exit_code == 2
    assert "there is no switch to roll back" in result.stderr


# --- with --wait ---


def test_wait_tells_what_drains_and_that_the_old_side_is_safe(
    aws: FakeClients, run: Command, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 60), "plain": Work(600, 90, alone=False)})
    result = run("switch", "green", "--wait")
    assert result.exit_code == 0, result.output
    for expected in (
        "slow: scheduled__10:00:00 is unfinished",
        "blue is draining; unfinished runs: plain 1, slow 1; held: slow",
        "slow moved: green owns it from",
        "blue has finished everything it owned. 2 mirrored runs on green received blue's final states.",
        "blue is ready for maintenance.",
    ):
        assert expected in result.stdout
    again = run("switch", "green", "--wait")
    assert (again.exit_code, "ready for maintenance" in again.stdout) == (0, True)


def test_a_switch_names_what_is_held_and_the_command_that_goes_on(aws: FakeClients, run: Command) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 60)})
    for _ in range(2):
        result = run("switch", "green")
        assert result.exit_code == 0
        assert "slow: scheduled__10:00:00 is unfinished" in result.stdout
        assert "mwaactl switch green --wait -s fullha" in result.stdout
    assert "Nothing changed: the DAGs that have yet to move are busy." in result.stdout
    named = run("switch", "green", "--dag", "slow")
    assert "mwaactl switch green --wait -s fullha --dag slow" in named.stdout


def test_wait_prints_one_json_object(aws: FakeClients, run: Command, mirrors: FakeMirrorCopy) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 60)}, bare=True)
    result = run("switch", "green", "--wait", "--json")
    value = json.loads(result.stdout)
    assert (result.exit_code, value["changed"], value["drain"]["finished"]) == (0, True, True)
    assert value["held"] == [{"dag_id": "slow", "reason": "scheduled__10:00:00 is unfinished"}]
    assert list(value["drain"]["moved"]) == ["slow"]
    assert value["drain"]["mirrors"] == {"copied": 1, "already": 0, "left": []}


@pytest.mark.parametrize("as_json", [True, False])
def test_a_timeout_exits_5_with_the_command_to_go_on(aws: FakeClients, run: Command, as_json: bool) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 60)})
    result = run("switch", "green", "--wait", "--timeout", "10", *(["--json"] if as_json else []))
    assert result.exit_code == 5
    told = result.stderr
    if as_json:
        value = json.loads(result.stdout)
        assert (value["exit_code"], value["drain"]["finished"]) == (5, False)
        told = value["error"]
    assert "not drained within 10 s" in told
    assert "mwaactl switch green --wait -s fullha" in told


def test_ctrl_c_exits_5_and_the_same_command_goes_on(
    aws: FakeClients, run: Command, mirrors: FakeMirrorCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflows = ScheduledAirflows(aws, {"slow": Work(600, 60)})
    with monkeypatch.context() as patch:

        def interrupted(seconds: float) -> None:
            if aws.ssm.clock.now > at(8):
                raise KeyboardInterrupt
            aws.ssm.clock.forward(seconds)

        patch.setattr("mwaactl.clock.sleep", interrupted)
        result = run("switch", "green", "--wait")
    assert result.exit_code == 5
    assert "interrupted: blue is draining; unfinished runs: slow 1; held: slow" in result.stderr
    assert "To continue: mwaactl switch green --wait -s fullha" in result.stderr
    assert run("switch", "green", "--wait").exit_code == 0
    assert airflows.overlaps() == []


def test_ctrl_c_while_writing_exits_5(aws: FakeClients, run: Command) -> None:
    def interrupted(operation: str) -> None:
        if operation == "put":
            raise KeyboardInterrupt

    aws.ssm.before = interrupted
    result = run("switch", "green")
    assert result.exit_code == 5
    assert "mwaactl switch green -s fullha" in result.stderr


def test_sync_copies_before_the_checks_and_not_in_a_dry_run(
    aws: FakeClients, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []

    def copied(deployment: Any, source: str, target: str) -> CopyResult:
        calls.append((source, target))
        return CopyResult(paused=("daily",), pools=("small",))

    monkeypatch.setattr("mwaactl.switching.plan.copy_settings", copied)
    dry = run("switch", "green", "--sync", "--dry-run")
    assert (dry.exit_code, calls) == (0, [])
    assert "copies nothing" in dry.stderr
    result = run("switch", "green", "--sync")
    assert calls == [("blue", "green")]
    assert "copied from blue to green: paused daily; pools small" in result.stdout
    again = run("switch", "green", "--sync")
    assert len(calls) == 1, "the owner's own state counts"
    assert "nothing was copied to green" in again.stdout


def test_the_command_to_continue_a_forced_switch_passes_the_same_checks(
    aws: FakeClients, run: Command, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 60)})
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    forced = run("switch", "green", "--force", "target-available")
    assert forced.exit_code == 0
    printed = forced.stdout.partition("drained: ")[2].splitlines()[0]
    program, *arguments = shlex.split(printed)
    assert program == "mwaactl"
    continued = run(*arguments)
    assert continued.exit_code == 0, continued.output
    assert "ready for maintenance" in continued.stdout


def test_a_dag_to_hold_is_named_again_in_what_to_type_next(aws: FakeClients, run: Command) -> None:
    ScheduledAirflows(aws, {"etl": Work(600, 60, alone=False), "other": Work(600, 60, alone=False)})
    result = run("switch", "green", "--hold", "etl", "--yes")
    assert "Held on blue until idle:\n  etl: scheduled__10:00:00 is unfinished" in result.stdout
    assert "mwaactl switch green --wait -s fullha --hold etl" in result.stdout
    result = run("switch", "green", "--wait", "--timeout", "5", "--hold", "etl")
    assert result.exit_code == 5
    assert "To continue: mwaactl switch green --wait -s fullha --hold etl" in result.stderr
    assert run("switch", "blue", "--hold", "elt").exit_code == 2


@pytest.mark.parametrize("given", ["nan", "inf", "1e20", "-1"])
@pytest.mark.parametrize(
    "options",
    [
        ("switch", "green", "--lead"),
        ("switch", "green", "--wait", "--timeout"),
        ("rollout", "--timeout"),
        ("rollout", "--drain-timeout"),
        ("dags", "push", "--wait", "--timeout"),
        ("rehearse", "--timeout"),
        ("status", "--watch", "--every"),
    ],
)
def test_a_number_of_seconds_is_one_that_a_calendar_has(
    run: Command, aws: FakeClients, options: tuple[str, ...], given: str
) -> None:
    result = run(*options, given)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert len(aws.ssm.values()) == 1
