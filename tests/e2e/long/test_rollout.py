"""`mwaactl rollout` by the commands of docs/upgrade.md, beneath the load: one change after the other.

Two real Airflows; the tasks write down what they do. What was due follows from the schedules, who owned it
from the parameter's history. An update ends the tasks at work, as Amazon's does (FORCED), and the ledger has
it: the last but one of these tests shows that.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.load import ledger
from tests.e2e.load.rollout import Rolling, Rollout, assert_rolled_out, commands, prove, rolling
from tests.e2e.load.twins import STACK, wait_for

LATER = Path(__file__).parents[1] / "load" / "later"
# A command of the page is run as it stands, but for the stack, a DAG that the load has, and shorter soaks.
HERE = {"fullha": STACK, "etl_daily": "load_fast", "2h": "75s"}
SHORTER = ("--soak", "60s")  # where the page leaves it at half an hour
UNASKED = ("--yes", "--skip-preview", "--non-interactive")
ran: list[str] = []  # of the page's commands


def of_the_page(*words: str) -> str:
    """The one command of the page that ends with these words, as it is typed here."""
    found = [command for command in commands() if command.split()[-len(words) :] == [*words]]
    assert len(found) == 1, f"docs/upgrade.md has {found} for {words}"
    ran.extend(found)
    return " ".join(HERE.get(word, word) for word in found[0].split())


@dataclass(frozen=True)
class Change:
    """What is set, by `pulumi config set`, and the words at the end of the page's command that applies it."""

    name: str
    settings: tuple[str, ...]
    words: tuple[str, ...]
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


CHANGES = [
    Change("class", ("environment_class", "mw1.medium"), ("--canary", "etl_daily", "--soak", "2h")),
    Change("requirements", ("--path", "requirements[0]", "humanize"), ("--canary-percent", "10,50"), SHORTER),
    Change("option", ("--path", 'airflow_options["core.parallelism"]', "12"), ("--json", "--yes")),
    Change("plugins", ("plugins_folder", "{plugins}"), ("rollout", "-s", "fullha")),
]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolling]:
    with rolling(tmp_path_factory.mktemp("rollout"), airflow_version="3.2.1") as (twins, _):
        yield twins


def rolled_out(twins: Rolling, command: str, *more: str) -> Rollout:
    """Roll out beneath the load; nothing is lost, nothing is executed twice, no owner is touched."""
    since = datetime.now(UTC)
    rollout = Rollout(twins, [*command.split(), *more])
    assert rollout.end() == 0, rollout.events
    assert_rolled_out(twins, since, rollout.events, since, action="update")
    return rollout


def settle(twins: Rolling, *settings: str) -> None:
    done = twins.run("pulumi", "config", "set", *settings, "-s", STACK)
    assert done.code == 0, done.err


def touched(twins: Rolling) -> list[datetime]:
    return [twins.environment(colour)["LastUpdate"]["CreatedAt"] for colour in twins.names]


def test_another_version_of_the_same_major_one(twins: Rolling) -> None:
    done = twins.typed(of_the_page("airflow_version", "3.3.1", "-s", "fullha"))
    assert done.code == 0, done.err
    before = touched(twins)
    planned = twins.typed(of_the_page("--dry-run"))
    assert planned.code == 0, planned.out + planned.err
    assert "mwaa-green" in planned.out
    assert touched(twins) == before
    rolled_out(twins, of_the_page("rollout", "-s", "fullha"))
    assert {twins.environment(colour)["AirflowVersion"] for colour in twins.names} == {"3.3.1"}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_change_of(change: Change, twins: Rolling, tmp_path: Path) -> None:
    (tmp_path / "of_a_customer.py").write_text('"""A plugin of the user\'s own."""\n')
    settle(twins, *(word.format(plugins=tmp_path) for word in change.settings))
    rolled_out(twins, of_the_page(*change.words), *change.more)


def test_both_airflows_are_told_to_have_parsed_what_is_pushed(twins: Rolling) -> None:
    """`dags push --wait` beneath the load."""
    folder = twins.home.root / "dags"
    shutil.copy(LATER / "load_long.py", folder)
    pushed = twins.mwaactl("dags", "push", "--no-check", str(folder), "--wait", "--timeout", "420")
    assert pushed.code == 0, pushed.out + pushed.err
    assert pushed.json["parsed"].keys() == {"blue", "green"}
    for colour, parsed in pushed.json["parsed"].items():
        assert {"load.py", "load_long.py"} <= {*parsed["by_source"], *parsed["by_time"]}
        assert twins.api(colour, "/dags/load_long")["dag_id"] == "load_long"


def test_an_update_of_the_owner_is_seen_to_end_its_tasks(twins: Rolling) -> None:
    """By the page's commands for plain `pulumi up`: else the proofs above would prove nothing."""
    since = datetime.now(UTC)
    settle(twins, "--path", 'airflow_options["core.parallelism"]', "11")
    refused = twins.typed(of_the_page("up", "-s", "fullha"), *UNASKED)
    assert refused.code != 0
    assert "mwaactl rollout" in refused.out + refused.err

    def at_work() -> bool:
        lines = ledger.running(ledger.read(twins.ledger))
        return any(line.dag == "load_long" and line.due > since for line in lines)

    wait_for(at_work, "a long task is at work", 120)
    owner = twins.owner
    for word, more in (("true", ()), ("up", UNASKED), ("false", ())):
        done = twins.typed(of_the_page(word, "-s", "fullha"), *more)
        assert done.code == 0, done.out + done.err
    proof = prove(twins, since, [])
    assert proof.touched[owner] > since + timedelta(seconds=1)
    ended = {line.dag for line in proof.interrupted if line.colour == owner}
    assert "load_long" in ended

    def lost_or_begun_anew() -> bool:
        """Airflow's new scheduler takes it for an orphan, else it misses the heartbeat after 300 s."""
        runs = twins.pages(owner, "/dags/load_long/dagRuns", "dag_runs", run_after_gte=since.isoformat())
        lines = [line for line in ledger.read(twins.ledger) if line.dag == "load_long" and line.due > since]
        starts = Counter(line.due for line in lines if line.what == "start")
        return "failed" in {run["state"] for run in runs} or max(starts.values()) > 1

    wait_for(lost_or_begun_anew, "what was at work fails, or is done twice", 420)


def test_each_command_of_the_page_was_run() -> None:
    assert set(ran) == set(commands())
