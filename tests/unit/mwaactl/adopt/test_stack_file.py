"""What the command of Pulumi is given: settings as arguments, and what is secret or free text as input."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mwaactl.adopt.settings import Reproduction
from mwaactl.adopt.stack_file import StackFile

VALUE = "correct horse=battery"
STANDS = {
    "aws:tags": {"value": "x"},
    "p:max_workers": {"value": "7"},
    "p:requirements": {"value": "[]", "objectValue": []},
    "p:tags": {"value": "...", "objectValue": {"team": "data", "a=b": 5, "on": True}},
    "p:private_subnet_ids": {"value": "...", "objectValue": ["subnet-1", "subnet-2"]},
    "p:airflow_options": {"objectValue": {"smtp.smtp_password": VALUE}, "value": "...", "secret": True},
}
FAKE = """#!/bin/sh
echo "$@" >> "$LOG/arguments"
case "$*" in *--show-secrets*) cat "$LOG/stands";; *" set "*) cat >> "$LOG/given"; echo >> "$LOG/given";; esac
"""


@pytest.fixture
def stack_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackFile:
    command = tmp_path / "bin" / "pulumi"
    command.parent.mkdir()
    command.write_text(FAKE)
    command.chmod(0o755)
    (tmp_path / "stands").write_text(json.dumps(STANDS))
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}/usr/bin:/bin")
    monkeypatch.setenv("LOG", str(tmp_path))
    return StackFile(tmp_path, "team")


def test_every_setting_that_stands_has_the_path_that_writes_it(stack_file: StackFile) -> None:
    assert stack_file.stands() == {
        "max_workers": "7",
        "tags.team": "data",
        'tags["a=b"]': "5",
        "tags.on": "true",
        "private_subnet_ids[0]": "subnet-1",
        "private_subnet_ids[1]": "subnet-2",
        'airflow_options["smtp.smtp_password"]': VALUE,
    }


def test_no_argument_of_a_process_has_a_secret_or_a_key_with_an_equals_sign(stack_file: StackFile) -> None:
    secret, tag = 'airflow_options["smtp.smtp_password"]', 'tags["a=b"]'
    settings = {"max_workers": "20", secret: VALUE, tag: "+5"}
    stack_file.write(Reproduction(settings, {secret}, (), ()), {"startup_script": "a/startup.sh"})
    told = (stack_file.folder / "arguments").read_text()
    assert VALUE not in told
    assert (stack_file.folder / "given").read_text() == f"{VALUE}\n+5\n"
    assert told.splitlines()[1:] == [
        f"--non-interactive config {each} --stack team"
        for each in (
            *("rm airflow_options", "rm private_subnet_ids", "rm tags"),
            "set-all --path --plaintext max_workers=20 --plaintext startup_script=a/startup.sh",
            f"set --path --raw --secret {secret}",
            f"set --path --raw --type string {tag}",
        )
    ]
