"""An adopted environment: left as it is at first, then updated once, then like any other."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from bluegreen.timeline import Colour

from components.airflow.adoption import VARIABLE, held
from tests.fakes.pulumi_mocks import Deployment, deploy, plain
from tests.fakes.timeline import dumped, initial
from tests.unit.components.config.test_settings import parse

NAME = "team-airflow"
ADOPTED = {
    "adopted_environment": NAME,
    "vpc_id": "vpc-0123456789abcdef0",
    "private_subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "nat": "single",
}
OWNED = {"value": dumped(initial()), "version": 1}
WITHOUT_GATE = {"identity": {"name": NAME}, "deployed": {"options.core.parallelism": "sha256:1"}}
WITH_GATE = {"identity": {"name": NAME}, "deployed": {"options.bluegreen.life": "its life"}}


def environment(deployment: Deployment) -> Any:
    return deployment.resource("Environment", "mwaa-blue")


@pytest.fixture(scope="module")
def imported() -> Deployment:
    return deploy("standard", ADOPTED)


def after(deployment: Deployment) -> dict[str, Any]:
    """The outputs; in the mocks, an import finds nothing that the program has not given."""
    blue = deployment.exports["airflow_environments"]["blue"]
    return {**deployment.exports, "airflow_environments": {"blue": {"airflow_version": "3.0.6", **blue}}}


@pytest.fixture
def updated(imported: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setenv(VARIABLE, NAME)
    return deploy("standard", ADOPTED, previous=after(imported), parameter=OWNED)


def test_the_import_gives_nothing_that_could_change_it(imported: Deployment) -> None:
    blue = environment(imported)
    assert set(blue.inputs) == {
        *("name", "dagS3Path", "executionRoleArn", "networkConfiguration", "sourceBucketArn", "tags")
    }
    assert blue.request.importId == NAME
    assert set(blue.inputs) <= set(blue.ignore_changes)
    assert {"airflowConfigurationOptions", "pluginsS3Path", "tagsAll"} <= set(blue.ignore_changes)
    assert blue.request.retainOnDelete
    assert imported.of_type("LogGroup") == [
        each for each in imported.of_type("LogGroup") if NAME not in str(each.inputs.get("name"))
    ]


def test_it_stays_so_in_every_run_until_the_update(imported: Deployment) -> None:
    again = environment(
        deploy(
            "standard", {**ADOPTED, "airflow_options": {"core.parallelism": "9"}}, previous=after(imported)
        )
    )
    assert again.inputs.keys() == environment(imported).inputs.keys()
    assert again.request.retainOnDelete


def test_the_update_gives_everything_and_keeps_the_name(updated: Deployment) -> None:
    blue = environment(updated)
    assert plain(blue.inputs["name"]) == NAME
    assert plain(blue.inputs["airflowConfigurationOptions"])["bluegreen.environment"] == "blue"
    assert blue.ignore_changes == []
    assert not blue.request.retainOnDelete
    outputs = updated.exports["airflow_environments"]["blue"]
    assert (outputs["name"], outputs["log_group_prefix"]) == (NAME, f"airflow-{NAME}-")
    assert outputs["deployed"]["options.bluegreen.life"] == "its life"


def test_the_filters_on_its_logs_name_its_groups(imported: Deployment) -> None:
    groups = {str(each.inputs["logGroupName"]) for each in imported.of_type("LogMetricFilter")}
    assert groups == {f"airflow-{NAME}-Task", f"airflow-{NAME}-Scheduler"}


def test_green_beside_it_has_a_name_of_the_stacks(updated: Deployment) -> None:
    both = deploy(
        "standard", {**ADOPTED, "enable_blue_green": True}, previous=after(updated), parameter=OWNED
    )
    assert plain(environment(both).inputs["name"]) == NAME
    green = both.resource("Environment", "mwaa-green")
    assert plain(green.inputs["name"]) == "mwaa-openlineage-standard-green"
    assert not green.request.importId


def test_who_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = parse(ADOPTED)
    assert held(parse({}), {"blue": WITH_GATE}) == frozenset()
    assert held(settings, {}) == {"blue"}
    assert held(settings, {"blue": WITHOUT_GATE}) == {"blue"}
    assert held(settings, {"blue": WITH_GATE}) == frozenset()
    monkeypatch.setenv(VARIABLE, "another")
    assert held(settings, {"blue": WITHOUT_GATE}) == {"blue"}
    monkeypatch.setenv(VARIABLE, NAME)
    assert held(settings, {"blue": WITHOUT_GATE}) == frozenset()
    assert held(settings, {}) == {"blue"}  # first the import, whatever the variable says


def test_a_green_beside_an_environment_without_the_gate_is_refused() -> None:
    sides: tuple[dict[Colour, Any], ...] = ({}, {"blue": WITHOUT_GATE})
    for before in sides:
        with pytest.raises(pulumi.RunError, match=r"(?s)a second time.*mwaactl adopt team-airflow"):
            held(parse({**ADOPTED, "enable_blue_green": True}), before)


@pytest.mark.parametrize("bucket", [{"dags_bucket": "acme"}, {"blue": {"dags_bucket": "acme"}}])
def test_nothing_is_written_into_a_bucket_that_exists_before_the_gate_is_there(
    monkeypatch: pytest.MonkeyPatch, bucket: dict[str, Any]
) -> None:
    """It may be the live environment's own, or get no DAGs: `mwaactl adopt` fills that of the stack."""
    settings = parse({**ADOPTED, **bucket})
    monkeypatch.setenv(VARIABLE, NAME)  # also in the run that brings in the gate
    sides: tuple[dict[Colour, Any], ...] = ({}, {"blue": WITHOUT_GATE})
    for before in sides:
        with pytest.raises(
            pulumi.RunError, match=r"(?s)into acme before.*dags_bucket -s test\n  mwaactl adopt"
        ):
            held(settings, before)
    assert held(settings, {"blue": WITH_GATE}) == frozenset()
    assert held(parse({**ADOPTED, "green": {"dags_bucket": "acme"}}), {}) == {"blue"}
    with pytest.raises(pulumi.RunError, match="has no gate yet"):
        deploy("standard", {**ADOPTED, **bucket})


def test_a_stack_with_another_blue_adopts_nothing() -> None:
    other = {"identity": {"name": "other"}, "deployed": WITH_GATE["deployed"]}
    with pytest.raises(pulumi.RunError, match="blue of this stack is other"):
        held(parse(ADOPTED), {"blue": other})
