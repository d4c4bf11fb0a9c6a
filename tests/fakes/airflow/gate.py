"""Doubles of what the gate reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bluegreen.store import Answer
from bluegreen.timeline import Timeline

from tests.fakes.timeline import dumped


def always(timeline: Timeline, version: int, modified: datetime) -> Callable[[Answer | None], Answer]:
    """A parameter whose newest version is valid and stays."""
    record = (dumped(timeline), version, modified)
    return lambda _known: Answer(record, record)
