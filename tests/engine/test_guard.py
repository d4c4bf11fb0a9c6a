"""A preview that would take away the environment that owns the work fails, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.engine.deployment import LocalCloud, Project


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("guard"), "guarded")
    project.set(**{"aws:region": "us-east-1"})
    project.enter("bluegreen")
    yield project
    assert project.destroy().ok


def switch(project: Project, colour: str) -> None:
    """Make `colour` the owner, as if it always had been."""
    ssm, name = project.cloud.client("ssm"), project.outputs()["ownership_parameter"]
    version = ssm.get_parameter(Name=name)["Parameter"]["Version"]
    owner = {"owner": colour, "since": "1970-01-01T00:00:00Z", "version": version + 1}
    value = json.dumps({"base_version": version, "owners": [owner], "dags": {}})
    ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def test_removing_the_owner_fails_and_names_the_command(project: Project) -> None:
    switch(project, "green")
    project.set(enable_blue_green=False)

    refused = project.preview()
    assert not refused.ok
    assert "green owns work and would be removed" in refused.said
    assert f"mwaactl switch blue -s {project.stack}" in refused.said

    switch(project, "blue")
    allowed = project.preview()
    assert allowed.ok, allowed.said
    assert ("delete", "mwaa-green") in [(op, name) for op, _, name in allowed.changes]
    project.set(enable_blue_green=True)


def test_replacing_the_owner_fails(project: Project) -> None:
    switch(project, "blue")
    project.set(vpc_cidr="10.9.0.0/16")
    refused = project.preview()
    project.set(vpc_cidr="10.0.0.0/16")
    assert not refused.ok
    assert "vpc_cidr" in refused.said
    assert "owns work and would be replaced" in refused.said


def test_a_switch_survives_an_up(project: Project) -> None:
    switch(project, "green")
    name = project.outputs()["ownership_parameter"]
    before = project.cloud.client("ssm").get_parameter(Name=name)["Parameter"]
    result = project.up()
    assert result.ok, result.said
    assert project.cloud.client("ssm").get_parameter(Name=name)["Parameter"] == before
