"""What a preview may not do to an environment with work, and what it warns of; on the real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bluegreen.document import dump, object_key
from bluegreen.timeline import EPOCH, Colour, Timeline, other_colour

from components.left_alone import VARIABLE
from local.home import CHECKOUT
from local.processes import wait_until
from tests.engine.deployment import ENVIRONMENT, LocalCloud, Project, Result

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("guard"), "guarded")
    project.set(**{"aws:region": "us-east-1"})
    project.enter("bluegreen")
    yield project
    assert project.destroy().ok


def put(project: Project, value: str) -> None:
    name = project.outputs()["ownership_parameter"]
    project.cloud.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def version(project: Project) -> int:
    name = project.outputs()["ownership_parameter"]
    return int(project.cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Version"])


def switch(project: Project, target: Colour, *, drained: bool = True, known: Sequence[str] = ()) -> None:
    """Write that `target` owns all for an hour, and whether the other environment has drained."""
    outputs, next_version = project.outputs(), version(project) + 1
    lives = {colour: each["life"] for colour, each in outputs["airflow_environments"].items()}
    source = other_colour(target)
    timeline = Timeline.initial(source, lives[source]).seen_with(lives)
    timeline = timeline.switched(target, datetime.now(UTC) - HOUR, next_version, known=known)
    if drained:
        timeline = timeline.with_books(source, {}, next_version, closed=True)
    document = dump(timeline, EPOCH)
    if document.content is not None:
        project.cloud.client("s3").put_object(
            Bucket=outputs["lineage_log_bucket"],
            Key=object_key(document.name),
            Body=document.content.encode(),
        )
    put(project, document.value)


@pytest.fixture
def green(project: Project) -> Iterator[Any]:
    """Sets overrides of green, which are gone after the test."""

    def override(key: str, value: str) -> None:
        done = project.run("config", "set", "--path", f"green.{key}", value)
        assert done.returncode == 0, done.stderr

    yield override
    assert project.run("config", "rm", "green").returncode == 0


def test_removing_the_owner_fails_and_names_the_command(project: Project) -> None:
    switch(project, "green")
    project.set(enable_blue_green=False)

    refused = project.preview()
    assert not refused.ok
    assert "green owns work and would be removed" in refused.said
    assert f"mwaactl switch blue --wait -s {project.stack}" in refused.said

    switch(project, "blue", drained=False)
    refused = project.preview()
    assert not refused.ok
    assert "green would be removed, and its books are not closed" in refused.said
    assert f"mwaactl switch blue --wait -s {project.stack}" in refused.said

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


def test_an_update_is_refused_warned_of_or_let_through(project: Project, green: Any) -> None:
    green("max_workers", "7")
    switch(project, "green")
    refused = project.preview()
    assert not refused.ok
    assert "green owns work and would be updated (max_workers 5 -> 7" in refused.said
    assert f"mwaactl rollout -s {project.stack}" in refused.said

    project.set(update_owner_in_place=True)
    warned = project.preview()
    project.set(update_owner_in_place=False)
    assert warned.ok, warned.said
    assert ("update", ENVIRONMENT, "mwaa-green") in warned.changes
    assert "warning: green owns work and would be updated (max_workers 5 -> 7" in warned.said

    switch(project, "blue", drained=False)
    refused = project.preview()
    assert not refused.ok
    assert "green would be updated (max_workers 5 -> 7" in refused.said
    assert "its books are not closed" in refused.said

    switch(project, "blue")
    allowed = project.preview()
    assert allowed.ok, allowed.said
    assert "owns work" not in allowed.said


@contextmanager
def program(project: Project, text: str) -> Iterator[None]:
    """Another program in place of the checkout's."""
    main = project.folder / "__main__.py"
    main.unlink()
    main.write_text(text)
    yield
    main.unlink()
    main.symlink_to(CHECKOUT / "__main__.py")


# The project's program, in which blue's update fails.
BLUE_FAILS = """
import asyncio, runpy, sys
import pulumi_aws as aws

environment = aws.mwaa.Environment

def with_a_class_that_does_not_exist(resource, /, **arguments):
    if resource == "mwaa-blue":
        arguments["environment_class"] = asyncio.sleep(5, "mw1.none")  # green is done by then
    return environment(resource, **arguments)

aws.mwaa.Environment = with_a_class_that_does_not_exist
sys.path.insert(0, {checkout!r})
runpy.run_path({checkout!r} + "/__main__.py", run_name="__main__")
"""


# The project's program, in which what a side stands on is only ready once somebody says so.
ONE_WAITS = """
import asyncio, pathlib, runpy, sys
import pulumi, pulumi_aws as aws

async def told(value):
    pathlib.Path("waiting").touch()
    while not pulumi.runtime.is_dry_run() and not pathlib.Path("go").exists():
        await asyncio.sleep(0.2)
    return value

class AfterAWhile(aws.s3.BucketObjectv2):
    def __init__(self, resource, /, **arguments):
        if resource == "mwaa-{colour}-requirements":
            arguments["content_type"] = told(arguments["content_type"])
        super().__init__(resource, **arguments)

aws.s3.BucketObjectv2 = AfterAWhile
sys.path.insert(0, {checkout!r})
runpy.run_path({checkout!r} + "/__main__.py", run_name="__main__")
"""


