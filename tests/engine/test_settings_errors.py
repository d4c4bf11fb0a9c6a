"""Wrong settings stop the program before anything is registered, all of them named at once."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.engine.deployment import LocalCloud, Project


def test_all_wrong_settings_are_named_and_nothing_is_registered(cloud: LocalCloud, tmp_path: Path) -> None:
    project = Project.of_checkout(cloud, tmp_path, "wrong")
    project.set(**{"aws:region": "us-east-1"}, nat="both", airflow_version="1.0", vpc_cidr="10.0.0.0/30")
    result = project.up()
    assert not result.ok
    for key, value in {"nat": "both", "airflow_version": "1.0", "vpc_cidr": "10.0.0.0/30"}.items():
        assert key in result.said
        assert value in result.said
    assert {kind for _, kind, _ in result.steps} <= {"pulumi:pulumi:Stack"}
    assert not any(cloud.content().values())
    project.destroy()


def test_each_command_of_a_message_works_as_typed(cloud: LocalCloud, tmp_path: Path) -> None:
    project = Project.of_checkout(cloud, tmp_path, "typed")
    project.set(**{"aws:region": "us-east-1"})
    wrong = {
        'airflow_options["core.Parallelism"]': "64",
        "airflow_options.core.parallelism": "64",
        'airflow_options["it\'s"]': "x",
        'airflow_options["core.x"]': "a\nb",
        'green.airflow_options["secrets.backend"]': "x",
        "requirements[0]": "openlineage-python==1.0",
        "requirements[1]": "pandas",
        "requirements[2]": "openlineage_python",
        'tags["aws:x"]': "1",
        "availability_zones[0]": "us-east-1a",
        'log_levels["worker"]': "WARN",
    }
    for path, value in wrong.items():
        assert project.run("config", "set", "--path", path, value).returncode == 0
    for path, value in {'airflow_options["core.parallelism"]': "64", 'tags["cost"]': "7"}.items():
        assert project.run("config", "set", "--path", path, value).returncode == 0
    refused = project.preview()
    assert not refused.ok
    values = {
        "airflow_options": "text",
        "availability_zones[0]": "us-east-1a",
        "availability_zones[1]": "us-east-1b",
        "log_levels": "WARNING",
    }
    commands = re.findall(r"^ +pulumi (config .+) -s typed$", refused.said, re.MULTILINE)
    assert len(commands) == 12, refused.said
    for command in commands:
        *typed, last = shlex.split(command)
        value = next((value for key, value in values.items() if typed[-1].startswith(key)), "")
        done = project.run(*typed, value if last == "<value>" else last)
        assert done.returncode == 0, done.stderr
    mended = project.preview()
    assert mended.ok, mended.said
    assert project.run("config", "get", "--path", "requirements[0]").stdout.strip() == "pandas"
