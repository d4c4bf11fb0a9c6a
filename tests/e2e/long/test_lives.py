"""An environment is removed and added again: its new life executes nothing of the old one.

With real Airflows. What the tasks did is in a ledger; each test compares a part of it with what is right. One
story, told by tests in the order of this file; each fixture is a chapter.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from tests.e2e.life.story import DRAINED, Story, due, findings
from tests.e2e.load.twins import Answer, wait_for


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


@dataclass(frozen=True)
class Replaced:
    """A new green beside the old blue, then the owner."""

    created: datetime
    mirrors: int  # runs that the new green made of what it did not own
    audit: Answer  # before the switch
    switch: Answer
    since: datetime
    after: Answer  # an audit


@pytest.fixture(scope="module")
def replaced(story: Story, only_blue: datetime) -> Replaced:
    created = datetime.now(only_blue.tzinfo)
    done = story.deploy(enable_blue_green="true")
    assert done.code == 0, done.out + done.err
    story.push_waves()
    story.restart("green")
    dags = ("history", "new_after_green", "serial_history")
    story.await_dags(*dags, seconds=90)
    now = datetime.now(only_blue.tzinfo)
    count = len([*due(story.origins["lives"], now, 30), *due(story.origins["lives"], only_blue, 30)])

    def caught_up() -> bool:
        runs = [run for dag in dags for run in story.runs("green", dag)]
        return len(runs) > count and all(run["state"] in ("success", "failed") for run in runs)

    wait_for(caught_up, "the new green has made its history", 240)
    audit = story.audit("--since", "1h")
    switch = story.switch("green", "--wait", "--timeout", f"{DRAINED:.0f}").answer(DRAINED + 60)
    assert switch.code == 0, switch.out + switch.err
    since = datetime.fromisoformat(switch.json["owns_from"])

    def works() -> bool:
        return {"history", "newest"} <= {line.dag for line in story.lines(what="done") if line.due > since}

    wait_for(works, "runs after the switch", 90)
    return Replaced(created, count, audit, switch, since, story.audit("--since", "1h"))


def test_the_new_life_of_a_side_executes_nothing_of_the_old_one(story: Story, replaced: Replaced) -> None:
    new = [x for x in story.lines() if x.colour == "green" and x.at > replaced.created]
    assert [line for line in new if line.due < replaced.since] == []
    assert new, "the new green was to execute something after the switch"
    assert replaced.mirrors >= 10


def test_each_run_was_executed_once_over_all_lives(story: Story, replaced: Replaced) -> None:
    counts = Counter((line.dag, line.due) for line in story.lines(what="done"))
    assert [key for key, count in counts.items() if count > 1] == []
    executed = {instant for dag, instant in counts if dag == "history"}
    assert set(due(story.origins["lives"] + timedelta(seconds=30), replaced.since, 30)) <= executed


@pytest.mark.parametrize("when", ["audit", "after"])
def test_an_audit_with_a_new_life_says_nothing_false(replaced: Replaced, when: str) -> None:
    answer: Answer = getattr(replaced, when)
    assert findings(answer) == []
    assert answer.code == 0
