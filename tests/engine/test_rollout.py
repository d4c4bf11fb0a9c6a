"""What a rollout has of the real engine: the steps by side, the owner left alone, the refusals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bluegreen.timeline import Colour

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


def test_the_standby_and_what_is_shared_are_updated_and_the_owner_is_not(
    project: Project, engine: Engine
) -> None:
    """Also where the other side becomes a new environment of another major version."""
    project.set(airflow_version="3.3.1")
    assert project.run("config", "set", "--path", "tags.team", "data").returncode == 0
    project.set(access_log_days=30)  # more of what both share
    before, life = project.environment("blue"), project.environment("green")["CreatedAt"]
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
    assert project.environment("blue") == before
    assert project.environment("green")["AirflowVersion"] == "3.3.1"
    assert project.environment("green")["CreatedAt"] > life
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
