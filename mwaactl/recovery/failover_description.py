"""How a failover describes itself in the ownership parameter's history.

Operators read it, and so does the command itself when it continues an interrupted failover.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from bluegreen.timeline import Colour

from mwaactl.json_model import iso

_TEXT = re.compile(
    r"mwaactl failover to (?P<target>blue|green), since (?P<since>\S+?Z)"
    r"(?: \[forced: (?P<forced>[^]]*)\])?(?:: (?P<reason>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class FailoverDescription:
    """The description of a version of the ownership that a failover wrote."""

    target: Colour
    since: datetime  # to the millisecond
    forced: tuple[str, ...] = ()  # names of checks
    reason: str = ""

    def text(self) -> str:
        """The text that `parse` reads back. The reason comes last, so SSM's length limit cuts only that."""
        return (
            f"mwaactl failover to {self.target}, since {iso(self.since)}"
            + (f" [forced: {', '.join(self.forced)}]" if self.forced else "")
            + (f": {self.reason}" if self.reason else "")
        )

    @classmethod
    def parse(cls, text: str) -> FailoverDescription | None:
        """Parse a description; None if another command wrote it."""
        match = _TEXT.match(text)
        if match is None:
            return None
        try:
            since = datetime.fromisoformat(match["since"])
        except ValueError:
            return None
        forced = tuple(match["forced"].split(", ")) if match["forced"] else ()
        return cls(cast(Colour, match["target"]), since, forced, match["reason"] or "")
