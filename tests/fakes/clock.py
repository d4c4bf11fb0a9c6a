"""The time of the doubles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


class Clock:
    """A time that moves only when a test moves it.

    `now` is its wall-clock time, `seconds` (or a call) the time since START as a monotonic clock counts it.
    """

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds

    @property
    def seconds(self) -> float:
        return (self.now - START).total_seconds()

    @seconds.setter
    def seconds(self, value: float) -> None:
        self.now = START + timedelta(seconds=value)

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def minutes(count: float) -> datetime:
    """The instant `count` minutes after START."""
    return START + timedelta(minutes=count)


def at(seconds: float) -> datetime:
    """The instant `seconds` after START."""
    return START + timedelta(seconds=seconds)


def stop_time(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Let `mwaactl` read the time from `clock`, which its sleeping moves; no real time passes."""
    monkeypatch.setattr("mwaactl.clock.now", lambda: clock.now)
    monkeypatch.setattr("mwaactl.clock.sleep", clock.forward)
    monkeypatch.setattr("mwaactl.airflow.rest.Pace.wait", lambda pace: None)
