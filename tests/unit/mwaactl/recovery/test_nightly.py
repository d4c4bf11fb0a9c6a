"""The audit of a night, as the DAG in Airflow runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mwaactl.recovery import nightly
from mwaactl.recovery.fence import fence
from mwaactl.recovery.nightly import MOST, night
from tests.fakes.aws.clients import FakeClients, deployment, outputs
from tests.fakes.clock import minutes
from tests.fakes.lineage.events import log_complete
from tests.fakes.mwaactl.audited import DONE, switched_at_half_time

SKIPPED = {"first": "skipped", "second": "skipped"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    return switched_at_half_time(monkeypatch)


def test_a_night_in_which_all_went_well_is_one_line(aws: FakeClients) -> None:
    aws.blue.add("chain", minutes(10), DONE)
    aws.green.add("chain", minutes(10), SKIPPED)
    said = night(deployment(aws))
    assert (said.findings, said.fences) == ((), ())
    assert said.summary.endswith(", findings: 0")


def test_each_finding_is_a_line_that_names_the_run(aws: FakeClients) -> None:
    aws.blue.add("chain", minutes(10), DONE)
    aws.green.add("chain", minutes(10), DONE)
    said = night(deployment(aws))
    (line,) = said.findings
    assert line.startswith("both: chain, due ")
    assert "findings: 1" in said.summary


def test_a_bad_night_is_cut_short_with_the_command_that_shows_all(aws: FakeClients) -> None:
    for each in range(MOST + 2):
        aws.blue.add("chain", minutes(each / 10), DONE)
        aws.green.add("chain", minutes(each / 10), DONE)
    said = night(deployment(aws))
    assert len(said.findings) == MOST + 1
    assert said.findings[-1].startswith("and 2 more: mwaactl audit ")


def test_a_fence_that_stands_is_named_with_its_command(aws: FakeClients) -> None:
    environments = outputs()["airflow_environments"]
    environments["blue"]["execution_role_arn"] += "-blue"
    of = deployment(aws, airflow_environments=environments)
    fence(of.clients, of.stack.require("blue"))
    said = night(of)
    assert [each.partition(" -s ")[0] for each in said.fences] == ["mwaactl unfence blue"]


def test_what_iam_does_not_tell_is_said(aws: FakeClients) -> None:
    aws.iam.refuses = True
    said = night(deployment(aws))
    assert said.fences == ()
    assert "whether blue is fenced is unknown" in said.summary


@pytest.fixture
def file(aws: FakeClients, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The outputs of these environments, in a file."""
    monkeypatch.setattr(nightly, "Clients", lambda _region: deployment(aws).clients)
    path = tmp_path / "stack.json"
    path.write_text(deployment(aws).stack.model_dump_json())
    return path


def test_the_command_prints_it_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert nightly.main([str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []


def test_the_lineage_log_stands_in_for_a_side_that_is_gone(aws: FakeClients) -> None:
    log_complete(aws.s3, "chain", minutes(40), at=minutes(41), namespace="mwaa-openlineage-fullha-green")
    aws.green.silence()
    assert "green by the lineage log: " in night(deployment(aws)).summary


def test_a_fence_is_seen_though_there_can_be_no_audit(aws: FakeClients) -> None:
    aws.green.silence()
    of = deployment(aws)
    fence(of.clients, of.stack.require("green"))
    said = night(of)
    assert said.error is not None
    assert "has no event" in said.error
    assert said.fences


def test_outputs_of_another_program_are_an_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("{}")
    assert nightly.main([str(file)]) == 1
    assert "is not deployed" in capsys.readouterr().err
