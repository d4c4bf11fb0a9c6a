"""`mwaactl rollout` of an option, killed after each of its parts and repeated; and one with a bad canary.

With real Airflows. An update of an environment ends the tasks that run there, as Amazon's does (FORCED). So a
rollout that updated the owner would be seen in the ledger, where the tasks write what they do.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.life.story import Story, due, findings, told
from tests.e2e.load.rollout import Events, Rollout, stages
from tests.e2e.load.twins import OPTIONS, STACK, Answer, wait_for

DAGS = ("history", "serial_history", "newest", "brittle")
CHANGE = 20  # seconds at least that Amazon takes for a change
PERIOD = 30  # seconds, of all DAGs but one
ENDS = 60  # seconds: without a reader of what it prints, Pulumi's process ends before its time, or goes on


@dataclass(frozen=True)
class Kill:
    """SIGKILL once the command tells of this stage; `working`: once Amazon works on this side, too.

    `pulumi`: also of Pulumi's process, which else goes on by itself.
    """

    stage: str
    pulumi: bool = True
    working: str | None = None


KILLS = (
    Kill("plan"),
    Kill("apply"),
    Kill("step", working="green"),
    Kill("wait"),
    Kill("ready"),
    Kill("switch"),
    Kill("drain"),
    Kill("apply", pulumi=False),
    Kill("step", pulumi=False, working="blue"),
)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MWAA_LOCAL_CHANGE_SECONDS", str(CHANGE))
        with told(tmp_path_factory.mktemp("rollout"), gate_probe_minutes=1) as story:
            story.begin("lives", "life_lives.py", "life_brittle.py")
            story.await_dags(*DAGS)
            story.until("lives", PERIOD)
            yield story


def change(story: Story, parallelism: str) -> Path:
    return story.change(airflow_options={**OPTIONS, "core.parallelism": parallelism})


def rollout(story: Story, config: Path, *more: str) -> Rollout:
    return Rollout(story, ["mwaactl", "rollout", "-s", STACK, "--config-file", str(config), *more])


def options(story: Story) -> dict[str, str]:
    return {
        colour: story.environment(colour)["AirflowConfigurationOptions"]["core.parallelism"]
        for colour in story.names
    }


def works(story: Story, since: datetime, *dags: str) -> bool:
    return {*dags} <= {line.dag for line in story.lines(what="done") if line.due > since}


def assert_executed_once(story: Story, until: datetime, dag: str = "history") -> None:
    counts = Counter((line.dag, line.task, line.due) for line in story.lines(what="done"))
    assert [key for key, count in counts.items() if count > 1] == []
    began = Counter((line.dag, line.task, line.due) for line in story.lines(what="start"))
    assert [key for key, count in began.items() if count > 1] == [], "a task that was ended by an update"
    executed = {instant for each, _, instant in counts if each == dag}
    assert set(due(story.origins["lives"] + timedelta(seconds=PERIOD), until, PERIOD)) <= executed


# --- killed ---


@dataclass(frozen=True)
class Killed:
    runs: list[Events]  # of each command, in their order; the last one came to its end
    locked: list[str]  # what those said that found the lock of a killed one
    touched: dict[str, datetime]  # when the update of each environment began
    until: datetime
    audit: Answer


def go_on(story: Story, config: Path, kill: Kill | None, runs: list[Events], locked: list[str]) -> None:
    """The same command again, up to its next kill. If it is told of a lock, do what it says."""
    begun = time.monotonic()
    while True:
        command = rollout(story, config)
        reached = command.until(kill.stage) if kill else command.end() == 0
        if reached and kill and (side := kill.working):
            wait_for(lambda: story.environment(side)["Status"] == "UPDATING", "Amazon is at work", 60)
        command.kill(pulumi=kill is None or kill.pulumi)
        if reached:
            runs.append(command.events)
            return
        assert command.process.returncode == 3, command.events
        locked.append(command.events[-1]["error"])
        waited = time.monotonic() - begun
        assert waited < 300, locked[-1]
        if KILLS[len(runs) - 1].pulumi or waited > ENDS:
            assert f"pulumi cancel -s {STACK}" in locked[-1]
            done = story.run("pulumi", "cancel", "-s", STACK, "--yes")
            assert done.code == 0, done.out + done.err
        else:
            time.sleep(3)


@pytest.fixture(scope="module")
def killed(story: Story) -> Killed:
    config = change(story, "12")
    runs: list[Events] = []
    locked: list[str] = []
    for kill in (*KILLS, None):
        go_on(story, config, kill, runs, locked)
    since = datetime.now(UTC)
    wait_for(lambda: works(story, since, "history", "newest"), "runs after the rollout", 120)
    touched = {colour: story.environment(colour)["LastUpdate"]["CreatedAt"] for colour in story.names}
    return Killed(runs, locked, touched, since, story.audit("--since", "1h"))


def test_killed_after_each_part_the_same_command_goes_on_from_there(killed: Killed) -> None:
    came = [stages(events) for events in killed.runs]
    assert came[:3] == [["plan"], ["plan", "apply"], ["plan", "apply"]]
    assert came[4] == ["plan", "apply", "ready"]
    assert came[5][-2:] == ["ready", "switch"]
    assert came[6] == ["plan", "drain"]
    assert came[7] == ["plan", "apply"]
    assert came[-1][-1] == "done"
    assert "switch" not in [stage for each in came[6:] for stage in each], "it was decided once"


def test_the_lock_of_a_killed_update_is_told_with_the_command_that_removes_it(killed: Killed) -> None:
    assert killed.locked
    assert all("pulumi cancel" in text for text in killed.locked)


def test_each_side_was_updated_while_the_other_owned_the_work(story: Story, killed: Killed) -> None:
    switched = instant(killed.runs[5], "switch")
    assert killed.touched["green"] < switched < killed.touched["blue"]
    assert instant(killed.runs[6], "drain") < killed.touched["blue"]
    assert options(story) == {"blue": "12", "green": "12"}


def instant(events: Events, stage: str) -> datetime:
    (found,) = [datetime.fromisoformat(event["at"]) for event in events if event["stage"] == stage]
    return found


def test_no_run_was_lost_and_none_was_executed_twice(story: Story, killed: Killed) -> None:
    assert_executed_once(story, killed.until)
    by = Counter(line.colour for line in story.lines("history", "start"))
    assert min(by["blue"], by["green"]) >= 2


def test_an_audit_after_the_rollout_finds_nothing(killed: Killed) -> None:
    assert findings(killed.audit) == []
    assert killed.audit.code == 0


# --- a canary that does badly ---


@dataclass(frozen=True)
class Canary:
    events: Events
    code: int
    since: datetime
    until: datetime
    options: dict[str, str]


@pytest.fixture(scope="module")
def canary(story: Story, killed: Killed) -> Canary:
    """Green owns the work; blue gets an option with which one DAG fails."""
    since = datetime.now(UTC)
    command = rollout(story, change(story, "13"), "--canary", "brittle", "--soak", "300s")
    code = command.end()
    until = datetime.now(UTC)
    wait_for(lambda: works(story, until, "brittle", "history"), "runs after the canary", 120)
    return Canary(command.events, code, since, until, options(story))


def test_a_bad_canary_goes_back_by_itself_and_the_rollout_ends_with_the_reason(
    story: Story, canary: Canary
) -> None:
    assert canary.code == 1, canary.events
    assert stages(canary.events) == ["plan", "apply", "ready", "error"]
    error = canary.events[-1]["error"]
    assert "brittle: " in error
    assert "Given back to green: brittle" in error
    failed = story.lines("brittle", "fail")
    assert failed
    assert {line.colour for line in failed} == {"blue"}
    assert (story.owner("brittle"), story.owner("history")) == ("green", "green")


def test_the_standby_has_the_change_and_the_owner_does_not(canary: Canary) -> None:
    assert canary.options == {"blue": "13", "green": "12"}


def test_no_other_dag_moved_or_lost_a_run(story: Story, canary: Canary) -> None:
    assert_executed_once(story, canary.until)
    moved = [line for line in story.lines() if line.colour == "blue" and line.due > canary.since]
    assert {line.dag for line in moved} == {"brittle"}


def test_the_change_undone_the_same_command_brings_the_standby_back(story: Story, canary: Canary) -> None:
    command = rollout(story, change(story, "12"))
    assert command.end() == 0, command.events
    assert stages(command.events) == ["plan", "apply", "done"]
    assert options(story) == {"blue": "12", "green": "12"}
