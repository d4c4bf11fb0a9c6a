"""Wrong settings stop the program before anything is registered, all of them named at once."""

from __future__ import annotations

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
