"""How long deployments, changes of mode and changes of settings take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mwaactl.cost.plan import Plan, plainly, plan
from mwaactl.cost.program import PROJECT, Settings, deployed, registered, settings_of_stack
from mwaactl.json_model import Model

# The two booleans of each mode.
SWITCHES = {
    "standard": ("false", "false"),
    "bluegreen": ("true", "false"),
    "hamarquez": ("false", "true"),
    "fullha": ("true", "true"),
}
# What the reference document says of a deployment, minutes.
REFERENCE = {"standard": 30, "bluegreen": 45, "hamarquez": 35, "fullha": 60}


class Plans(Model):
    """What `mwaactl plan-time` prints; `reference`: minutes of the reference document, by mode."""

    plans: tuple[Plan, ...]
    reference: Mapping[str, int] = {}


def deployments(folder: Path, modes: Sequence[str], changes: Mapping[str, str]) -> Plans:
    """Of each mode, from nothing."""
    found = registered(folder, [Settings(mode, changes=changes) for mode in modes])
    plans = [plan(mode, [], resources) for mode, resources in zip(modes, found, strict=True)]
    return Plans(plans=tuple(plans), reference=REFERENCE)


def mode_changes(folder: Path, old: str, modes: Sequence[str], changes: Mapping[str, str]) -> Plans:
    """From a stack in mode `old` to each of `modes`: the two booleans change, and `changes`; nothing else."""
    start = Settings(old)
    before, *found = registered(
        folder, [start, *(start.changed(_switches(mode)).changed(changes) for mode in modes)]
    )
    plans = [
        plan(f"{old} to {mode}", before, resources) for mode, resources in zip(modes, found, strict=True)
    ]
    return Plans(plans=tuple(plans))


def of_stack(folder: Path, stack: str, changes: Mapping[str, str]) -> Plans:
    """What `pulumi up` would take now."""
    settings = settings_of_stack(stack, folder).changed(changes)
    (wanted,) = registered(folder, [settings])
    return Plans(plans=(plan(stack, deployed(stack, folder), wanted, plainly),))


def _switches(mode: str) -> dict[str, str]:
    blue_green, ha_marquez = SWITCHES[mode]
    return {f"{PROJECT}:enable_blue_green": blue_green, f"{PROJECT}:enable_ha_marquez": ha_marquez}
