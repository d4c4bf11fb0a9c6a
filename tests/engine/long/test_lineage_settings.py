"""Lineage in the log alone, and none at all, on the real engine: there and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project

EVENT = "events/2026/11/23/10/20261123T100005.123456Z-1f0c9a2b7d3e.json.gz"


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("lineage"), "lineage")
    project.set(**{"aws:region": "us-east-1"})
    project.enter("standard")
    yield project
    assert project.destroy().ok


def options(project: Project) -> dict[str, str]:
    found: dict[str, str] = project.environment("blue")["AirflowConfigurationOptions"]
    return found


def test_lineage_goes_and_comes_back_and_neither_environment_nor_log_is_replaced(project: Project) -> None:
    outputs = project.outputs()
    bucket, s3 = outputs["lineage_log_bucket"], project.cloud.client("s3")
    s3.put_object(Bucket=bucket, Key=EVENT, Body=b"{}")
    before, full = options(project), len(project.resources())
    for lineage, updates in (("log", 0), ("none", 1), ("marquez", 1)):
        project.set(lineage=lineage)
        result = project.up()
        assert result.ok, result.said
        touched = [operation for operation, kind, _ in result.changes if kind == ENVIRONMENT]
        assert touched == ["update"] * updates, lineage
        new = project.outputs()
        assert bool(new["lineage_url"]) == (lineage == "marquez")
        assert new["airflow_environments"]["blue"]["life"] == outputs["airflow_environments"]["blue"]["life"]
        assert new["lineage_log_bucket"] == bucket
        assert s3.get_object(Bucket=bucket, Key=EVENT)["Body"].read() == b"{}", lineage
        assert (options(project).get("openlineage.disabled") == "True") == (lineage == "none")
    assert options(project) == before
    assert len(project.resources()) == full
    assert new["lineage_url"] == outputs["lineage_url"]
