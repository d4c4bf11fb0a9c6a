"""Times and durations of the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mwaactl.cli.times import duration, past
from mwaactl.errors import UsageError

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0s", timedelta()),
        ("90m", timedelta(minutes=90)),
        ("1.5h", timedelta(hours=1.5)),
        ("3650d", timedelta(days=3650)),
    ],
)
def test_a_duration_has_a_unit(text: str, expected: timedelta) -> None:
    assert duration(text, "--soak") == expected
    assert past(text, NOW, "--since") == NOW - expected


@pytest.mark.parametrize("text", ["3651d", "99999999999d", "999999999d", "9" * 400 + "s"])
def test_a_duration_that_no_calendar_has_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="--soak must be at most 3650d, not '"):
        duration(text, "--soak")
    with pytest.raises(UsageError, match="--since must be at most 3650d, not '"):
        past(text, NOW, "--since")


@pytest.mark.parametrize("text", ["", "soon", "-1h", "1w", "1h30m", "2026-11-23T09:00:00Z"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="--soak must be like 90m or 3h, not '"):
        duration(text, "--soak")


def test_an_instant_has_a_zone_and_is_near() -> None:
    assert past("2026-11-23T11:00:00+02:00", NOW, "--since") == datetime(2026, 11, 23, 9, tzinfo=UTC)
    with pytest.raises(UsageError, match="--since must be like"):
        past("2026-11-23T11:00:00", NOW, "--since")


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z"]
)
def test_an_instant_far_away_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="--since must be within 3650 days of now, not '"):
        past(text, NOW, "--since")
