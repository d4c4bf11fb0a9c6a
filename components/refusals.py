"""Several checks, all of whose refusals are raised at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pulumi


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
