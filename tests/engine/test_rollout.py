"""What a rollout has of the real engine: the steps by side, the owner left alone, the refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bluegreen.timeline import COLOURS, Colour

from mwaactl.errors import CheckFailed, LostRace
from mwaactl.rollout.engine import Change, Engine
from mwaactl.rollout.plan import Plan, plan
from tests.engine.deployment import LocalCloud, Project


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("rollout"), "rolling")
    project.set(**{"aws:region": "us-east-1"}, airflow_version="2.11.2")
    project.enter("bluegreen")
    yield project
    assert project.destroy().ok


@pytest.fixture
def engine(project: Project, monkeypatch: pytest.MonkeyPatch) -> Engine:
    for name, value in project.cloud.env.items():
        monkeypatch.setenv(name, value)
    return Engine(project.folder, project.stack)


def planned(engine: Engine) -> Plan:
    return plan(engine.preview(), "blue", engine.needs(), engine.stack)


def environment(project: Project, colour: Colour) -> Any:
    name = project.outputs()["airflow_environments"][colour]["name"]
    return project.cloud.client("mwaa").get_environment(Name=name)["Environment"]


def test_the_standby_and_what_is_shared_are_updated_and_the_owner_is_not(
    project: Project, engine: Engine
) -> None:
    """Also where the other side becomes a new environment of another major version."""
    project.set(airflow_version="3.3.1")
    assert project.run("config", "set", "--path", "tags.team", "data").returncode == 0
    project.set(access_log_days=30)  # more of what both share
    before, life = environment(project, "blue"), environment(project, "green")["CreatedAt"]
    steps = planned(engine)
    sides = {
        side: {step.resource for step in steps.steps if step.side == side} for side in ("shared", "owner")
    }
    assert "network" in sides["shared"]
    assert sides["owner"] >= {"mwaa-blue", "mwaa-blue-task-log"}
    replaced = {step.resource for step in steps.steps if step.environment and step.action == "replace"}
    assert replaced == {"mwaa-blue", "mwaa-green"}

    begun: list[Change] = []
    owner: Colour = "blue"
    engine.update((owner,), steps.owners, begun.append)
    assert environment(project, "blue") == before
    assert environment(project, "green")["AirflowVersion"] == "3.3.1"
    assert environment(project, "green")["CreatedAt"] > life
    assert not {change.urn for change in begun} & set(steps.owners)
    assert planned(engine).first == ()
    # Afterwards the other way round: green owns, blue is the rest.
    rest = plan(engine.preview(), "green", engine.needs(), engine.stack)
    assert rest.rest == ()
    assert {step.resource for step in rest.first} >= {"mwaa-blue"}


def test_what_takes_both_sides_at_once_is_refused_before_anything_is_touched(
    project: Project, engine: Engine
) -> None:
    project.set(vpc_cidr="10.9.0.0/16")
    with pytest.raises(CheckFailed, match="which both sides need, would be replaced"):
        planned(engine)
    project.set(
        vpc_cidr="10.0.0.0/16",
        kms_key_arn="arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012",
    )
    with pytest.raises(CheckFailed, match=r"mwaa-blue would be replaced for kms_key_arn, as"):
        planned(engine)
    assert project.run("config", "rm", "kms_key_arn").returncode == 0


def test_settings_that_the_program_refuses_are_said_in_its_words(project: Project, engine: Engine) -> None:
    project.set(max_workers=99)
    with pytest.raises(CheckFailed, match=r"(?s)nothing was touched: .*max_workers"):
        engine.preview()
    assert project.run("config", "rm", "max_workers").returncode == 0


def test_a_second_update_at_once_is_told(project: Project, engine: Engine) -> None:
    home = project.cloud.home.state / "pulumi" / ".pulumi"
    (name,) = {file.parent.name for file in (home / "stacks").rglob(f"{project.stack}.json")}
    lock = home / "locks" / "organization" / name / project.stack / "other.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(
        '{"pid": 1, "username": "other", "hostname": "there", "timestamp": "2026-11-28T10:00:00Z"}'
    )
    try:
        with pytest.raises(LostRace, match=f"another update of {project.stack} is under way"):
            engine.update((), (), lambda _: None)
    finally:
        lock.unlink()


def test_a_bucket_of_ones_own_comes_and_goes_one_side_after_the_other(
    project: Project, engine: Engine, made: list[str]
) -> None:
    """The side that is left alone keeps its bucket, and the outputs name that."""
    owner: Colour = "blue"
    assert project.run("config", "set", "--path", "blue.airflow_version", "2.11.2").returncode == 0
    old = environment(project, "blue")["SourceBucketArn"]
    for colour in COLOURS:
        set_bucket(project, colour, made)
    engine.update((owner,), planned(engine).owners, lambda _: None)
    assert environment(project, "green")["SourceBucketArn"] == "arn:aws:s3:::acme-green"
    assert environment(project, "blue")["SourceBucketArn"] == old
    assert buckets_in_use(project)
    assert planned(engine).first == (), "the state is whole, and what is left is the owner's"

    rest = plan(engine.preview(), "green", engine.needs(), engine.stack)
    assert ("update", "mwaa-green") not in {(step.action, step.resource) for step in rest.first}
    project.set(update_owner_in_place=True)  # the switch is not the matter here
    engine.update((), (), lambda _: None)  # the last part of a rollout leaves out nothing
    assert environment(project, "blue")["SourceBucketArn"] == "arn:aws:s3:::acme-blue"
    assert buckets_in_use(project)

    for colour in COLOURS:
        assert project.run("config", "rm", "--path", f"{colour}.dags_bucket").returncode == 0
    engine.update((owner,), planned(engine).owners, lambda _: None)
    assert environment(project, "green")["SourceBucketArn"] != "arn:aws:s3:::acme-green"
    assert environment(project, "blue")["SourceBucketArn"] == "arn:aws:s3:::acme-blue"
    assert buckets_in_use(project)
    assert planned(engine).first == ()


@pytest.fixture
def made(project: Project) -> Iterator[list[str]]:
    """Names of buckets that are emptied and removed at the end, when nothing uses them any more."""
    names: list[str] = []
    yield names
    assert project.destroy().ok
    s3 = project.cloud.client("s3")
    for name in names:
        listed = s3.list_object_versions(Bucket=name)
        for each in [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]:
            s3.delete_object(Bucket=name, Key=each["Key"], VersionId=each["VersionId"])
        s3.delete_bucket(Bucket=name)


def set_bucket(project: Project, colour: Colour, made: list[str]) -> None:
    """A new bucket, as Amazon MWAA needs it, in the settings of one side."""
    s3, name = project.cloud.client("s3"), f"acme-{colour}"
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.create_bucket(Bucket=name)
    made.append(name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True))
    assert project.run("config", "set", "--path", f"{colour}.dags_bucket", name).returncode == 0


def buckets_in_use(project: Project) -> bool:
    """Whether the outputs name the buckets that the environments have."""
    outputs = project.outputs()["airflow_environments"]
    return all(
        environment(project, colour)["SourceBucketArn"] == f"arn:aws:s3:::{outputs[colour]['bucket']}"
        for colour in COLOURS
    )
