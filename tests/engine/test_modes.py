"""Each mode on the real engine: up, nothing to do, refresh, destroy."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO

import pytest

from tests.engine.deployment import ENVIRONMENT, MODES, LocalCloud, Project

SEEN_OUTPUTS: dict[str, set[str]] = {}


@pytest.fixture(scope="module", params=MODES)
def project(
    request: pytest.FixtureRequest, cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A mode's own stack with its own stack file, deployed."""
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp(request.param), request.param)
    first = project.up()
    assert first.ok, first.said
    yield project
    project.destroy()  # if the test of it has not


def test_a_mode_brings_its_environments_and_its_back_end(project: Project) -> None:
    blue_green, ha_marquez = MODES[project.stack]
    outputs = project.outputs()
    assert outputs["mode"] == project.stack
    assert set(outputs["airflow_environments"]) == ({"blue", "green"} if blue_green else {"blue"})
    assert outputs["lineage_backend"] == ("ha" if ha_marquez else "ec2")
    names = [e["name"] for e in outputs["airflow_environments"].values()]
    assert sorted(project.cloud.client("mwaa").list_environments()["Environments"]) == sorted(names)


def test_the_running_system_finds_what_it_uses(project: Project) -> None:
    outputs = project.outputs()
    s3, mwaa = project.cloud.client("s3"), project.cloud.client("mwaa")
    for environment in outputs["airflow_environments"].values():
        deployed = mwaa.get_environment(Name=environment["name"])["Environment"]
        for key in ("requirements.txt", "plugins.zip"):
            found = s3.head_object(Bucket=environment["bucket"], Key=key)
            name = {"requirements.txt": "Requirements", "plugins.zip": "Plugins"}[key]
            assert deployed[f"{name}S3ObjectVersion"] == found["VersionId"]
    (archive,) = s3.list_objects_v2(Bucket=outputs["lineage_log_bucket"], Prefix="deploy/")["Contents"]
    content = s3.get_object(Bucket=outputs["lineage_log_bucket"], Key=archive["Key"])["Body"].read()
    assert {"forwarder/__main__.py", "boto3/__init__.py"} <= set(zipfile.ZipFile(BytesIO(content)).namelist())
    value = project.cloud.client("ssm").get_parameter(Name=outputs["ownership_parameter"])["Parameter"][
        "Value"
    ]
    assert json.loads(value)["owners"][0]["owner"] == "blue"


def test_a_second_up_changes_nothing(project: Project) -> None:
    again = project.up()
    assert again.ok, again.said
    assert again.changes == []
    assert len(again.steps) > 50


def test_a_preview_agrees_that_nothing_changes(project: Project) -> None:
    result = project.preview()
    assert result.ok, result.said
    assert result.changes == []


def test_a_refresh_finds_nothing_changed(project: Project) -> None:
    result = project.refresh()
    assert result.ok, result.said
    assert "unchanged" in result.said
    for word in ("updated", "deleted", "created"):
        assert f" {word}\n" not in result.said, result.said


def test_outputs_have_the_same_keys_in_every_mode(project: Project) -> None:
    SEEN_OUTPUTS[project.stack] = set(project.outputs())
    assert len({frozenset(keys) for keys in SEEN_OUTPUTS.values()}) == 1, SEEN_OUTPUTS


def test_no_secret_is_in_the_state_in_plain_text(project: Project) -> None:
    passwords = [
        json.loads(resource["outputs"]["result"]["plaintext"])
        for resource in project.resources(secrets=True)
        if resource["type"] == "random:index/randomPassword:RandomPassword"
    ]
    assert bool(passwords) == (project.outputs()["lineage_backend"] == "ec2")
    state = project.state_text()
    assert ENVIRONMENT in state
    assert not [password for password in passwords if password in state]


def test_the_stack_files_stay_as_they_are(project: Project) -> None:
    assert project.stack_files() == project.copied
    assert f"Pulumi.{project.stack}.yaml" in project.copied


def test_destroy_leaves_nothing(project: Project) -> None:
    result = project.destroy()
    assert result.ok, result.said
    assert project.resources() == []
    assert not any(project.cloud.content().values()), project.cloud.content()
