"""What an operator and a script see: output, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mwaactl.cli import app as cli
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from tests.fakes.aws import ACTIVE, OWNERSHIP, Cloud, client_error, opens

GREEN = "mwaa-openlineage-fullha-green"
Run = Callable[..., Result]


@pytest.fixture
def run(aws: Cloud, monkeypatch: pytest.MonkeyPatch) -> Run:
    opens(monkeypatch, aws)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli.app, arguments)

    return invoke


def test_active_prints_one_word(run: Run, aws: Cloud) -> None:
    assert run("active").stdout == "blue\n"
    assert run("switch", "green", "--yes").exit_code == 0
    assert run("active").stdout == "blue\n", "until the lead is over"
    aws.ssm.clock.forward(5)
    assert run("active").stdout == "green\n"


def test_a_switch_prints_the_instant_from_which_the_target_owns(run: Run) -> None:
    result = run("switch", "green")
    assert result.exit_code == 0
    assert "2026-11-23T10:00:05.000Z" in result.stdout
    again = run("switch", "green")
    assert again.exit_code == 0
    assert "already" in again.stdout


def test_a_switch_prints_one_json_object(run: Run) -> None:
    result = run("switch", "green", "--json", "--reason", "drill")
    value = json.loads(result.stdout)
    assert value["changed"] is True
    assert value["owns_from"] == "2026-11-23T10:00:05.000Z"
    assert {check["result"] for check in value["checks"]} == {"pass", "not checked"}
    assert result.stderr == ""


def test_a_failed_check_exits_1_and_shows_all_checks(run: Run, aws: Cloud) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    result = run("switch", "green")
    assert result.exit_code == 1
    assert "target-available" in result.stdout
    assert "pause-state" in result.stdout
    assert "--force target-available" in result.stderr
    assert len(aws.ssm.values()) == 1


def test_a_failed_check_in_json_has_the_checks_and_the_error(run: Run, aws: Cloud) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    result = run("switch", "green", "--json")
    value = json.loads(result.stdout)
    assert (result.exit_code, value["exit_code"]) == (1, 1)
    assert "target-available" in value["error"]
    assert value["checks"][0]["result"] == "fail"


def test_a_lost_race_exits_3(run: Run, aws: Cloud) -> None:
    aws.ssm.puts = [client_error("TooManyUpdates")]
    result = run("switch", "green", "--json")
    assert result.exit_code == json.loads(result.stdout)["exit_code"] == 3


def test_an_unknown_outcome_exits_5(run: Run, aws: Cloud) -> None:
    aws.ssm.puts = ["late", "late"]
    assert run("switch", "green").exit_code == 5


def test_wrong_usage_exits_2(run: Run) -> None:
    assert run("switch", "purple").exit_code == 2
    assert run("switch", "green", "-s", "standard").exit_code == 2
    assert run("switch", "green", "--force", "nothing").exit_code == 2
    assert run("no-such-command").exit_code == 2


def test_what_cannot_be_reached_exits_4_with_json_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(stack: str | None, cwd: Path | None) -> Any:
        raise Unreachable("the pulumi command is not on PATH [bold]")

    monkeypatch.setattr(Deployment, "open", unreachable)
    result = run("status", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout) == {"error": "the pulumi command is not on PATH [bold]", "exit_code": 4}
    assert "[bold]" in run("active").stderr, "a message is never read as markup"


def test_a_missing_parameter_exits_6(run: Run, aws: Cloud) -> None:
    del aws.ssm.stored[OWNERSHIP]
    assert run("active").exit_code == 6


def test_a_dry_run_says_that_nothing_was_written(run: Run, aws: Cloud) -> None:
    result = run("switch", "green", "--dry-run")
    assert result.exit_code == 0
    assert "Nothing was written" in result.stdout
    assert len(aws.ssm.values()) == len(aws.ssm.values(ACTIVE)) == 1


def test_a_single_dag_is_moved_and_shown_apart(run: Run, aws: Cloud) -> None:
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


def test_a_single_dag_that_is_not_there_exits_1(run: Run, aws: Cloud) -> None:
    result = run("switch", "green", "--dag", "typo")
    assert result.exit_code == 1
    assert "--force moving-dags" in result.stderr
    assert len(aws.ssm.values()) == 1


def test_a_dry_run_of_a_canary_names_the_dag(run: Run, aws: Cloud) -> None:
    assert (
        "every scheduled run of daily due 5 s after"
        in run("switch", "green", "--dag", "daily", "--dry-run").stdout
    )
    assert len(aws.ssm.values()) == 1


def test_a_rollback_prints_the_instant_and_stands_in_the_history(run: Run, aws: Cloud) -> None:
    run("switch", "green")
    aws.ssm.clock.forward(60)
    dry = json.loads(run("rollback", "--dry-run", "--json").stdout)
    assert (dry["target"], dry["dry_run"], dry["rollback"]) == ("blue", True, True)
    result = run("rollback", "--reason", "slow")
    assert result.exit_code == 0
    assert "blue owns every scheduled run due from 2026-11-23T10:01:05.000Z" in result.stdout
    versions = json.loads(run("history", "--json").stdout)["versions"]
    assert [one["why"] for one in versions[:2]] == ["mwaactl rollback to blue: slow", "mwaactl switch green"]


def test_a_rollback_without_a_switch_exits_2(run: Run) -> None:
    result = run("rollback")
    assert result.exit_code == 2
    assert "there is no switch to roll back" in result.stderr


def test_status_shows_owner_environments_and_what_a_switch_would_say(run: Run) -> None:
    result = run("status")
    assert result.exit_code == 0
    for expected in (
        "blue has owned the scheduled work since the beginning",
        "AVAILABLE",
        "2, 1 paused",
        "same-dags",
    ):
        assert expected in result.stdout


def test_status_shows_a_pending_switch(run: Run) -> None:
    run("switch", "green", "--lead", "60")
    result = run("status")
    assert "green owns it from 2026-11-23T10:01:00.000Z (in 60 s)" in result.stdout
    assert "A switch to blue now" in result.stdout


def test_status_names_what_could_not_be_checked(run: Run, aws: Cloud) -> None:
    aws.mwaa.airflow[GREEN] = dict.fromkeys(
        aws.mwaa.airflow[GREEN], client_error("AccessDeniedException", 403)
    )
    value = json.loads(run("status", "--json").stdout)
    airflows = "scheduler dags import_errors in_flight last_scheduled pools variables connections"
    assert set(value["not_checked"]) == {f"green.{field}" for field in airflows.split()}
    assert "green.scheduler" in run("status").stdout


def test_status_works_in_a_mode_with_one_environment(run: Run, aws: Cloud) -> None:
    aws.mwaa.environments["mwaa-openlineage-standard-blue"] = {"Status": "AVAILABLE"}
    aws.mwaa.airflow["mwaa-openlineage-standard-blue"] = aws.mwaa.airflow[GREEN]
    result = run("status", "-s", "standard")
    assert result.exit_code == 0
    assert "blue has owned" in result.stdout
    value = json.loads(run("status", "-s", "standard", "--json").stdout)
    assert (value["switch_target"], value["switch_checks"]) == (None, [])


def test_status_without_the_parameter_still_shows_the_environments(run: Run, aws: Cloud) -> None:
    del aws.ssm.stored[OWNERSHIP]
    result = run("status")
    assert "AVAILABLE" in result.stdout
    assert "pulumi refresh" in result.stdout


def test_status_warns_of_a_plain_parameter_that_says_otherwise(run: Run, aws: Cloud) -> None:
    aws.ssm.store({"Name": ACTIVE, "Value": "green"})
    assert "the plain parameter names green, but blue owns the work" in run("status").stdout


def test_history_shows_who_decided_what_and_why_and_what_never_counted(run: Run, aws: Cloud) -> None:
    run("switch", "green", "--reason", "upgrade of blue")
    aws.ssm.store(
        {"Name": OWNERSHIP, "Value": aws.ssm.values()[0], "User": "arn:aws:sts::1:assumed-role/ci/bob"}
    )
    versions = json.loads(run("history", "--json").stdout)["versions"]
    assert [(one["version"], one["valid"]) for one in versions] == [(3, False), (2, True), (1, True)]
    assert versions[1]["why"] == "mwaactl switch green: upgrade of blue"
    assert versions[1]["change"] == "green from 2026-11-23T10:00:05.000Z"
    shown = run("history").stdout
    assert "assumed-role/ci/bob" in shown
    assert "lost: based on version 0, not 2" in shown


def test_a_push_that_leaves_one_side_behind_exits_5_with_the_command_to_repeat(
    run: Run, aws: Cloud, tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")

    class Broken:
        def get_paginator(self, operation: str) -> Any:
            raise client_error("AccessDenied", 403)

    aws.s3 = Broken()
    result = run("dags", "push", str(tmp_path))
    assert result.exit_code == 5
    assert f"mwaactl dags push {tmp_path} -s fullha" in result.stderr


def test_help_lists_the_exit_codes(run: Run) -> None:
    assert "3 another writer was first" in " ".join(run("--help").stdout.split())


def test_help_loads_neither_boto3_nor_pulumi() -> None:
    program = (
        "import sys, mwaactl.cli.app; print({'boto3', 'botocore', 'pulumi', 'pydantic'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"
