"""A major version that AWS changes in place: the environment and its life stay."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("in_place"), "inplace")
    project.set(**{"aws:region": "us-east-1"}, airflow_version="2.11.2")
    project.enter("standard")
    yield project
    assert project.destroy().ok


def blue(project: Project) -> dict[str, Any]:
    outputs: dict[str, Any] = project.outputs()["airflow_environments"]["blue"]
    return outputs


def touched(result: Any) -> list[tuple[str, str]]:
    return [(operation, name) for operation, kind, name in result.changes if kind == ENVIRONMENT]


def test_the_only_environment_goes_to_the_next_major_version_and_not_back(project: Project) -> None:
    before = blue(project)
    mwaa = project.cloud.client("mwaa")
    created = mwaa.get_environment(Name=before["name"])["Environment"]["CreatedAt"]

    # The provider would replace it; the message has Amazon's way.
    project.set(airflow_version="3.3.1")
    refused = project.preview()
    assert not refused.ok
    assert "blue owns work and would be replaced (airflow_major 2 -> 3)" in refused.said
    found = re.search(r"^ *aws (mwaa update-environment .*)$", refused.said, re.M)
    assert found is not None, refused.said
    words = shlex.split(found[1])
    given = dict(zip(words[2::2], words[3::2], strict=True))
    mwaa.update_environment(Name=given["--name"], AirflowVersion=given["--airflow-version"])
    assert f"pulumi refresh -s {project.stack}" in refused.said

    # Until the state knows of it, nothing else happens.
    assert not project.preview().ok
    assert project.refresh().ok
    project.set(airflow_version="2.11.2")
    back = project.preview()
    assert not back.ok
    assert "blue owns work and would be replaced (airflow_major 2 -> 2 after 3)" in back.said
    project.set(airflow_version="3.3.1")
    done = project.up()
    assert done.ok, done.said
    assert touched(done) == []
    assert (blue(project)["airflow_version"], blue(project)["life"]) == ("3.3.1", before["life"])
    assert project.preview().changes == []

    assert mwaa.get_environment(Name=before["name"])["Environment"]["CreatedAt"] == created
