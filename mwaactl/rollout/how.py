"""How to roll out: the options of the command, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from bluegreen.timeline import Colour, other_colour

from mwaactl.canary.progressive import Canary
from mwaactl.checks.registry import forced_checks
from mwaactl.deployment import Deployment


@dataclass(frozen=True)
class How:
    """How to roll out.

    `limit`: of each wait for Amazon and the standby; `drain`: of each drain, None: no limit.
    """

    back: bool = False
    force: Collection[str] = ()
    limit: timedelta = timedelta(hours=1)
    drain: timedelta | None = None
    reason: str = ""
    canary: Canary | None = None

    @property
    def options(self) -> list[str]:
        """As they are typed: those that the outcome depends on."""
        return [
            *(["--return"] if self.back else []),
            *(word for name in sorted(self.force) for word in ("--force", name)),
            *(self.canary.options if self.canary else ()),
        ]

    def check(self, deployment: Deployment, owner: Colour) -> None:
        """Raises UsageError for what would be found wrong only once the standby is updated; Unreachable."""
        forced_checks(self.force)
        if self.canary is not None:
            next(self.canary.steps(deployment, other_colour(owner)))
