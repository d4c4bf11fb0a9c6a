"""A rollout in whose course each side gets a bucket of the organisation's, and gives it up again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bluegreen.timeline import COLOURS, Colour

from mwaactl.rollout.engine import Engine
from mwaactl.rollout.plan import plan
from tests.engine.deployment import Project
from tests.engine.test_rollout import engine as engine
from tests.engine.test_rollout import planned
from tests.engine.test_rollout import project as project


def test_a_bucket_of_ones_own_comes_and_goes_one_side_after_the_other(
    project: Project, engine: Engine, made: list[str]
) -> None:
    """The side that is left alone keeps its bucket, and the outputs name that."""
    owner: Colour = "blue"
    old = project.environment("blue")["SourceBucketArn"]
    for colour in COLOURS:
        set_bucket(project, colour, made)
    engine.update((owner,), planned(engine).owners, lambda _: None)
    assert project.environment("green")["SourceBucketArn"] == "arn:aws:s3:::acme-green"
    assert project.environment("blue")["SourceBucketArn"] == old
    assert buckets_in_use(project)
    assert planned(engine).first == (), "the state is whole, and what is left is the owner's"

    rest = plan(engine.preview(), "green", engine.needs(), engine.stack)
    assert ("update", "mwaa-green") not in {(step.action, step.resource) for step in rest.first}
    project.set(update_owner_in_place=True)  # the switch is not the matter here
    engine.update((), (), lambda _: None)  # the last part of a rollout leaves out nothing
    assert project.environment("blue")["SourceBucketArn"] == "arn:aws:s3:::acme-blue"
    assert buckets_in_use(project)

    for colour in COLOURS:
        assert project.run("config", "rm", "--path", f"{colour}.dags_bucket").returncode == 0
    engine.update((owner,), planned(engine).owners, lambda _: None)
    assert project.environment("green")["SourceBucketArn"] != "arn:aws:s3:::acme-green"
    assert project.environment("blue")["SourceBucketArn"] == "arn:aws:s3:::acme-blue"
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
        project.environment(colour)["SourceBucketArn"] == f"arn:aws:s3:::{outputs[colour]['bucket']}"
        for colour in COLOURS
    )
