"""A folder with more than forty kinds of DAGs, as people write them, switched to and fro under its own load.

With real Airflows of each major version. The tasks write down what they complete, what was due follows from
the schedules in `many_kinds/kinds_schedule.py`, who owned it from the parameter's history: nothing may be
lost, nothing executed twice, nothing by the side that did not own it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.aws import callers
from tests.e2e.life.story import DRAINED, Story, findings, told
from tests.e2e.load.decisions import Decision, decided, deciding
from tests.e2e.load.ledger import Line
from tests.e2e.load.report import misjudged
from tests.e2e.load.twins import Answer, wait_for
from tests.e2e.long.many_kinds.kinds_schedule import BY_NAME, KINDS, OTHERS, PERIOD, instants

HERE = Path(__file__).parent
FOLDER, PLUGINS = HERE / "many_kinds", HERE / "many_kinds_plugins"
TARGETS = ("green", "blue")  # to and fro
PARSING = 90.0  # seconds from the push until everything must be known to both sides
TRIES = 5  # of a switch
DRAIN = 2 * DRAINED  # with Airflow 2, two busy cores have taken from 250 to 320 s
LATEST = 420.0  # seconds after the last instant until all must be completed, on a busy machine
Done = tuple[str, datetime, str]  # DAG, due instant, task with its map index


@dataclass(frozen=True)
class Campaign:
    """What was seen of one version."""

    story: Story
    lines: Sequence[Line]
    decisions: Sequence[Decision]
    since: datetime
    until: datetime
    by_hand: Sequence[str]  # the run ids
    audit: Answer

    @property
    def done(self) -> dict[Done, list[Line]]:
        """The completions of each task that was due, or that one which was due has caused."""
        found: dict[Done, list[Line]] = defaultdict(list)
        for line in self.lines:
            if line.what == "done":
                found[line.dag, line.due, named(line)].append(line)
        return found

    @property
    def expected(self) -> set[Done]:
        return set(due_in(self.since, self.until))


def named(line: Line) -> str:
    return line.task if line.map < 0 else f"{line.task}[{line.map}]"


def due_in(since: datetime, until: datetime) -> Iterator[Done]:
    for kind in KINDS:
        for due in instants(kind.after or kind.name, since, until):
            yield from ((kind.name, due, task) for task in kind.expected(due))


@pytest.fixture(scope="module", params=["3.3.1", "2.11.2"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    settings = {"airflow_version": request.param, "plugins_folder": str(PLUGINS)}
    with told(tmp_path_factory.mktemp("kinds"), **settings) as story:
        yield story


def prepare(story: Story) -> None:
    """What the DAGs need: a pool on each side, and what both sides share."""
    for colour in story.names:
        story.api(colour, "/pools", "POST", {"name": "kinds", "slots": 2})
    secrets = callers.deployer(story.home, "secretsmanager")
    prefixes = {each: story.outputs[f"{each}_prefix"] for each in ("variables", "connections")}
    secrets.create_secret(Name=f"{prefixes['variables']}/kinds_colour", SecretString="turquoise")
    warehouse = "postgres://reader:pass@warehouse.example.com:5432/sales"
    secrets.create_secret(Name=f"{prefixes['connections']}/kinds_warehouse", SecretString=warehouse)
    for file in FOLDER.glob("*.py"):
        (story.home.root / "dags" / file.name).write_bytes(file.read_bytes())


def old(story: Story) -> bool:
    return bool(story.environment("blue")["AirflowVersion"].startswith("2."))


def backfill(story: Story, colour: str) -> None:
    """Three days of `backfilled`; the API of Airflow 2 has no backfills."""
    if old(story):
        return
    days = {"from_date": "2026-01-10T00:00:00Z", "to_date": "2026-01-12T00:00:00Z"}
    story.api(colour, "/backfills", "POST", {"dag_id": "backfilled", "max_active_runs": 2, **days})


def trigger(story: Story, colour: str, run: str) -> str:
    """`by_hand`, as a person does."""
    body: dict[str, Any] = {"dag_run_id": run}
    if not old(story):
        body["logical_date"] = None
    story.api(colour, "/dags/by_hand/dagRuns", "POST", body)
    return run


def switch(story: Story, *arguments: str) -> None:
    """Again, where a check finds a scheduler or a web server that is late on a busy machine."""
    for _ in range(TRIES):
        begun = time.monotonic()
        answer = story.switch(*arguments).answer(DRAIN + 120)
        print(f"switch {' '.join(arguments)}: exit {answer.code}, {time.monotonic() - begun:.0f} s")
        if answer.code != 1:
            break
        print(answer.json.get("error"))
        time.sleep(5)
    assert answer.code == 0, answer.out + answer.err


@pytest.fixture(scope="module")
def campaign(story: Story) -> Campaign:
    prepare(story)
    since = story.begin("kinds", ahead=PARSING)
    story.await_dags(*BY_NAME, *OTHERS, seconds=PARSING)
    print(f"all known {story.offset('kinds', datetime.now(UTC)):.0f} s after the origin")
    backfill(story, "blue")
    by_hand = []
    for number, target in enumerate(TARGETS):
        story.until("kinds", (number + 0.6) * PERIOD)
        by_hand += [trigger(story, colour, f"{colour}-{number}") for colour in story.names]
        # Never idle, so it would be held for ever, as `mwaactl` says.
        switch(story, target, "--dag", "endless", "--force", "serial-dags")
        switch(story, target, "--wait", "--timeout", f"{DRAIN:.0f}")
    until = datetime.now(UTC) + timedelta(seconds=PERIOD / 2)
    time.sleep(PERIOD / 2)
    due = set(due_in(since, until))

    def completed() -> bool:
        return due <= {(line.dag, line.due, named(line)) for line in story.lines(what="done")}

    try:
        wait_for(completed, "all that was due is completed", LATEST)
    except AssertionError as error:
        print(error)  # the tests tell what is missing
    lead = timedelta(seconds=story.outputs["switch_lead_seconds"])
    decisions = decided(story.versions(), lead, story.content)
    audit = story.audit("--since", "1h")
    return Campaign(story, story.lines(), decisions, since, until, by_hand, audit)


def test_nothing_that_was_due_is_lost(campaign: Campaign) -> None:
    expected = campaign.expected
    print(f"{len(expected)} tasks due of {len(KINDS)} DAGs, {len(campaign.lines)} lines")
    assert sorted(expected - campaign.done.keys()) == []


def test_nothing_is_executed_twice(campaign: Campaign) -> None:
    twice = {
        key: [f"{line} of {line.run}" for line in lines]
        for key, lines in campaign.done.items()
        if key[0] != "by_hand" and len(lines) > 1
    }
    lost = misjudged(campaign.story)  # one try, whose end Airflow took for a failure
    excused = {(dag, task, run) for _, dag, task, run in lost}
    assert {key for key in twice if not any(key[::2] == found[:2] for found in excused)} == set(), twice


def test_only_the_owner_of_its_instant_executes_a_scheduled_run(campaign: Campaign) -> None:
    scheduled = [line for line in campaign.lines if line.run.startswith("scheduled__")]
    foreign = [
        str(line)
        for line in scheduled
        if line.colour != deciding(campaign.decisions, line.dag, line.due).owner
        and BY_NAME.get(line.dag) in (None, *(kind for kind in KINDS if kind.after is None))
    ]
    assert foreign == []
    shares = Counter(line.colour for line in scheduled)
    assert min(shares["blue"], shares["green"]) > 30, shares


def test_nothing_runs_that_should_not(campaign: Campaign) -> None:
    """A branch that was not taken, a skipped task, a DAG that nobody triggered."""
    strange = [
        key
        for key in campaign.done
        if (kind := BY_NAME.get(key[0])) and key[2] not in (*kind.expected(key[1]), *kind.perhaps)
    ]
    assert strange == []


def test_the_other_kinds_run_too(campaign: Campaign) -> None:
    runs: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for line in campaign.lines:
        if line.what == "done":
            runs[line.dag].add((line.colour, line.run))
    assert sorted(run for _, run in runs["by_hand"]) == sorted(campaign.by_hand)
    assert all(run.startswith(colour) for colour, run in runs["by_hand"]), "each where it was triggered"
    assert [colour for colour, run in runs["backfilled"] if run.startswith("backfill__")] == (
        [] if old(campaign.story) else ["blue"] * 3
    )
    assert len(runs["at_events"]) == 4
    assert len(runs["at_once"]) == 1
    assert len(runs["from_the_past"]) >= 6
    assert len(runs["endless"]) >= 5
    assert runs["both_of_two"]


def test_an_audit_afterwards_finds_nothing(campaign: Campaign) -> None:
    assert findings(campaign.audit) == []
    assert campaign.audit.code == 0
