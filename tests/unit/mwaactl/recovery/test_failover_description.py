"""What a failover writes into the history is what it reads back when it continues."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mwaactl.ownership.parameter import DESCRIPTION_LIMIT
from mwaactl.recovery.failover import CHECKS
from mwaactl.recovery.failover_description import FailoverDescription

SINCE = datetime(2026, 11, 23, 10, 45, tzinfo=UTC)
CENTURIES = 19 * 36525 * 24 * 3600 * 1000  # so many before and after, in milliseconds
INSTANTS = st.builds(
    lambda milliseconds, hours: (SINCE + timedelta(milliseconds=milliseconds)).astimezone(
        timezone(timedelta(hours=hours))
    ),
    st.integers(-CENTURIES, CENTURIES),
    st.integers(-23, 23),
)
DESCRIPTIONS = st.builds(
    FailoverDescription,
    target=st.sampled_from(["blue", "green"]),
    since=INSTANTS,
    forced=st.lists(st.sampled_from(CHECKS), unique=True).map(tuple),
    reason=st.text(),
)
EXPECTED = "mwaactl failover to green, since 2026-11-23T10:45:00.000Z"


@given(DESCRIPTIONS)
@example(FailoverDescription("green", SINCE, (), " [forced: fenced]: a reason, since 2026-01-01T00:00:00Z"))
@example(FailoverDescription("blue", SINCE, CHECKS, "two\nlines: and a colon\n"))
def test_what_is_written_is_read_back(description: FailoverDescription) -> None:
    assert FailoverDescription.parse(description.text()) == description


@given(DESCRIPTIONS)
@example(FailoverDescription("green", SINCE, CHECKS))
def test_the_limit_of_ssm_cuts_only_the_reason(description: FailoverDescription) -> None:
    long = replace(description, reason=description.reason + DESCRIPTION_LIMIT * "x")
    parsed = FailoverDescription.parse(long.text()[:DESCRIPTION_LIMIT])
    assert parsed is not None
    assert replace(parsed, reason=long.reason) == long
    assert parsed.text() == long.text()[:DESCRIPTION_LIMIT]


@pytest.mark.parametrize(
    ("forced", "reason", "text"),
    [
        ((), "", EXPECTED),
        ((), "blue is dead", f"{EXPECTED}: blue is dead"),
        (("target-api", "fenced"), "", f"{EXPECTED} [forced: target-api, fenced]"),
        (("fenced",), "drill", f"{EXPECTED} [forced: fenced]: drill"),
    ],
)
def test_it_reads_as_a_sentence(forced: tuple[str, ...], reason: str, text: str) -> None:
    assert FailoverDescription("green", SINCE, forced, reason).text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mwaactl switch green: failover to green, since 2026-11-23T10:45:00.000Z",
        "mwaactl switch green, only etl, once idle",
        "mwaactl: put version 7 back on top",
        "mwaactl failover to red, since 2026-11-23T10:45:00.000Z",
        "mwaactl failover to green, since yesterdayZ",
        "mwaactl failover to green, since 2026-11-23T10:45:00.000",
        f" {EXPECTED}",
    ],
)
def test_the_descriptions_of_other_commands_are_none(text: str) -> None:
    assert FailoverDescription.parse(text) is None


@given(st.text())
def test_nothing_else_is_taken_for_a_failover(text: str) -> None:
    assert FailoverDescription.parse(f"mwaactl switch green: {text}") is None
    if not text.startswith("mwaactl failover to "):
        assert FailoverDescription.parse(text) is None
