"""A life is born with its environment and replaced exactly when it is, on the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("life"), "living")
    project.set(**{"aws:region": "us-east-1"}, airflow_version="2.11.2")
    project.enter("bluegreen")
    yield project
    assert project.destroy().ok


def lives(project: Project) -> dict[str, str]:
    """The life of each environment; the output's is also what Airflow is told."""
    told, exported = {}, {}
    for colour, environment in project.outputs()["airflow_environments"].items():
        deployed = project.cloud.client("mwaa").get_environment(Name=environment["name"])["Environment"]
        told[colour] = deployed["AirflowConfigurationOptions"]["bluegreen.life"]
        exported[colour] = environment["life"]
    assert told == exported
    return exported


def created(project: Project, colour: str) -> Any:
    return project.environment(colour)["CreatedAt"]


def override(project: Project, key: str, value: str) -> None:
    done = project.run("config", "set", "--path", key, value)
    assert done.returncode == 0, done.stderr


def urn_of(project: Project, kind: str, name: str) -> str:
    (urn,) = [
        str(resource["urn"])
        for resource in project.resources()
        if resource["type"] == kind and resource["urn"].endswith(f"::{name}")
    ]
    return urn


def test_an_update_keeps_the_life(project: Project) -> None:
    before = lives(project)
    assert before["blue"] != before["green"]
    assert {len(life) for life in before.values()} == {16}
    override(project, "green.max_workers", "7")
    result = project.up()
    assert result.ok, result.said
    assert ("update", ENVIRONMENT, "mwaa-green") in result.changes
    assert lives(project) == before


def test_a_replaced_environment_has_a_new_life(project: Project) -> None:
    before, born = lives(project), created(project, "blue")
    override(project, "green.airflow_version", "3.3.1")
    result = project.up()
    assert result.ok, result.said
    after = lives(project)
    assert after["blue"] == before["blue"]
    assert after["green"] != before["green"]
    assert created(project, "blue") == born
    again = project.up()
    assert again.changes == [], again.said


def test_an_environment_that_is_removed_and_added_has_a_new_life(project: Project) -> None:
    before = lives(project)
    project.enter("standard")
    assert lives(project) == {"blue": before["blue"]}
    project.enter("bluegreen")
    after = lives(project)
    assert after["blue"] == before["blue"]
    assert after["green"] != before["green"]


def test_replacing_the_environment_by_hand_takes_its_life_too_or_stops(project: Project) -> None:
    before, born = lives(project), created(project, "green")
    for operation in (("preview",), ("up", "--yes", "--skip-preview")):
        refused = project.operate(*operation, "--replace", urn_of(project, ENVIRONMENT, "mwaa-green"))
        assert not refused.ok
        assert "mwaa-green would be created again with the life of the environment before it" in refused.said
    life = urn_of(project, "random:index/randomId:RandomId", "mwaa-green")
    assert f"pulumi up --replace '{life}' -s {project.stack}" in refused.said

    result = project.operate("up", "--yes", "--skip-preview", "--replace", life)
    assert result.ok, result.said
    after = lives(project)
    assert after["blue"] == before["blue"]
    assert after["green"] != before["green"]
    assert created(project, "green") > born


def test_an_environment_deleted_in_aws_is_not_created_again_with_its_old_life(project: Project) -> None:
    before = lives(project)
    name = project.outputs()["airflow_environments"]["green"]["name"]
    project.cloud.client("mwaa").delete_environment(Name=name)
    assert project.refresh().ok
    refused = project.preview()
    assert not refused.ok
    assert "would be created again with the life of the environment before it" in refused.said

    life = urn_of(project, "random:index/randomId:RandomId", "mwaa-green")
    result = project.operate("up", "--yes", "--skip-preview", "--replace", life)
    assert result.ok, result.said
    assert lives(project)["green"] != before["green"]


def test_an_update_of_one_side_alone_leaves_the_record_of_the_other(project: Project) -> None:
    before = project.outputs()["airflow_environments"]
    project.set(max_workers=9, min_workers=2, update_owner_in_place=True)
    result = project.operate("up", "--yes", "--skip-preview", "--target", "**mwaa-blue**")
    assert result.ok, result.said
    after = project.outputs()["airflow_environments"]
    assert after["blue"]["deployed"]["min_workers"] == "2"
    assert after["green"]["deployed"] == before["green"]["deployed"]
    assert after["green"]["life"] == before["green"]["life"]
