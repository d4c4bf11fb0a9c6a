"""The life of an environment; tests/engine/test_life.py has what the engine makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.airflow.life import OPTION, refuse_a_second_time
from tests.fakes.pulumi_mocks import Deployment, deploy, plain

Deployed = Callable[[str], Deployment]


def test_a_life_is_kept_by_what_keeps_the_environment(deployed: Deployed) -> None:
    fullha = deployed("fullha")
    for colour, output in fullha.exports["airflow_environments"].items():
        life = fullha.resource("RandomId", f"mwaa-{colour}")
        assert life.inputs["byteLength"] == 8
        assert life.inputs["keepers"].keys() == output["identity"].keys()
        assert life.inputs["keepers"]["name"] == f'"mwaa-openlineage-fullha-{colour}"'


def test_the_life_is_an_option_an_output_and_no_secret(deployed: Deployed) -> None:
    fullha = deployed("fullha")
    for colour, output in fullha.exports["airflow_environments"].items():
        environment = fullha.resource("Environment", f"mwaa-{colour}")
        assert (
            plain(environment.inputs["airflowConfigurationOptions"])[OPTION] == output["life"] == "1234abcd"
        )


def test_a_new_life_is_a_new_environment_and_its_name_is_free_before_it_is_created(
    deployed: Deployed,
) -> None:
    request = deployed("standard").resource("Environment", "mwaa-blue").request
    assert request.replacement_trigger.string_value == "1234abcd"
    assert request.deleteBeforeReplace


@pytest.mark.parametrize("changes", [{"vpc_cidr": "10.9.0.0/16"}, {"airflow_version": "2.11.2"}], ids=str)
def test_what_replaces_the_environment_changes_the_keepers(changes: dict[str, Any]) -> None:
    before = deploy("standard").resource("RandomId", "mwaa-blue").inputs
    after = deploy("standard", changes).resource("RandomId", "mwaa-blue").inputs
    assert before != after


@pytest.mark.parametrize("changes", [{"max_workers": 9}, {"airflow_version": "3.2.1"}], ids=str)
def test_what_updates_the_environment_leaves_the_keepers(changes: dict[str, Any]) -> None:
    sized = {"environment_class": "mw1.small", "schedulers": 2}
    before = deploy("standard", sized).resource("RandomId", "mwaa-blue").inputs
    after = deploy("standard", {**sized, **changes}).resource("RandomId", "mwaa-blue").inputs
    assert before == after


def create(life: str | None, *, previous: str | None) -> None:
    """Call the hook as the engine does; None: the life is not known yet, in a preview."""

    async def call() -> None:
        options = None if life is None else pulumi.Output.secret({OPTION: life})
        inputs = {"airflowConfigurationOptions": options}
        args = pulumi.ResourceHookArgs("urn", "", "mwaa-blue", "type", new_inputs=inputs)
        await refuse_a_second_time(previous, pulumi.Output.from_input("urn:life"), "s")(args)

    asyncio.run(call())


def test_an_environment_is_not_created_with_the_life_of_the_one_before_it() -> None:
    with pytest.raises(RuntimeError, match="life of the environment before it") as raised:
        create("old", previous="old")
    assert "pulumi up --replace 'urn:life' -s s" in str(raised.value)


def test_an_environment_is_created_with_a_life_of_its_own() -> None:
    create("new", previous="old")
    create("new", previous=None)
    create(None, previous="old")
