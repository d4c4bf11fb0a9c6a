"""The settings beside the two booleans, on the real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project

CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/11111111-2222-3333-4444-555555555555"
SECRET = "arn:aws:secretsmanager:us-east-1:000000000000:secret:catalog-AbCdEf"
ENDPOINT = "https://catalog.example.com/lineage"


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Full HA with every option that adds resources."""
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("options"), "options")
    project.set(
        **{"aws:region": "us-east-1"},
        vpc_endpoints=True,
        nat="per_az",
        create_kms_key=True,
        access_log_days=90,
        flow_log_days=30,
        alarm_email="on-call@example.com",
        marquez_certificate_arn=CERTIFICATE,
        lineage_namespace="shared",
        worker_replacement_strategy="GRACEFUL",
        airflow_version="2.11.2",
    )
    for path, value in {
        "catalog.url": ENDPOINT,
        "catalog.header_arn": SECRET,
        "zone.datazone_domain": "dzd_4kq9",
    }.items():
        done = project.run("config", "set", "--path", f"lineage_sinks.{path}", value)
        assert done.returncode == 0, done.stderr
    project.enter("fullha")
    yield project
    assert project.destroy().ok


def test_every_option_deploys_and_comes_to_rest(project: Project) -> None:
    kinds = {resource["type"] for resource in project.resources()}
    assert {
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "aws:kms/key:Key",
        "aws:ec2/flowLog:FlowLog",
        "aws:cloudwatch/eventTarget:EventTarget",
        "aws:lb/listenerRule:ListenerRule",
    } <= kinds
    outputs = project.outputs()
    assert outputs["lineage_url"].startswith("https://")
    assert outputs["lineage_sinks"] == ["catalog", "zone"]
    again = project.up()
    assert again.ok, again.said
    assert again.changes == []


def test_an_override_for_green_updates_green_alone(project: Project) -> None:
    done = project.run("config", "set", "--path", "green.max_workers", "7")
    assert done.returncode == 0, done.stderr
    result = project.up()
    assert result.ok, result.said
    assert [(op, name) for op, kind, name in result.changes if kind == ENVIRONMENT] == [
        ("update", "mwaa-green")
    ]
    assert project.environment("green")["LastUpdate"]["WorkerReplacementStrategy"] == "GRACEFUL"
    again = project.up()
    assert again.ok, again.said
    assert again.changes == []
    environments = project.outputs()["airflow_environments"]
    deployed = {colour: project.environment(colour)["MaxWorkers"] for colour in environments}
    assert deployed == {"blue": 5, "green": 7}


def test_a_major_upgrade_of_the_standby_replaces_it_and_leaves_the_owner(project: Project) -> None:
    done = project.run("config", "set", "--path", "green.airflow_version", "3.3.1")
    assert done.returncode == 0, done.stderr
    result = project.preview()
    assert result.ok, result.said
    touched = {name for _, kind, name in result.changes if kind == ENVIRONMENT}
    assert touched == {"mwaa-green"}
    assert result.operations()["replace"] >= 1


def test_production_can_be_switched_on_later(project: Project) -> None:
    project.set(production=True)
    result = project.preview()
    project.set(production=False)
    assert result.ok, result.said
    assert not [step for step in result.changes if step[1] == ENVIRONMENT and step[2] == "mwaa-blue"]
