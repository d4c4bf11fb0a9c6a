"""Refusals of settings: the commands in them, and several that are raised at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pulumi

from components.config.settings import Settings


def commands(settings: Settings, *keys: str) -> str:
    """The commands that set these again, one a line."""
    return "\n".join(
        f"  pulumi config set {f'--path {key!r}' if '[' in key else key} <value> -s {settings.stack}"
        for key in keys
    )


class Refusals:
    """The refusals of checks that do not build on each other."""

    def __init__(self) -> None:
        self._said: list[str] = []

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the pulumi.RunError of what runs inside; anything else is raised as ever."""
        try:
            yield
        except pulumi.RunError as error:
            self._said.append(str(error))

    def raise_all(self) -> None:
        """Raises pulumi.RunError with all of them, if there are any."""
        if self._said:
            raise pulumi.RunError("\n".join(self._said))
