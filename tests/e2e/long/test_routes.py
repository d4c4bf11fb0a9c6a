"""Each route of the gate alone, and all together, in the processes of real Airflows (zoo/routes).

Alone: the others are taken out of plugins.zip, and what is not the settings module's runs in an image that
ignores that module. ROUTES_ENVIRONMENTS names other environments than the usual ones, and ROUTES the routes.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pytest

from local.airflow.config import ISSUE_627_ALL, NEW
from tests.e2e.zoo.environment import Json, Kind, RouteZoo, ZooCloud, of_run

KINDS = (
    "2.11.2-LocalExecutor,3.0.6-CeleryExecutor,3.2.1-CeleryExecutor,3.3.1-LocalExecutor,3.3.1-CeleryExecutor"
)
# Early enough in each process, from the start; the plugin manager comes at another time in each.
EARLY = ("settings_module", "policy_manager", "entry_point")
ALONE = (*EARLY, "airflow_plugin", "all")
PROCESSES = {"scheduler", "dag-processor", "triggerer", "web", "task"}
FINISHED = ("success", "failed")


@pytest.fixture(scope="module", params=os.environ.get("ROUTES_ENVIRONMENTS", KINDS).split(","))
def kind(request: pytest.FixtureRequest) -> Kind:
    version, executor = request.param.split("-")
    return Kind(version, NEW, executor)


@pytest.fixture(scope="module", params=os.environ.get("ROUTES", ",".join(ALONE)).split(","))
def zoo(request: pytest.FixtureRequest, kind: Kind, zoo_cloud: ZooCloud) -> Iterator[RouteZoo]:
    ignoring = request.param not in ("settings_module", "all")
    zoo = RouteZoo(zoo_cloud, replace(kind, image=ISSUE_627_ALL) if ignoring else kind, request.param)
    zoo.create()
    yield zoo
    zoo.delete()


def test_the_route_keeps_the_standby_from_executing_anything(zoo: RouteZoo) -> None:
    def mirrored() -> list[Json]:
        return [run for run in zoo.runs("zoo_routes", "scheduled") if run["state"] in FINISHED]

    zoo.wait_for(lambda: len(mirrored()) >= 3, "three runs", seconds=240)
    runs = {run["dag_run_id"] for run in mirrored()}
    assert {run["state"] for run in mirrored()} == {"success"}
    instances = [ti for ti in zoo.task_instances() if ti["dag_run_id"] in runs]
    assert {ti["state"] for ti in instances} == {"skipped"}
    assert [line for line in zoo.ledger() if "witness" not in line or line["witness"] == "started here"] == []
    born = [ti for ti in instances if ti["start_date"] is None]
    print(f"\n{zoo.kind} {zoo.route}: {len(born)} of {len(instances)} tasks were born skipped")
    assert len(born) > 0.5 * len(instances), "the scheduler has the route"


def test_the_route_is_in_every_process(zoo: RouteZoo) -> None:
    made = zoo.trigger("zoo_by_hand")
    zoo.wait_for(
        lambda: zoo.run("zoo_by_hand", made)["state"] in FINISHED, "a run by hand is executed", seconds=90
    )
    assert_success(zoo, zoo.run("zoo_by_hand", made))
    routes: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for line in zoo.ledger():
        if "witness" in line:
            routes[process(line)].add(tuple(line["routes"]))
    print(f"\n{zoo.kind} {zoo.route}: {dict(routes)}")
    assert {*routes} >= PROCESSES
    for name, found in routes.items():
        for live in found:
            if zoo.route == "all":
                assert {*live} >= {*EARLY}, name
            else:
                assert live == (zoo.route,), name


def test_the_owner_executes_each_task_once(zoo: RouteZoo) -> None:
    since = zoo.switch("blue")

    def done() -> list[Json]:
        runs = zoo.runs("zoo_routes", "scheduled")
        return [r for r in runs if datetime.fromisoformat(r["due"]) >= since and r["state"] in FINISHED]

    zoo.wait_for(done, "a run on its owner", seconds=120)
    zoo.switch("green")
    run = min(done(), key=lambda run: str(run["due"]))
    assert_success(zoo, run)
    lines = of_run(zoo.ledger(), run)
    executed = sorted((line["task"], line["map"]) for line in lines if line["what"] == "execute")
    assert executed == [("first", -1), ("from_trigger", -1), ("last", -1), ("mapped", 0), ("mapped", 1)]


def test_without_a_route_the_standby_executes(zoo_cloud: ZooCloud) -> None:
    """What these tests would see if a route were missing, and what users of MWAA have seen."""
    alone = RouteZoo(zoo_cloud, Kind("3.3.1", ISSUE_627_ALL, "LocalExecutor"), "settings_module")
    alone.create()
    try:
        alone.wait_for(
            lambda: {"execute", "dag success"} <= {line.get("what") for line in alone.ledger()},
            "the standby executes a run and calls its callback",
            seconds=240,
        )
    finally:
        alone.delete()


def assert_success(zoo: RouteZoo, run: Json) -> None:
    """Fail with what its failed tasks logged."""
    instances = [ti for ti in zoo.task_instances() if ti["dag_run_id"] == run["dag_run_id"]]
    logs = [zoo.log(ti) for ti in instances if ti["state"] not in ("success", "skipped")]
    assert run["state"] == "success", "\n".join(logs)


def process(line: Json) -> str:
    """Which of PROCESSES a witness speaks for."""
    if re.search("api-server|webserver", line["process"]):
        return "web"
    if line["witness"] == "dag_policy" and line["process"] != "dag-processor":
        return "task"  # of the scheduler's executor or of a Celery worker: they parse the DAG once more
    return str(line["process"])
