"""The ownership of a stack whose environments are in their first life."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from bluegreen.document import Fetch, dump, parse
from bluegreen.settings import Settings
from bluegreen.timeline import EPOCH, LEAD, Colour, Timeline

LIVES: Final[dict[Colour, str]] = {"blue": "blue-1", "green": "green-1"}


def initial(owner: Colour = "blue", lead: timedelta = LEAD) -> Timeline:
    """`owner` owns everything; both environments exist."""
    return Timeline.initial(owner, LIVES[owner], lead).seen_with(LIVES)


def dumped(timeline: Timeline, now: datetime = EPOCH) -> str:
    """The value of a timeline that fits into the parameter; by default, nothing of it is forgotten."""
    document = dump(timeline, now)
    assert document.content is None
    return document.value


def parsed(value: str, fetch: Fetch | None = None) -> Timeline:
    """The timeline of a value, for a reader who knows both environments."""
    return parse(value, fetch).seen_with(LIVES)


def gate_settings(colour: Colour, **changes: object) -> Settings:
    """The gate's settings in one environment."""
    options: dict[str, object] = {
        "environment": colour,
        "life": LIVES[colour],
        "parameter": "/p/s/ownership",
        "bucket": "log",
        **changes,
    }
    return Settings(**options)  # type: ignore[arg-type]


GATE_OPTIONS: Final = {
    "ENVIRONMENT": "green",
    "LIFE": LIVES["green"],
    "PARAMETER": "/p/s/ownership",
    "BUCKET": "log",
    "HOSTS": "30",
}
"""The gate's options in green, by the end of their environment variable (AIRFLOW__BLUEGREEN__...)."""
