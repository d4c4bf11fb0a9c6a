"""What an operator and a script see: output, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from tests.fakes.aws.clients import FakeClients
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import ACTIVE, OWNERSHIP
from tests.fakes.clock import START
from tests.fakes.lineage.events import write_ungated
from tests.fakes.mwaactl.commands import Command, output

GREEN = "mwaa-openlineage-fullha-green"


def test_active_prints_one_word(run: Command, aws: FakeClients) -> None:
    assert run("active").stdout == "blue\n"
    assert run("switch", "green", "--yes", "--lead", "20").exit_code == 0
    assert run("active").stdout == "blue\n", "until the lead is over"
    aws.ssm.clock.forward(20)
    assert run("active").stdout == "green\n"


def test_wrong_usage_exits_2(run: Command) -> None:
    assert run("switch", "purple").exit_code == 2
    assert run("switch", "green", "-s", "standard").exit_code == 2
    assert run("switch", "green", "--force", "nothing").exit_code == 2
    assert run("no-such-command").exit_code == 2


def test_what_cannot_be_reached_exits_4_with_json_too(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(stack: str | None, cwd: Path | None, profile: str | None) -> Any:
        raise Unreachable("the pulumi command is not on PATH [bold]")

    monkeypatch.setattr(Deployment, "open", unreachable)
    result = run("status", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout) == {"error": "the pulumi command is not on PATH [bold]", "exit_code": 4}
    assert "[bold]" in run("active").stderr, "a message is never read as markup"


def test_a_missing_parameter_exits_6(run: Command, aws: FakeClients) -> None:
    del aws.ssm.stored[OWNERSHIP]
    assert run("active").exit_code == 6


def test_status_shows_owner_environments_and_what_a_switch_would_say(run: Command) -> None:
    result = run("status")
    assert result.exit_code == 0
    for expected in (
        "blue has owned the scheduled work since the beginning",
        "AVAILABLE",
        "2, 1 paused",
        "same-dags",
    ):
        assert expected in result.stdout


def test_status_shows_a_pending_switch(run: Command) -> None:
    run("switch", "green", "--lead", "60")
    result = run("status")
    assert "green owns it from 2026-11-23T10:01:00.000Z (in 55 s)" in result.stdout
    assert "A switch to blue now" in result.stdout


def test_status_names_what_could_not_be_checked(run: Command, aws: FakeClients) -> None:
    aws.mwaa.airflow[GREEN] = dict.fromkeys(
        aws.mwaa.airflow[GREEN], client_error("AccessDeniedException", 403)
    )
    value = json.loads(run("status", "--json").stdout)
    airflows = "scheduler dags import_errors in_flight last_scheduled probe pools variables connections"
    assert set(value["not_checked"]) == {f"green.{field}" for field in airflows.split()}
    assert "green.scheduler" in run("status").stdout


def test_status_shows_whether_each_gate_works(run: Command, aws: FakeClients) -> None:
    works = run("status").stdout
    assert " ".join(works.split()).count("works: probe due") == 2
    aws.mwaa.probes[GREEN].there = False
    write_ungated(aws.s3, START - timedelta(hours=20))
    broken = run("status").stdout
    assert "not proven: it has no run" in " ".join(broken.split())
    assert "Executed without a gate, 2026-11-22T14:00:00.000Z: daily.load of r1 on green" in broken
    value = json.loads(run("status", "--json").stdout)
    assert value["gates"]["green"]["at"] is None
    assert value["gates"]["blue"]["how"].startswith("executed by dag_policy")
    assert [each["dag_id"] for each in value["ungated"]] == ["daily"]


def test_status_works_in_a_mode_with_one_environment(run: Command, aws: FakeClients) -> None:
    aws.mwaa.environments["mwaa-openlineage-standard-blue"] = {"Status": "AVAILABLE"}
    aws.mwaa.airflow["mwaa-openlineage-standard-blue"] = aws.mwaa.airflow[GREEN]
    result = run("status", "-s", "standard")
    assert result.exit_code == 0
    assert "blue has owned" in result.stdout
    value = json.loads(run("status", "-s", "standard", "--json").stdout)
    assert (value["switch_target"], value["switch_checks"]) == (None, [])


def test_status_without_the_parameter_still_shows_the_environments(run: Command, aws: FakeClients) -> None:
    del aws.ssm.stored[OWNERSHIP]
    result = run("status")
    assert "AVAILABLE" in result.stdout
    assert "pulumi refresh" in result.stdout


def test_status_warns_of_a_plain_parameter_that_says_otherwise(run: Command, aws: FakeClients) -> None:
    aws.ssm.store({"Name": ACTIVE, "Value": "green"})
    assert "the plain parameter names green, but blue owns the work" in run("status").stdout


def test_history_shows_who_decided_what_and_why_and_what_never_counted(
    run: Command, aws: FakeClients
) -> None:
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
    run: Command, aws: FakeClients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    copy = aws.s3.copy_object

    def refuse(**call: Any) -> None:
        if "green" in call["Bucket"]:
            raise client_error("AccessDenied", 403)
        copy(**call)

    monkeypatch.setattr(aws.s3, "copy_object", refuse)
    result = run("dags", "push", str(tmp_path))
    assert result.exit_code == 5
    assert f"mwaactl dags push {tmp_path} -s fullha" in result.stderr
    (check,) = [
        each for each in output(run("status", "--json"))["switch_checks"] if each["name"] == "same-files"
    ]
    assert check["result"] == "fail"
    assert check["detail"].startswith(f"the push of {tmp_path} that ")
    monkeypatch.undo()


def test_an_error_of_a_push_is_json_too(run: Command, aws: FakeClients, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = " + "-" * 20_000 + "1\n")
    (tmp_path / "b.py").symlink_to("nowhere")
    result = run("dags", "push", str(tmp_path), "--json")
    assert (result.exit_code, "b.py: a link" in output(result)["error"]) == (1, True)
    (tmp_path / "b.py").unlink()
    result = run("dags", "push", str(tmp_path), "--json")
    assert (result.exit_code, "nested too deeply" in output(result)["error"]) == (1, True)
    assert aws.s3.written == []


def test_help_lists_the_exit_codes(run: Command) -> None:
    assert "3 another writer was first" in " ".join(run("--help").stdout.split())


def test_help_loads_nothing_heavy() -> None:
    program = """
import sys
from mwaactl.cli.app import app
try:
    app(["--help"])
except SystemExit:
    print(sorted({"boto3", "botocore", "pulumi", "pydantic", "rich"} & set(sys.modules)))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("[]\n")
