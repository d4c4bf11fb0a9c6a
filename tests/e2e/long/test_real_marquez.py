"""A real Marquez 0.51.1 shows each run as its events say, whatever happens to it and to the forwarders.

Two nodes, each with a Marquez and a forwarder, on one PostgreSQL. Writers of every kind fill the log. In the
end the state, `startedAt` and `endedAt` of every run are compared, and nothing may be set aside.
MARQUEZ_CLASSPATH, ROUNDS, DAGS and SEED: see docs/testing.md.
"""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from local.aws import ministack, postgres
from local.home import REGION, Home
from local.processes import clean_environ
from mwaactl.aws import Clients
from mwaactl.lineage.replay import Window, replay
from tests.e2e.marquez.servers import Databases, Marquez, why_none
from tests.e2e.marquez.writers import Load, Planned, Record, Written, dag_run
from tests.engine.forwarding import Bucket, Node, holding, wait

pytestmark = pytest.mark.skipif(why_none() is not None, reason=why_none() or "")
ROUNDS = int(os.environ.get("ROUNDS", "1"))
DAGS = int(os.environ.get("DAGS", "4"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 1000)
TAKE_OVER = 240.0  # seconds: an event at which Marquez hangs is tried for 30 s and more
CATCH_UP = 900.0  # with the doubts that an outage leaves: on a busy machine
STAYS = 75.0  # what is right must still be right so much later


@dataclass
class Stage:
    """Two nodes and the log."""

    log: Bucket
    written: Written
    databases: Databases
    marquezes: list[Marquez]
    folder: Path
    env: dict[str, str]
    clean: ExitStack

    def __post_init__(self) -> None:
        self.forwarders = [self._forwarder(number) for number in (0, 1)]

    def _forwarder(self, number: int) -> Node:
        to = self.marquezes[number].url
        return Node.start(self.clean, self.env, self.folder, self.log.bucket, to, lease=6, timeout=10)

    def holder(self, but: int | None = None) -> int:
        """Which node works, as soon as one does; another one than `but`."""

        holders: list[int] = []

        def works() -> bool:
            node = holding(self.log, *self.forwarders)
            if node and (number := self.forwarders.index(node)) != but:
                holders.append(number)
            return bool(holders)

        wait(works, TAKE_OVER, f"a node works, another one than {but}")
        return holders[0]

    def kill(self, number: int) -> None:
        self.forwarders[number].process.kill()
        self.forwarders[number].process.wait(10)

    def start(self, number: int) -> None:
        """Start a forwarder again, as systemd does."""
        self.forwarders[number] = self._forwarder(number)


def a_marquez_hangs(stage: Stage, node: int) -> None:
    stage.marquezes[node].hang()
    stage.holder(but=node)
    time.sleep(15)
    stage.marquezes[node].wake()


def a_marquez_hangs_and_its_forwarder_is_killed(stage: Stage, node: int) -> None:
    stage.marquezes[node].hang()
    time.sleep(2)
    stage.kill(node)
    stage.holder(but=node)
    stage.start(node)
    time.sleep(15)
    stage.marquezes[node].wake()


def a_forwarder_freezes(stage: Stage, node: int) -> None:
    stage.forwarders[node].process.send_signal(signal.SIGSTOP)
    stage.holder(but=node)
    time.sleep(10)
    stage.forwarders[node].process.send_signal(signal.SIGCONT)


def a_node_freezes(stage: Stage, node: int) -> None:
    stage.forwarders[node].process.send_signal(signal.SIGSTOP)
    stage.marquezes[node].hang()
    stage.holder(but=node)
    time.sleep(20)
    stage.marquezes[node].wake()
    stage.forwarders[node].process.send_signal(signal.SIGCONT)


def a_holder_is_killed(stage: Stage, node: int) -> None:
    stage.kill(node)
    stage.start(node)


def the_postmaster_is_killed(stage: Stage, _node: int) -> None:
    stage.databases.kill()
    time.sleep(5)
    stage.databases.start()


def a_marquez_is_stopped(stage: Stage, node: int) -> None:
    stage.marquezes[node].stop()
    stage.holder(but=node)
    stage.marquezes[node].start()
    stage.marquezes[node].wait()


FAULTS: list[Callable[[Stage, int], None]] = [
    a_marquez_hangs,
    a_marquez_hangs_and_its_forwarder_is_killed,
    a_forwarder_freezes,
    a_node_freezes,
    a_holder_is_killed,
    the_postmaster_is_killed,
    a_marquez_is_stopped,
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("real-marquez")
    with ExitStack() as clean, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MWAA_LOCAL_TOOLS", str(Home.find().tools))
        home = Home(folder / "home")
        ministack.start(home)
        clean.callback(ministack.stop, home)
        env = clean_environ(**ministack.environ(home))
        for name, value in ministack.environ(home).items():
            patch.setenv(name, value)
        databases = Databases(home)
        databases.start()
        clean.callback(postgres.stop, home)
        databases.create("proof")
        marquezes = [Marquez(folder, databases.settings("proof")) for _ in range(2)]
        for marquez in marquezes:
            marquez.start()
            clean.callback(marquez.kill)
            marquez.wait()  # the first one makes the tables
        s3 = boto3.client("s3", region_name=REGION)
        bucket = f"log-{uuid.uuid4().hex[:10]}"
        s3.create_bucket(Bucket=bucket)
        log, written = Bucket(s3, bucket), Written(s3, bucket)
        yield Stage(log, written, databases, marquezes, folder, env, clean)


def say(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", flush=True)


def wrong(marquez: Marquez, expected: dict[str, Record]) -> dict[str, tuple[Record | None, Record]]:
    """What Marquez shows and what it should show, of each run that is wrong."""

    def shown(run: str) -> Record | None:
        try:
            return Record.of(marquez.run(run))
        except TimeoutError:  # it is busy: not right yet
            return None

    with ThreadPoolExecutor(4) as readers:
        pairs = zip(expected.items(), readers.map(shown, expected), strict=True)
        return {run: (record, wanted) for (run, wanted), record in pairs if record != wanted}


def assert_all_right(stage: Stage, marquez: Marquez, seconds: float) -> None:
    """Every run becomes right within `seconds`, and stays so."""
    expected = stage.written.expected()
    deadline, bad = time.monotonic() + seconds, wrong(marquez, expected)
    while bad and time.monotonic() < deadline:
        say(f"{len(bad)} of {len(expected)} runs are not right yet")
        time.sleep(10)
        bad = wrong(marquez, {run: expected[run] for run in bad})
    assert not bad, f"{len(bad)} of {len(expected)} runs; seed {SEED}"
    time.sleep(STAYS)
    assert wrong(marquez, expected) == {}, f"of {len(expected)} runs were right; seed {SEED}"
    assert stage.log.set_aside() == []


def test_every_run_is_right_in_the_end_whatever_happens(stage: Stage) -> None:
    chance = random.Random(SEED)
    with Load(stage.written, DAGS, SEED):
        time.sleep(10)
        for fault in [each for _ in range(ROUNDS) for each in chance.sample(FAULTS, len(FAULTS))]:
            node = stage.holder()
            say(f"node {node}: {fault.__name__}")
            fault(stage, node)
            time.sleep(15)
    assert_all_right(stage, stage.marquezes[0], CATCH_UP)


def test_events_may_be_stored_in_any_order(stage: Stage) -> None:
    """All at once, of runs of the last minute: each is late beside another one of its run."""
    chance, now = random.Random(SEED), datetime.now(UTC)
    begins = [now - timedelta(seconds=chance.uniform(5, 60)) for _ in range(100)]
    events = [event for n, begin in enumerate(begins) for event in dag_run(f"shuffled_{n}", begin, chance)]
    for event in chance.sample(events, len(events)):
        stage.written.put(event)
    assert_all_right(stage, stage.marquezes[0], CATCH_UP)


def test_a_late_start_of_a_dags_run_is_posted_while_the_run_goes_on(stage: Stage) -> None:
    begin, run = datetime.now(UTC), str(uuid.uuid4())
    task = Planned(begin + timedelta(seconds=2), "START", str(uuid.uuid4()), "late.task", (run, "late"))
    marquez = stage.marquezes[0]
    time.sleep(2)
    stage.written.put(task)
    made_from_the_task = Record("RUNNING", task.at, None)
    wait(lambda: Record.of(marquez.run(run)) == made_from_the_task, 60, "Marquez makes the DAG's run")
    stage.written.put(Planned(begin, "START", run, "late"))
    wait(lambda: Record.of(marquez.run(run)) == Record("RUNNING", begin, None), 60, "the START is posted")
    assert stage.log.set_aside() == []


def test_an_empty_database_is_filled_by_a_replay(stage: Stage) -> None:
    stage.databases.create("rebuilt")
    marquez = Marquez(stage.folder, stage.databases.settings("rebuilt"))
    marquez.start()
    stage.clean.callback(marquez.kill)
    marquez.wait()
    window = Window(
        stack="fullha",
        bucket=stage.log.bucket,
        to=marquez.url,
        since=datetime.now(UTC) - timedelta(days=1),
        until=datetime.now(UTC) + timedelta(minutes=1),
        namespace=None,
    )
    result = replay(Clients(REGION), window, folder=stage.folder / "replay")
    assert (result.refused, result.posted) == (0, len(stage.written.events))
    assert wrong(marquez, stage.written.expected()) == {}
