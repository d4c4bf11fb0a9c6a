"""Plugins of two versions, and a value that only the newer one can read, with real Airflows.

As in every upgrade: green gets its new plugins.zip before blue. What the tasks did is in a ledger.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from bluegreen import document

from tests.e2e.life.story import Story, due
from tests.e2e.load.twins import Answer, wait_for

NEWER = document.FORMAT + 1
FILE = "bluegreen/document.py"


def next_release(files: dict[str, bytes]) -> dict[str, bytes]:
    """plugins.zip as a release would have it that reads values of a newer format."""
    now, then = (f"\nFORMAT: Final = {number}\n".encode() for number in (document.FORMAT, NEWER))
    assert files[FILE].count(now) == 1
    return files | {FILE: files[FILE].replace(now, then)}


@dataclass(frozen=True)
class Mixed:
    """Green had newer plugins, then a newer value gave it the work; then blue had them too."""

    status: Answer  # with the checks, when the plugins differed
    since: datetime  # green owns by the newer value
    refused: Answer  # a switch back by the older `mwaactl`
    version: int  # of the newer value
    during: list[
        tuple[str, datetime]
    ]  # what was executed of what was due from `since` on, before blue's update
    skipped: list[str]  # runs that blue had skipped by then
    updated: datetime  # blue has the newer plugins


@pytest.fixture(scope="module")
def mixed(story: Story) -> Mixed:
    story.begin("plugins", "life_plugins.py")
    story.until("plugins", 5)
    story.update_plugins({"green": next_release})
    status = story.mwaactl("switch", "green", "--dry-run")
    newest = max(story.versions(), key=lambda version: version.number)
    content = json.loads(newest.value)
    since, version = datetime.now(UTC) + timedelta(seconds=6), newest.number + 1
    content |= {"format": NEWER, "reader": NEWER, "base_version": newest.number}
    owner = {**content["owners"][-1], "owner": "green", "since": since.isoformat(), "version": version}
    owner["life"] = story.outputs["airflow_environments"]["green"]["life"]
    content["owners"] = [*content["owners"], owner]
    assert story.write(json.dumps(content)) == version
    refused = story.mwaactl("switch", "blue", "--yes")

    def executed() -> set[datetime]:
        return {line.due for line in story.done("steady") if line.due > since and line.colour == "green"}

    wait_for(lambda: len(executed()) >= 2, "two runs on green by the newer value", 120)
    during = [(line.colour, line.due) for line in story.lines("steady", "start") if line.due > since]
    skipped = [run["dag_run_id"] for run in story.runs("blue", "steady") if run["state"] == "success"]
    unjudged = {instant.isoformat()[:19] for instant in executed()}
    story.update_plugins({"blue": next_release})
    return Mixed(
        status,
        since,
        refused,
        version,
        during,
        [run for run in skipped if run.removeprefix("scheduled__")[:19] in unjudged],
        datetime.now(UTC),
    )


def test_unequal_plugins_are_a_check_of_their_own(mixed: Mixed) -> None:
    checks = {c["name"]: c for c in mixed.status.json["checks"] if "plugins" in c["name"]}
    assert [c["result"] for c in checks.values()] in (["warn"], ["fail"]), mixed.status.out


def test_a_value_that_cannot_be_read_is_no_verdict(mixed: Mixed) -> None:
    assert {colour for colour, _ in mixed.during} == {"green"}
    assert mixed.skipped == [], "blue skipped what it could not know to be green's"


def test_an_older_writer_refuses_a_newer_value(story: Story, mixed: Mixed) -> None:
    assert mixed.refused.code == 6, mixed.refused.out + mixed.refused.err
    assert max(version.number for version in story.versions()) == mixed.version


def test_with_equal_plugins_again_each_run_has_been_executed_once(story: Story, mixed: Mixed) -> None:
    def settled() -> bool:
        runs = [run for run in story.runs("blue", "steady") if run["state"] not in ("success", "failed")]
        return not [run for run in runs if datetime.fromisoformat(run["run_after"]) < mixed.updated]

    wait_for(settled, "blue's tasks have their verdict", 120)
    first, last = story.origins["plugins"] + timedelta(seconds=30), mixed.updated - timedelta(seconds=5)
    instants = list(due(first, last, 30))
    counts = Counter(line.due for line in story.done("steady"))
    assert {instant: counts[instant] for instant in instants} == dict.fromkeys(instants, 1)
    states = {run["state"] for run in story.runs("blue", "steady")}
    assert states == {"success"}, "a task without a verdict fails, and its retries come after the update"
