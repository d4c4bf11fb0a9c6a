"""Settings of Airflow: files of one's own, sizes, logs, windows. They update an environment, in place."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.home import CHECKOUT, REGION
from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project, Result

TEAM = CHECKOUT / "tests" / "fakes" / "of_a_team"


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("airflow"), "airflow")
    project.set(**{"aws:region": REGION})
    project.enter("bluegreen")
    yield project
    assert project.destroy().ok


def configure(project: Project, **values: str) -> None:
    for path, value in values.items():
        done = project.run("config", "set", "--path", path, value)
        assert done.returncode == 0, done.stderr


def touched(result: Result) -> list[tuple[str, str]]:
    return [(op, name) for op, kind, name in result.changes if kind == ENVIRONMENT]


def content(project: Project, environment: dict[str, Any], kind: str) -> bytes:
    """What the environment loads, at the version that it names."""
    answer = project.cloud.client("s3").get_object(
        Bucket=environment["SourceBucketArn"].rpartition(":")[2],
        Key=environment[f"{kind}S3Path"],
        VersionId=environment[f"{kind}S3ObjectVersion"],
    )
    body: bytes = answer["Body"].read()
    return body


def test_green_alone_gets_them_first_as_an_update_in_place(project: Project) -> None:
    created = project.environment("green")["CreatedAt"]
    configure(
        project,
        **{
            "green.requirements_file": str(TEAM / "requirements.txt"),
            "green.plugins_folder": str(TEAM / "plugins"),
            "green.startup_script": str(TEAM / "startup.sh"),
            "green.dags_folder": "team/",
            "green.max_workers": "40",
            "green.min_webservers": "3",
            "green.max_webservers": "5",
            "green.log_levels.worker": "DEBUG",
            "green.maintenance_window": "SAT:20:30",
        },
    )
    result = project.up()
    assert result.ok, result.said
    assert touched(result) == [("update", "mwaa-green")]
    green = project.environment("green")
    assert green["CreatedAt"] == created
    assert content(project, green, "StartupScript") == (TEAM / "startup.sh").read_bytes()
    assert content(project, green, "Requirements").decode().splitlines()[-1] == "pandas"
    names = zipfile.ZipFile(io.BytesIO(content(project, green, "Plugins"))).namelist()
    assert {"warehouse/__init__.py", "bluegreen/gate.py"} <= set(names)
    assert (green["MaxWorkers"], green["MinWebservers"], green["MaxWebservers"]) == (40, 3, 5)
    assert green["LoggingConfiguration"]["WorkerLogs"]["LogLevel"] == "DEBUG"
    assert green["WeeklyMaintenanceWindowStart"] == "SAT:20:30"
    assert green["DagS3Path"] == project.outputs()["airflow_environments"]["green"]["dags_prefix"] == "team/"
    assert project.up().changes == []


def test_the_guard_keeps_each_from_the_owner(project: Project) -> None:
    configure(project, startup_script=str(TEAM / "startup.sh"), is_paused_upon_creation="false")
    refused = project.preview()
    assert not refused.ok
    assert "blue owns work and would be updated" in refused.said
    assert "startup.sh" in refused.said
    assert "options.core.dags_are_paused_at_creation True -> False" in refused.said


def test_taken_away_again_the_environment_is_as_before(project: Project) -> None:
    for key in ("green", "startup_script", "is_paused_upon_creation"):
        assert project.run("config", "rm", key).returncode == 0
    result = project.up()
    assert result.ok, result.said
    assert touched(result) == [("update", "mwaa-green")]
    blue, green = (project.environment(colour) for colour in ("blue", "green"))
    for kind in ("StartupScript", "Requirements", "Plugins"):
        assert content(project, green, kind) == content(project, blue, kind)
    assert (green["MaxWorkers"], green["MinWebservers"], green["MaxWebservers"]) == (5, 2, 2)
    assert project.up().changes == []


def test_wheels_come_in_plugins_zip_as_an_update_in_place(project: Project) -> None:
    configure(project, **{"green.wheels_folder": str(TEAM / "wheels")})
    result = project.up()
    assert result.ok, result.said
    assert touched(result) == [("update", "mwaa-green")]
    green = project.environment("green")
    lines = content(project, green, "Requirements").decode().splitlines()
    assert lines[:2] == ["--find-links /usr/local/airflow/plugins", "--no-index"]
    assert "pandas==2.3.3" in lines
    names = zipfile.ZipFile(io.BytesIO(content(project, green, "Plugins"))).namelist()
    assert {each.name for each in (TEAM / "wheels").glob("*.whl")} <= set(names)
    assert project.up().changes == []
    configure(project, **{"green.requirements[0]": "polars"})
    refused = project.preview()
    assert not refused.ok
    assert "it is without the requirement 'polars'" in refused.said
    assert project.run("config", "rm", "green").returncode == 0


def test_the_way_to_the_internet_goes_and_no_environment_notices(project: Project) -> None:
    configure(project, nat="none")
    refused = project.preview()
    assert not refused.ok
    assert "2 invalid settings" in refused.said
    assert "set with nat none, which leads to no package index: mwaactl requirements package" in refused.said
    registry = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/mirror"
    configure(project, wheels_folder=str(TEAM / "wheels"), marquez_image_registry=registry)
    refused = project.preview()
    assert not refused.ok
    assert "nat becomes none, but the requirements of blue" in refused.said  # green has its wheels already
    configure(project, nat="single", update_owner_in_place="true")
    result = project.up()
    assert result.ok, result.said
    assert project.run("config", "rm", "update_owner_in_place").returncode == 0
    configure(project, nat="none")
    result = project.up()
    assert result.ok, result.said
    assert touched(result) == []
    deleted = {kind.rpartition(":")[2] for op, kind, _ in result.changes if op == "delete"}
    assert deleted == {"NatGateway", "Eip", "Route"}
    created = {name for op, kind, name in result.changes if op == "create" and kind.endswith("VpcEndpoint")}
    assert created >= {f"network-{each}" for each in ("sqs", "ecr-api", "ecr-dkr", "airflow-env")}
    assert project.outputs()["nat"] == "none"
    assert project.up().changes == []
    for key in ("nat", "wheels_folder", "marquez_image_registry"):
        assert project.run("config", "rm", key).returncode == 0


def test_more_workers_than_the_accounts_quota_are_refused_with_what_to_type(project: Project) -> None:
    configure(project, max_workers="41")
    refused = project.preview()
    assert not refused.ok
    assert "this account's quota is 40" in refused.said
    assert f"pulumi config set max_workers 40 -s {project.stack}" in refused.said
    assert project.run("config", "rm", "max_workers").returncode == 0


def test_conflicts_and_missing_files_are_all_named_at_once(project: Project, tmp_path: Path) -> None:
    (tmp_path / "airflow_local_settings.py").write_text("")
    (tmp_path / "requirements.txt").write_text("apache-airflow==1.0\n")
    configure(
        project,
        plugins_folder=str(tmp_path),
        requirements_file=str(tmp_path / "requirements.txt"),
        startup_script=str(tmp_path / "missing.sh"),
    )
    refused = project.preview()
    assert not refused.ok
    assert "3 invalid settings" in refused.said
    for key in ("plugins_folder", "requirements_file", "startup_script"):
        assert f"  {key} = " in refused.said
        assert project.run("config", "rm", key).returncode == 0
