"""The sides that one run of the engine leaves alone, as `mwaactl rollout` tells the program.

The program plans all sides and cannot see what the engine excludes, so the guard would refuse a run that
leaves out what it minds. `mwaactl rollout` names those sides in a variable, and the guard judges the others.
Set by hand, the variable opens nothing: an update that touches a side it names fails there, before AWS is
asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pulumi
from bluegreen.timeline import COLOURS, Colour

VARIABLE = "MWAA_ROLLOUT_LEAVES_ALONE"


def left_alone() -> frozenset[Colour]:
    """Those sides. Raises pulumi.RunError if the variable names anything else."""
    names = frozenset(filter(None, os.environ.get(VARIABLE, "").split(",")))
    if unknown := sorted(names.difference(COLOURS)):
        raise pulumi.RunError(f"{VARIABLE} is set by `mwaactl rollout` alone; {unknown[0]!r} is no side")
    return frozenset(colour for colour in COLOURS if colour in names)


def refusal(colour: Colour, stack: str) -> pulumi.ResourceHook:
    """A hook that stops an update (a preview is harmless) of what this run was to leave alone."""
    return pulumi.ResourceHook(f"mwaa-{colour}-is-left-alone", _refuse(colour, stack))


def _refuse(colour: Colour, stack: str) -> Callable[[pulumi.ResourceHookArgs], Any]:
    async def refuse(args: pulumi.ResourceHookArgs) -> None:
        raise RuntimeError(
            f"{args.name} would be changed, and {VARIABLE} says that this run leaves {colour} alone. Only "
            f"`mwaactl rollout` may set it:\n  unset {VARIABLE}\n  mwaactl rollout -s {stack}"
        )

    return refuse
