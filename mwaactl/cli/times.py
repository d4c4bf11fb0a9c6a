"""Times in the past and durations, as operators type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mwaactl.errors import UsageError

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str, option: str) -> timedelta:
    """Parse `90m` or `3h`; UsageError for anything else."""
    match = _AGO.fullmatch(text)
    if match is None:
        raise UsageError(f"{option} must be like 90m or 3h, not {text!r}")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def past(text: str, now: datetime, option: str) -> datetime:
    """Parse `15m`, `24h`, `7d` (ago) or a time such as 2026-11-23T10:00:00Z; UsageError for anything else."""
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(f"{option} must be like 15m, 24h, 7d or 2026-11-23T10:00:00Z, not {text!r}")
    return instant.astimezone(UTC)
