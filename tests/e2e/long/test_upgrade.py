"""The upgrade in the guide, from Airflow 2 to 3: blue 2.11.2 is replaced while green owns the work.

With real Airflows. What the tasks did is in a ledger; each test compares a part of it with what is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.e2e.life.new_life import NewLife, begin
from tests.e2e.life.story import DRAINED, Story, due, told

OLD, NEW = "2.11.2", "3.3.1"
DAGS = ("history", "serial_history", "newest")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    versions = {"blue": {"airflow_version": OLD}, "green": {"airflow_version": NEW}}
    with told(tmp_path_factory.mktemp("upgrade"), **versions) as story:
        yield story


@pytest.fixture(scope="module")
def new_blue(story: Story) -> NewLife:
    """Blue 2.11.2 owned, then green; blue is replaced by 3.3.1, and then owns again."""
    story.begin("lives", "life_lives.py")
    story.until("lives", 65)
    first = story.switch("green", "--wait", "--timeout", f"{DRAINED:.0f}").answer(DRAINED + 60)
    assert first.code == 0, first.out + first.err
    story.until("lives", 130)
    count = len(list(due(story.origins["lives"], datetime.now(UTC), 30)))
    return begin(story, "blue", DAGS, ("history",), lambda: count, blue={"airflow_version": NEW})


def test_both_versions_executed_their_share(story: Story, new_blue: NewLife) -> None:
    began = Counter(x.colour for x in story.lines("history", "start") if x.at < new_blue.created)
    assert began["blue"] >= 2
    assert began["green"] >= 2


def test_the_new_major_version_executes_nothing_that_its_predecessor_executed(new_blue: NewLife) -> None:
    new_blue.assert_it_executed_nothing_of_the_old_one()


def test_each_run_was_executed_once_over_all_lives(new_blue: NewLife) -> None:
    new_blue.assert_each_run_was_executed_once()


def test_an_audit_after_the_upgrade_says_nothing_false(new_blue: NewLife) -> None:
    new_blue.assert_its_audits_say_nothing_false()
