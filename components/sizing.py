"""What a mode promises and a small size does not keep: a warning when a stack enters the mode.

A change of the two booleans leaves all other settings as they are, those of a development stack included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi

from components.config.rules import SMALLEST_CLASS
from components.config.settings import Settings, declared_defaults

SIZES = ("environment_class", "schedulers", "max_workers")


def warn_of_small_sizes(settings: Settings, previous: Mapping[str, Any]) -> None:
    """Warn once, before the first run in this mode. `previous`: the stack's outputs before this run."""
    if previous.get("mode") == settings.mode:
        return
    lines = list(small_sizes(settings))
    if lines:
        pulumi.warn("\n".join([f"This stack becomes {settings.mode} with the sizes of a small one:", *lines]))


def small_sizes(settings: Settings) -> Iterator[str]:
    """Each setting that keeps a single point of failure, and the commands that change it."""
    if settings.mode == "standard":
        return
    stack, defaults = settings.stack, declared_defaults()
    if settings.nat == "single":
        yield "nat is single: if its zone fails, nothing in the private subnets reaches the internet."
        yield f"  pulumi config set nat per_az -s {stack}"
    for colour in settings.colours:
        if settings.environment(colour).environment_class != SMALLEST_CLASS:
            continue
        yield f"environment_class of {colour} is {SMALLEST_CLASS}: one scheduler, one worker, no scaling."
        for key in SIZES:
            yield f"  pulumi config set {settings.path(colour, key)} {defaults[key]} -s {stack}"
