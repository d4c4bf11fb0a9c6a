"""`mwaactl rollout` of an option, while DAGs are at work: killed once in the middle, and repeated.

With real Airflows; an update of an environment ends the tasks that run there, as Amazon's does (FORCED). So a
rollout that updated the owner would be seen in the ledger, where the tasks write what they do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bluegreen.document import parse as parsed

from tests.e2e.conftest import CHECKOUT
from tests.e2e.life.story import Story, due, findings, told
from tests.e2e.load.twins import OPTIONS, STACK, Answer, wait_for

DAGS = ("history", "serial_history", "newest")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with told(tmp_path_factory.mktemp("rollout"), gate_probe_minutes=1) as story:
        yield story


class Rollout:
    """The command, with what it has printed so far."""

    def __init__(self, story: Story, *arguments: str) -> None:
        config = story.change(airflow_options={**OPTIONS, "core.parallelism": "12"})
        command = ["mwaactl", "rollout", "-s", STACK, "--config-file", str(config), "--json", *arguments]
        self.process = subprocess.Popen(
            command, cwd=CHECKOUT, env=story.env, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.events: list[dict[str, Any]] = []

    def until(self, stage: str) -> bool:
        """Read its events up to one of that stage; False if it has ended without."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1].get("stage") == stage:
                return True
        self.process.wait(60)
        return False

    def kill(self) -> None:
        """End it and Pulumi's process, if they still run."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass(frozen=True)
class RolledOut:
    first: list[dict[str, Any]]  # events of the one that was killed
    second: list[dict[str, Any]]
    updated: dict[str, datetime]  # when the update of each environment began
    switched: datetime  # green owned the work from then on
    until: datetime
    audit: Answer


@pytest.fixture(scope="module")
def rolled_out(story: Story) -> RolledOut:
    story.begin("lives", "life_lives.py")
    story.await_dags(*DAGS)
    story.until("lives", 30)
    first = Rollout(story)
    try:
        assert first.until("switch"), first.events
    finally:
        first.kill()
    second = Rollout(story)
    try:
        second.until("nothing of that name")
    finally:
        code = second.process.poll()
        second.kill()
    assert code == 0, (first.events, second.events)
    since = datetime.now(UTC)

    def works() -> bool:
        return {"history", "newest"} <= {line.dag for line in story.lines(what="done") if line.due > since}

    wait_for(works, "runs after the rollout", 120)
    return RolledOut(
        first.events,
        second.events,
        {colour: story.environment(colour)["LastUpdate"]["CreatedAt"] for colour in story.names},
        parsed(story.versions()[-1].value, story.content).owners[-1].since,
        since,
        story.audit("--since", "1h"),
    )


def test_killed_after_the_switch_the_same_command_goes_on(rolled_out: RolledOut) -> None:
    stages = [event["stage"] for event in rolled_out.first if event["stage"] not in ("wait", "step")]
    assert stages == ["plan", "apply", "ready", "switch"]
    stages = [event["stage"] for event in rolled_out.second if event["stage"] not in ("wait", "step")]
    assert stages == ["plan", "drain", "apply", "done"]


def test_each_side_was_updated_while_the_other_owned_the_work(story: Story, rolled_out: RolledOut) -> None:
    assert rolled_out.updated["green"] < rolled_out.switched < rolled_out.updated["blue"]
    for colour in story.names:
        assert story.environment(colour)["AirflowConfigurationOptions"]["core.parallelism"] == "12"


def test_no_run_was_lost_and_none_was_executed_twice(story: Story, rolled_out: RolledOut) -> None:
    counts = Counter((line.dag, line.task, line.due) for line in story.lines(what="done"))
    assert [key for key, count in counts.items() if count > 1] == []
    began = Counter((line.dag, line.task, line.due) for line in story.lines(what="start"))
    assert [key for key, count in began.items() if count > 1] == [], "a task that was ended by an update"
    executed = {instant for dag, _, instant in counts if dag == "history"}
    assert set(due(story.origins["lives"] + timedelta(seconds=30), rolled_out.until, 30)) <= executed


def test_each_side_executed_its_share(story: Story, rolled_out: RolledOut) -> None:
    by = Counter(line.colour for line in story.lines("history", "start"))
    assert min(by["blue"], by["green"]) >= 2
    late = [line for line in story.lines(what="start") if line.due >= rolled_out.switched]
    assert {line.colour for line in late if line.dag != "serial_history"} == {"green"}


def test_an_audit_after_the_rollout_finds_nothing(rolled_out: RolledOut) -> None:
    assert findings(rolled_out.audit) == []
    assert rolled_out.audit.code == 0
