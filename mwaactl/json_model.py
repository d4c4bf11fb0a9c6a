"""The base of everything that `--json` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer


def iso(instant: datetime) -> str:
    """Format an instant in UTC, the same everywhere: `2026-11-23T10:00:05.123Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(iso, return_type=str, when_used="json")]


class Model(BaseModel):
    """Immutable; unknown field names are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
