"""An environment is removed and added again: its new life executes nothing of the old one.

With real Airflows. What the tasks did is in a ledger; each test compares a part of it with what is right. One
story, told by tests in the order of this file; each fixture is a chapter.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.life.new_life import NewLife, begin
from tests.e2e.life.story import DRAINED, Story, due
from tests.e2e.load.twins import Answer


@dataclass(frozen=True)
class Back:
    """Green owned for a minute, and the work went back to blue while a task was at work on green."""

    green: datetime  # green owned from then on
    blue: datetime
    refused: Answer  # to remove green before it had drained
    closed: Answer  # the drain


@pytest.fixture(scope="module")
def back(story: Story) -> Back:
    story.begin("lives", "life_lives.py")
    story.until("lives", 35)
    green = story.switch("green", "--wait", "--timeout", "30").answer(60)
    story.until("lives", 93)
    blue = story.switch("blue").answer(60)
    assert (green.code, blue.code) == (0, 0), f"{green}\n{blue}"
    refused = story.deploy(enable_blue_green="false")
    closed = story.switch("blue", "--wait", "--timeout", f"{DRAINED:.0f}").answer(DRAINED + 60)
    began, ended = (datetime.fromisoformat(answer.json["owns_from"]) for answer in (green, blue))
    return Back(began, ended, refused, closed)


def test_a_side_whose_books_are_open_is_not_removed(story: Story, back: Back) -> None:
    assert back.refused.code != 0, "green was removed while it was at work"
    assert "mwaactl switch blue --wait" in back.refused.out + back.refused.err
    assert back.closed.code == 0, back.closed.out + back.closed.err
    (slow,) = [x for x in story.done("history") if x.due == story.origins["lives"] + timedelta(seconds=90)]
    assert slow.colour == "green"


@pytest.fixture(scope="module")
def only_blue(story: Story, back: Back) -> datetime:
    """Green has been removed and blue has a new DAG; when the new one's schedule ends."""
    done = story.deploy(enable_blue_green="false")
    assert done.code == 0, done.out + done.err
    return story.begin("left", "life_left.py", ahead=0)


def test_the_one_environment_that_is_left_executes_history_that_the_other_owned(
    story: Story, only_blue: datetime
) -> None:
    period = timedelta(seconds=30)
    instants = list(due(story.origins["lives"] + period, only_blue + period, 30))
    done = story.await_done("new_after_green", len(instants), seconds=120)
    assert Counter(line.due for line in done) == dict.fromkeys(instants, 1)
    assert {line.colour for line in done} == {"blue"}


@pytest.fixture(scope="module")
def new_green(story: Story, only_blue: datetime) -> NewLife:
    """Green beside the old blue, then the owner."""
    mirrored = ("history", "new_after_green", "serial_history")
    origin = story.origins["lives"]

    def expected() -> int:
        return len([*due(origin, datetime.now(UTC), 30), *due(origin, only_blue, 30)])

    return begin(story, "green", mirrored, mirrored, expected, enable_blue_green="true")


def test_the_new_life_of_a_side_executes_nothing_of_the_old_one(new_green: NewLife) -> None:
    new_green.assert_it_executed_nothing_of_the_old_one()
    assert new_green.mirrors >= 10


def test_each_run_was_executed_once_over_all_lives(new_green: NewLife) -> None:
    new_green.assert_each_run_was_executed_once()


def test_an_audit_with_a_new_life_says_nothing_false(new_green: NewLife) -> None:
    new_green.assert_its_audits_say_nothing_false()
