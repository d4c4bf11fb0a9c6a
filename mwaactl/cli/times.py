"""Times and durations, as operators type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mwaactl.errors import UsageError

LONGEST = timedelta(days=3650)  # so that no sum of instants leaves the calendar
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str, option: str) -> timedelta:
    """Parse `90m` or `3h`, up to ten years; UsageError for anything else."""
    found = _parsed(text, option)
    if found is None:
        raise UsageError(f"{option} must be like 90m or 3h, not {text!r}")
    return found


def past(text: str, now: datetime, option: str) -> datetime:
    """Parse `15m`, `24h`, `7d` (ago) or a time such as 2026-11-23T10:00:00Z; UsageError for anything else.

    It is within ten years of now.
    """
    ago = _parsed(text, option)
    if ago is not None:
        return now - ago
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(f"{option} must be like 15m, 24h, 7d or 2026-11-23T10:00:00Z, not {text!r}")
    if abs(instant - now) > LONGEST:
        raise UsageError(f"{option} must be within {LONGEST.days} days of now, not {text!r}")
    return instant.astimezone(UTC)


def _parsed(text: str, option: str) -> timedelta | None:
    match = _AGO.fullmatch(text)
    if match is None:
        return None
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST.total_seconds():
        raise UsageError(f"{option} must be at most {LONGEST.days}d, not {text!r}")
    return timedelta(seconds=seconds)