@pytest.mark.parametrize("change", ["updated", "replaced", "removed"])
def test_a_switch_while_a_run_is_on_its_way_to_the_standby_keeps_it_from_that(
    project: Project, request: pytest.FixtureRequest, change: str
) -> None:
    """The guard looked when the program began."""
    switch(project, "blue")
    before = project.environment("green")
    if change == "removed":
        project.set(enable_blue_green=False)
    else:
        setting = {"updated": ("max_workers", "7"), "replaced": ("airflow_version", "2.11.2")}[change]
        request.getfixturevalue("green")(*setting)
    waiting, go = project.folder / "waiting", project.folder / "go"
    stands_on = ONE_WAITS.format(checkout=str(CHECKOUT), colour="blue" if change == "removed" else "green")
    with program(project, stands_on), ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(project.operate, "up", "--yes", "--skip-preview")
        wait_until(lambda: waiting.exists() or running.done(), "the program on its way", seconds=120)
        assert waiting.exists(), running.result().said
        switch(project, "green")
        go.touch()
        refused = running.result()
    waiting.unlink()
    go.unlink()
    project.set(enable_blue_green=True)
    assert not refused.ok
    assert "green has got work since this run began" in refused.said
    assert f"pulumi preview -s {project.stack}" in refused.said
    assert "Traceback" not in refused.said
    assert project.environment("green") == before

    switch(project, "blue")
    done = project.up()
    assert done.ok, done.said
    switch(project, "blue")  # of the new life


def updates_of(result: Result) -> list[str]:
    return sorted(name for _, kind, name in result.changes if kind == ENVIRONMENT)


def test_after_an_up_that_failed_half_way_only_the_rest_counts(project: Project) -> None:
    """The stack's outputs are those before it; the state knows that green is done."""
    switch(project, "green")
    before = project.outputs()
    with program(project, BLUE_FAILS.format(checkout=str(CHECKOUT))):
        project.set(max_workers=8, update_owner_in_place=True)
        failed = project.up()
    project.set(update_owner_in_place=False)
    assert not failed.ok
    assert "mwaa-green" in updates_of(failed), failed.said
    assert project.outputs() == before

    rest = project.preview()
    assert rest.ok, rest.said
    assert updates_of(rest) == ["mwaa-blue"]
    assert "owns work" not in rest.said, "green is as it is to be, and owns the work"
    done = project.up()
    assert done.ok, done.said
    assert project.preview().changes == []


def test_a_side_that_a_run_leaves_alone_is_left_out_or_the_run_fails_before_it_is_touched(
    project: Project,
) -> None:
    """What `mwaactl rollout` does; and somebody who sets its variable without leaving anything out."""
    switch(project, "blue")
    before = project.environment("blue")
    project.set(max_workers=9)
    alone = replace(project, cloud=replace(project.cloud, env={**project.cloud.env, VARIABLE: "blue"}))
    everything = alone.preview()
    assert everything.ok, everything.said
    assert updates_of(everything) == ["mwaa-blue", "mwaa-green"]
    refused = alone.up()
    assert not refused.ok
    assert "mwaa-blue would be changed" in refused.said
    assert project.environment("blue") == before

    done = alone.operate("up", "--yes", "--skip-preview", "--exclude", "**mwaa-blue**")
    assert done.ok, done.said
    assert set(updates_of(done)) <= {"mwaa-green"}
    assert project.environment("blue") == before
    assert project.environment("green")["MaxWorkers"] == 9
    switch(project, "green")
    rest = project.up()
    assert rest.ok, rest.said
    assert updates_of(rest) == ["mwaa-blue"]
    assert "owns work" not in rest.said
    assert project.preview().changes == []


def test_a_timeline_whose_content_stands_in_an_object_is_understood(project: Project, green: Any) -> None:
    switch(project, "blue", drained=False, known=[f"dag_{number}" for number in range(1000)])
    green("max_workers", "7")
    refused = project.preview()
    assert not refused.ok
    assert "green would be updated" in refused.said
    assert "its books are not closed" in refused.said


def test_a_parameter_that_cannot_be_read_stops_an_update(project: Project, green: Any) -> None:
    green("max_workers", "7")
    base = version(project)
    head: dict[str, Any] = {"format": 1, "reader": 1, "lead": 5}
    for value, why in (
        ({**head, "reader": 9}, "written by a newer version of this project"),
        ({**head, "object": "0" * 64}, "NoSuchKey"),
    ):
        put(project, json.dumps({**value, "base_version": base}))
        refused = project.preview()
        assert not refused.ok
        assert why in refused.said, refused.said
        assert f"mwaactl status -s {project.stack}" in refused.said
        base += 1
    switch(project, "blue")


def test_a_switch_survives_an_up(project: Project) -> None:
    switch(project, "green")
    name = project.outputs()["ownership_parameter"]
    before = project.cloud.client("ssm").get_parameter(Name=name)["Parameter"]
    result = project.up()
    assert result.ok, result.said
    assert project.cloud.client("ssm").get_parameter(Name=name)["Parameter"] == before
