"""The stack's outputs, and AWS's errors in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from botocore import exceptions as boto

from mwaactl.aws import aws_errors
from mwaactl.errors import ControlError, Unreachable, Unusable, UsageError
from mwaactl.stack import find_project, load, parse
from tests.fakes.aws.clients import outputs
from tests.fakes.aws.errors import client_error

FAKE_PULUMI = """#!/bin/sh
if [ "$1" = version ]; then echo v3.259.0; exit 0; fi
echo "$@" >> "$CALLS"
{body}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "project" / "deep").mkdir(parents=True)
    (tmp_path / "project" / "Pulumi.yaml").write_text("name: mwaa-openlineage\nruntime: python\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "project"


def pulumi(project: Path, body: str) -> None:
    """A pulumi command that does `body`."""
    command = project.parent / "bin" / "pulumi"
    command.write_text(FAKE_PULUMI.format(body=body))
    command.chmod(0o755)


def test_every_mode_has_blue_and_two_have_green() -> None:
    assert set(parse(outputs("standard")).airflow_environments) == {"blue"}
    assert set(parse(outputs("fullha")).airflow_environments) == {"blue", "green"}


def test_outputs_of_an_older_program_name_what_is_missing() -> None:
    old = outputs()
    del old["ownership_parameter"]
    with pytest.raises(Unusable, match=r"lacks outputs .*ownership_parameter.*pulumi up -s fullha"):
        parse(old, "fullha")


def test_outputs_that_a_newer_program_adds_do_no_harm() -> None:
    assert parse(outputs(something_new={"a": 1})).stack == "fullha"


def test_a_stack_without_outputs_is_not_deployed() -> None:
    with pytest.raises(Unusable, match=r"not deployed.*pulumi up -s fullha"):
        parse({}, "fullha")


def test_the_stack_is_read_with_one_call_that_selects_nothing(project: Path) -> None:
    pulumi(project, "echo '{}'")
    with pytest.raises(Unusable):
        load("fullha", project / "deep")
    calls = (project.parent / "calls").read_text().splitlines()
    assert calls == ["--non-interactive stack output --json --stack fullha"]


@pytest.mark.parametrize(
    ("stderr", "kind", "told"),
    [
        ("error: no stack named 'prod' found", UsageError, "no stack 'prod'"),
        ("error: no stack selected; please use `pulumi stack select`", UsageError, "add -s STACK"),
        ("error: PULUMI_ACCESS_TOKEN must be set for login", Unreachable, "pulumi login"),
        ("error: could not read bucket: denied", Unreachable, "could not read bucket: denied"),
    ],
)
def test_what_pulumi_complains_of_is_told_in_one_line(
    project: Path, stderr: str, kind: type[ControlError], told: str
) -> None:
    pulumi(project, f'echo "{stderr.replace("`", "")}" >&2; exit 1')
    with pytest.raises(kind, match=told) as error:
        load("prod", project)
    assert "\n" not in str(error.value)


def test_a_missing_pulumi_command_says_where_to_get_it(project: Path) -> None:
    with pytest.raises(Unreachable, match="not on PATH"):
        load("fullha", project)


def test_a_folder_outside_any_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--cwd"):
        find_project(tmp_path)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (boto.NoCredentialsError(), "AWS_PROFILE"),
        (boto.UnauthorizedSSOTokenError(), "aws sso login"),
        (client_error("ExpiredToken"), "expired"),
        (client_error("UnrecognizedClientException"), "does not know these credentials"),
        (client_error("InvalidSignatureException"), "clock"),
        (client_error("AccessDenied"), "access denied: .*the message of AccessDenied"),
        (client_error("ThrottlingException"), "try again"),
        (boto.EndpointConnectionError(endpoint_url="http://x"), "not reachable"),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), "not reachable"),
        (client_error("Unheard"), "the message of Unheard"),
    ],
)
def test_an_aws_error_becomes_one_line_with_what_to_do(error: Exception, told: str) -> None:
    with pytest.raises(Unreachable, match=f"could not look: .*{told}") as raised, aws_errors("look"):
        raise error
    assert "\n" not in str(raised.value)


def test_our_own_errors_pass_as_they_are() -> None:
    with pytest.raises(UsageError, match=r"^mine$"), aws_errors("look"):
        raise UsageError("mine")
