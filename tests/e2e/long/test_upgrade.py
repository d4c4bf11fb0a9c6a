"""The upgrade in the guide, from Airflow 2 to 3: blue 2.11.2 is replaced while green owns the work.

With real Airflows. What the tasks did is in a ledger; each test compares a part of it with what is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.life.story import DRAINED, Story, due, findings, told
from tests.e2e.load.twins import Answer, wait_for

OLD, NEW = "2.11.2", "3.3.1"
DAGS = ("history", "serial_history", "newest")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    versions = {"blue": {"airflow_version": OLD}, "green": {"airflow_version": NEW}}
    with told(tmp_path_factory.mktemp("upgrade"), **versions) as story:
        yield story


@dataclass(frozen=True)
class Upgraded:
    """Blue 2.11.2 owned, then green; blue was replaced by 3.3.1, and then owned again."""

    first: Answer  # the switch to green
    created: datetime  # the new blue
    audit: Answer  # while it stood by
    since: datetime  # the new blue owned from then on
    after: Answer  # an audit


@pytest.fixture(scope="module")
def upgraded(story: Story) -> Upgraded:
    story.begin("lives", "life_lives.py")
    story.until("lives", 65)
    first = story.switch("green", "--wait", "--timeout", f"{DRAINED:.0f}").answer(DRAINED + 60)
    assert first.code == 0, first.out + first.err
    story.until("lives", 130)
    created = datetime.now(UTC)
    done = story.deploy(blue={"airflow_version": NEW})
    assert done.code == 0, done.out + done.err
    story.push_waves()
    story.restart("blue")
    story.await_dags(*DAGS, seconds=90)
    count = len(list(due(story.origins["lives"], created, 30)))

    def caught_up() -> bool:
        runs = story.runs("blue", "history")
        return len(runs) > count and all(run["state"] in ("success", "failed") for run in runs)

    wait_for(caught_up, "the new blue has made its history", 240)
    audit = story.audit("--since", "1h")
    back = story.switch("blue", "--wait", "--timeout", f"{DRAINED:.0f}").answer(DRAINED + 60)
    assert back.code == 0, back.out + back.err
    since = datetime.fromisoformat(back.json["owns_from"])

    def works() -> bool:
        return {"history", "newest"} <= {line.dag for line in story.lines(what="done") if line.due > since}

    wait_for(works, "runs after the switch", 90)
    return Upgraded(first, created, audit, since, story.audit("--since", "1h"))


def test_both_versions_executed_their_share(story: Story, upgraded: Upgraded) -> None:
    began = Counter(x.colour for x in story.lines("history", "start") if x.at < upgraded.created)
    assert began["blue"] >= 2
    assert began["green"] >= 2


def test_the_new_major_version_executes_nothing_that_its_predecessor_executed(
    story: Story, upgraded: Upgraded
) -> None:
    new = [line for line in story.lines() if line.colour == "blue" and line.at > upgraded.created]
    assert [line for line in new if line.due < upgraded.since] == []
    assert new


def test_each_run_was_executed_once_over_all_lives(story: Story, upgraded: Upgraded) -> None:
    counts = Counter((line.dag, line.due) for line in story.lines(what="done"))
    assert [key for key, count in counts.items() if count > 1] == []
    executed = {instant for dag, instant in counts if dag == "history"}
    assert set(due(story.origins["lives"] + timedelta(seconds=30), upgraded.since, 30)) <= executed


@pytest.mark.parametrize("when", ["audit", "after"])
def test_an_audit_after_the_upgrade_says_nothing_false(upgraded: Upgraded, when: str) -> None:
    answer: Answer = getattr(upgraded, when)
    assert findings(answer) == []
    assert answer.code == 0
