"""No lineage of real tasks is lost, whatever Marquez does, though forwarders are killed.

A real Airflow emits through the product's transport to the lineage log; two real forwarders carry that to a
Marquez that hangs, refuses, fails, writes half and answers late. What was emitted is known without the log:
from a ledger that OpenLineage's client writes before its transport has the event, from Airflow's database,
and from what the DAGs are written to do. LINEAGE_ENVIRONMENT names another Airflow: 2.11.2-new-LocalExecutor.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.config.airflow_versions import AIRFLOW_VERSIONS
from local.processes import clean_environ
from local.pulumi.cli import environ
from tests.e2e.zoo.environment import Json, Kind, Zoo, ZooCloud
from tests.engine.forwarding import Bucket, Double, Node, first_holder, holding

KIND = os.environ.get("LINEAGE_ENVIRONMENT", f"{max(AIRFLOW_VERSIONS)}-new-LocalExecutor")
RUNS = 3  # of each DAG
DAGS = ("chain_1", "failing", "tried_again", "chain_2", "mapped")
Ends = Counter[tuple[str, str]]  # by job (a DAG, or a task of it) and the kind of the event that ends it
# How all that is started ends: the runs of the DAGs, and each try of their tasks.
WRITTEN: Ends = Counter(
    {
        **{(f"chain_{n}{task}", "COMPLETE"): RUNS for n in (1, 2) for task in ("", ".one", ".two", ".three")},
        **{(f"mapped{task}", "COMPLETE"): RUNS for task in ("", ".make", ".add")},
        ("mapped.work", "COMPLETE"): 3 * RUNS,
        ("tried_again", "COMPLETE"): RUNS,
        ("tried_again.second_time_lucky", "FAIL"): RUNS,
        ("tried_again.second_time_lucky", "COMPLETE"): RUNS,
        ("failing", "FAIL"): RUNS,
        ("failing.fail", "FAIL"): RUNS,
    }
)
BY_STATE = {"success": "COMPLETE", "COMPLETED": "COMPLETE", "failed": "FAIL", "FAILED": "FAIL"}
OUTAGES = ("hang", "half", "refuse", "fail", "stuck")  # with each, another DAG begins
EVENTS = 8  # emitted while it lasts; no DAG emits fewer
# Between them posts fail now and then: order must be kept although an event is tried again.
BETWEEN = {"share": 0.3, "once": True, "latency": 0.1, "connections": 2}
LEASE = 5.0  # seconds


class Airflow(Zoo):
    """An environment that owns all work."""

    files = Path(__file__).parent / "lineage"
    owner = "blue"
    probed = False  # all that there is is counted

    def unpause(self, dag: str) -> None:
        self.wait_for(lambda: dag in self.dag_ids(), f"{dag} is known", seconds=90)
        self.api("PATCH", f"/dags/{dag}", {"is_paused": False}, update_mask=["is_paused"])

    def finished(self) -> bool:
        runs = self.runs()
        return len(runs) == RUNS * len(DAGS) and all(run["state"] in BY_STATE for run in runs)

    def ends(self) -> Ends:
        """As its database has it."""
        found = Counter((run["dag_id"], BY_STATE.get(run["state"], "none")) for run in self.runs())
        for ti in self.task_instances():
            job = f"{ti['dag_id']}.{ti['task_id']}"
            if ti["state"] in BY_STATE:
                found[job, BY_STATE[ti["state"]]] += 1
            if ti["try_number"] > 1:
                found[job, "FAIL"] += ti["try_number"] - 1
        return found

    def lineage_log(self) -> Bucket:
        return Bucket(self._s3, self._log)

    def _options(self) -> dict[str, str]:
        return super()._options() | {"zoo.runs": str(RUNS)}


@dataclass(frozen=True)
class Seen:
    """What there was in the end: events as they were emitted, in the log, and as Marquez took them."""

    ends: Ends
    emitted: list[Json]
    log: list[Json]
    posted: list[tuple[Json, str]]  # and by whom, in the order in which they were written
    states: dict[str, str]  # Marquez's, by run
    aside: list[str]


@pytest.fixture(scope="module")
def seen(zoo_cloud: ZooCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    airflow = Airflow(zoo_cloud, Kind(*KIND.split("-")))
    airflow.create()
    with ExitStack() as clean:
        yield work_through(airflow, zoo_cloud, clean, tmp_path_factory.mktemp("forwarders"))
    airflow.delete()


def work_through(airflow: Airflow, cloud: ZooCloud, clean: ExitStack, folder: Path) -> Seen:
    marquez = Double.start(clean)
    log = airflow.lineage_log()
    env = clean_environ(**environ(cloud.home))
    nodes: list[Node] = []

    def start() -> None:
        nodes.append(Node.start(clean, env, folder, log.bucket, marquez.url, LEASE))

    def kill() -> None:
        working, _ = first_holder(log, *nodes)
        working.process.kill()
        nodes.remove(working)
        start()  # as systemd does; either of the two may be first
        airflow.wait_for(lambda: holding(log, *nodes), "another forwarder has taken over", seconds=60)

    def more(count: Callable[[], int], by: int, what: str) -> None:
        wanted = count() + by
        airflow.wait_for(lambda: count() >= wanted, what, seconds=90)

    def emitted() -> int:
        return len(airflow.ledger())

    def noticed() -> int:
        return sum(node.output.read_text().count("not delivered, retrying") for node in nodes)

    start()
    start()
    for outage, dag in zip(OUTAGES, DAGS, strict=True):
        marquez.faults(outage)
        airflow.unpause(dag)
        more(emitted, EVENTS, f"{dag} works during: {outage}")
        more(noticed, 1, f"the forwarder notices: {outage}")
        if outage == "hang":
            kill()  # what it was posting is not known
        marquez.faults("read-only", **BETWEEN)
        more(lambda: len(marquez.raw()), 1, f"events are known after: {outage}")
    kill()  # in the middle of catching up: what it posted last is not noted
    airflow.wait_for(airflow.finished, "all runs are finished", seconds=240)

    # what is not so in the end, the tests tell
    until(lambda: emitted() >= 2 * WRITTEN.total(), seconds=30)
    until(lambda: len(airflow.lineage()) >= emitted(), seconds=10)
    in_log = airflow.lineage()
    until(lambda: names(marquez.raw()).keys() >= names(in_log).keys(), seconds=60)
    state = marquez.state()
    took = [
        (event, agent)
        for event, (_, _, agent) in zip(marquez.raw(), state["posts"], strict=True)
        if event["job"]["namespace"] == "zoo-blue"  # not the forwarders' own
    ]
    return Seen(airflow.ends(), airflow.ledger(), in_log, took, state["runs"], log.set_aside())


def test_tasks_did_what_they_are_written_to_do(seen: Seen) -> None:
    assert seen.ends == WRITTEN


def test_every_start_and_every_end_was_emitted_once(seen: Seen) -> None:
    kinds = defaultdict(list)
    for event in seen.emitted:
        kinds[event["job"]["name"], event["run"]["runId"]].append(event["eventType"])
    assert {started for started, *_ in kinds.values()} == {"START"}
    assert Counter((job, " ".join(ends)) for (job, _), (_, *ends) in kinds.items()) == WRITTEN


def test_the_log_has_what_was_emitted(seen: Seen) -> None:
    assert_same(names(seen.log), names(seen.emitted))


def test_marquez_knows_what_is_in_the_log_and_refused_nothing(seen: Seen) -> None:
    known = [event for event, _ in seen.posted]
    assert_same(Counter(names(known).keys()), names(seen.log))
    assert all(event in seen.log for event in known), "changed on the way"
    assert seen.aside == []


def test_each_run_stands_as_it_ended(seen: Seen) -> None:
    stands = {run: BY_STATE.get(state, "none") for run, state in seen.states.items()}
    jobs = {event["run"]["runId"]: event["job"]["name"] for event in seen.log}
    assert Counter((job, stands.get(run, "none")) for run, job in jobs.items()) == WRITTEN


def test_each_runs_events_were_posted_in_the_order_of_their_times(seen: Seen) -> None:
    """Of a run that two forwarders posted, only each event's first post is asked to be in order.

    For the one that takes over posts again what the killed one may have posted, and then what came last.
    """
    times, agents = defaultdict(list), defaultdict(set)
    for event, agent in seen.posted:
        run = event["run"]["runId"]
        times[run].append(event["eventTime"])
        agents[run].add(agent)
    assert len({agent for who in agents.values() for agent in who}) > 1
    asked = {run: posts if len(agents[run]) == 1 else [*dict.fromkeys(posts)] for run, posts in times.items()}
    assert {run: posts for run, posts in asked.items() if posts != sorted(posts)} == {}


def names(events: Iterable[Json]) -> Counter[str]:
    return Counter(
        f"{e['eventTime']} {e['eventType']} {e['job']['name']} {e['run']['runId']}" for e in events
    )


def assert_same(found: Counter[str], expected: Counter[str]) -> None:
    missing, extra = expected - found, found - expected
    assert (missing, extra) == ({}, {}), f"of {expected.total()}: missing, and more than expected"


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(1)
