"""A mode with the sizes of a development stack: said when the stack enters it."""

from __future__ import annotations

import re

import pytest

from components.sizing import small_sizes
from tests.fakes.pulumi_mocks import MODES, deploy
from tests.unit.components.config.test_settings import parse

MICRO = {"environment_class": "mw1.micro", "max_workers": 1, "schedulers": 1, "nat": "single"}
HA = {"enable_blue_green": True, "enable_ha_marquez": True}


def test_standard_made_into_full_ha_is_warned_of_with_the_commands() -> None:
    previous = deploy("standard").exports
    (warning,) = deploy("standard", HA, previous=previous).warnings
    assert warning.startswith("This stack becomes fullha with the sizes of a small one:")
    for command in (
        "nat per_az",
        "environment_class mw1.small",
        "schedulers 2",
        "max_workers 5",
    ):
        assert f"  pulumi config set {command} -s standard" in warning


def test_it_is_said_once() -> None:
    previous = deploy("standard", HA).exports
    assert deploy("standard", HA, previous=previous).warnings == []


@pytest.mark.parametrize("mode", MODES)
def test_the_stack_files_own_sizes_are_what_the_mode_promises(mode: str) -> None:
    assert deploy(mode).warnings == []


def test_the_commands_leave_nothing_to_warn_of() -> None:
    green = {**MICRO, "max_workers": 1}
    del green["nat"]
    settings = parse({**HA, **MICRO, "green": green})
    commands = [line for line in small_sizes(settings) if "pulumi" in line]
    changed: dict[str, object] = {**HA, **MICRO, "green": dict(green)}
    for command in commands:
        found = re.fullmatch(r"  pulumi config set (?:--path green\.)?(\w+) (\S+) -s test", command)
        assert found is not None, command
        if "--path" in command:
            changed["green"] = {**changed["green"], found[1]: found[2]}  # type: ignore[dict-item]
        else:
            changed[found[1]] = found[2]
    assert list(small_sizes(parse(changed))) == []
