"""Pause state and pools copied from one environment to the other."""

from __future__ import annotations

from typing import Any

import pytest
from bluegreen.proof import PROBE

from mwaactl.airflow.models import Pool
from mwaactl.checks.both_sides import different_pools
from mwaactl.errors import Unreachable
from mwaactl.switching.copy_settings import CopyResult, copy_settings
from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out
from tests.fakes.aws.clients import FakeClients, deployment
from tests.fakes.aws.errors import client_error

BLUE, GREEN = "mwaa-openlineage-fullha-blue", "mwaa-openlineage-fullha-green"


def pool_answer(**slots: int) -> dict[str, Any]:
    pools = [
        {"name": name, "slots": count, "description": None, "include_deferred": False, "open_slots": count}
        for name, count in slots.items()
    ]
    return {"pools": pools, "total_entries": len(pools)}


@pytest.fixture
def airflows(aws: FakeClients) -> FakeClients:
    """Both sides with the default pool, daily active and hourly paused; every change is accepted."""
    for name in (BLUE, GREEN):
        answers = aws.mwaa.airflow[name]
        answers["/pools"] = pool_answer(default_pool=128)
        accepted = ("pools/default_pool", "pools/etl", "dags/daily", "dags/hourly")
        answers |= {"POST /pools": {}, **{f"PATCH /{path}": {} for path in accepted}}
    return aws


def changes(aws: FakeClients) -> list[tuple[str, str, str, Any]]:
    return [
        (request["Name"], request["Method"], request["Path"], request.get("Body"))
        for request in aws.mwaa.asked
        if request["Method"] != "GET" and not request["Path"].endswith("/list")
    ]


def synced(aws: FakeClients) -> CopyResult:
    return copy_settings(deployment(aws), "blue", "green")


def test_sides_that_are_alike_are_left_alone(airflows: FakeClients) -> None:
    assert synced(airflows) == CopyResult()
    assert changes(airflows) == []


def test_the_pause_state_is_copied_to_the_target_only(airflows: FakeClients) -> None:
    daily, hourly = airflows.mwaa.airflow[GREEN]["/dags"]["dags"]
    daily["is_paused"], hourly["is_paused"] = True, False
    assert synced(airflows) == CopyResult(paused=("hourly",), unpaused=("daily",))
    assert changes(airflows) == [
        (GREEN, "PATCH", "/dags/daily", {"is_paused": False}),
        (GREEN, "PATCH", "/dags/hourly", {"is_paused": True}),
    ]


def test_nothing_is_unpaused_where_the_gate_is_not_proven(airflows: FakeClients) -> None:
    """Its scheduler would create runs at once, and perhaps execute what the other side owns."""
    daily, hourly = airflows.mwaa.airflow[GREEN]["/dags"]["dags"]
    daily["is_paused"], hourly["is_paused"] = True, False
    airflows.mwaa.probes[GREEN].there = False
    copied = synced(airflows)
    assert (copied.paused, copied.unpaused, copied.kept_paused) == (("hourly",), (), ("daily",))
    assert [change[2:] for change in changes(airflows)] == [("/dags/hourly", {"is_paused": True})]
    assert copied.unproven == f"it has no run of the DAG {PROBE}"
    notes = plan(deployment(airflows), "green", sync=True).notes
    assert f"daily stay paused on green, whose gate is not proven: {copied.unproven}" in notes


def test_the_probe_itself_is_unpaused(airflows: FakeClients) -> None:
    for name, paused in ((BLUE, False), (GREEN, True)):
        airflows.mwaa.airflow[name]["/dags"]["dags"].append({"dag_id": PROBE, "is_paused": paused})
        airflows.mwaa.airflow[name]["/dags"]["total_entries"] = 3
        airflows.mwaa.airflow[name][f"PATCH /dags/{PROBE}"] = {}
    airflows.mwaa.probes[GREEN].shows = lambda due: "queued"
    assert synced(airflows) == CopyResult(unpaused=(PROBE,))


def test_a_dag_of_one_side_only_is_no_matter_of_sync(airflows: FakeClients) -> None:
    airflows.mwaa.airflow[BLUE]["/dags"]["dags"].append({"dag_id": "new", "is_paused": True})
    airflows.mwaa.airflow[BLUE]["/dags"]["total_entries"] = 3
    assert synced(airflows) == CopyResult()


def test_a_dag_that_the_target_owns_keeps_its_own_pause_state(airflows: FakeClients) -> None:
    carry_out(
        plan(
            deployment(
                airflows,
            ),
            "green",
            dags=["daily"],
        )
    )
    airflows.ssm.clock.forward(60)
    for dag in airflows.mwaa.airflow[BLUE]["/dags"]["dags"]:
        dag["is_paused"] = not dag["is_paused"]
    assert synced(airflows) == CopyResult(unpaused=("hourly",), left=("daily",))


def test_missing_pools_are_made_and_different_ones_changed(airflows: FakeClients) -> None:
    airflows.mwaa.airflow[BLUE]["/pools"] = pool_answer(default_pool=64, etl=4, api=2)
    airflows.mwaa.airflow[GREEN]["/pools"] = pool_answer(default_pool=128, etl=8, theirs=1)
    assert synced(airflows).pools == ("api", "default_pool", "etl")
    etl = {"name": "etl", "slots": 4, "description": "", "include_deferred": False}
    assert [(name, method, path) for name, method, path, _ in changes(airflows)] == [
        (GREEN, "POST", "/pools"),
        (GREEN, "PATCH", "/pools/default_pool"),
        (GREEN, "PATCH", "/pools/default_pool"),
        (GREEN, "PATCH", "/pools/etl"),
    ]
    assert changes(airflows)[-1][-1] == etl


def test_of_the_default_pool_each_field_is_named_in_a_call_of_its_own(airflows: FakeClients) -> None:
    airflows.mwaa.airflow[BLUE]["/pools"] = pool_answer(default_pool=64)
    synced(airflows)
    masks = [r["QueryParameters"] for r in airflows.mwaa.asked if r["Path"] == "/pools/default_pool"]
    assert masks == [{"update_mask": "slots"}, {"update_mask": "include_deferred"}]


def test_pools_come_before_dags_that_may_start_runs_at_once(airflows: FakeClients) -> None:
    airflows.mwaa.airflow[BLUE]["/pools"] = pool_answer(default_pool=128, etl=4)
    airflows.mwaa.airflow[GREEN]["/dags"]["dags"][0]["is_paused"] = True
    synced(airflows)
    assert [path for _, _, path, _ in changes(airflows)] == ["/pools", "/dags/daily"]


def test_a_side_that_does_not_answer_stops_it_before_any_change(airflows: FakeClients) -> None:
    airflows.mwaa.airflow[GREEN]["/dags"]["dags"][0]["is_paused"] = True
    airflows.mwaa.airflow[GREEN]["/pools"] = client_error("InternalServerException", 500)
    with pytest.raises(Unreachable, match=GREEN):
        synced(airflows)
    assert changes(airflows) == []


def test_only_what_a_pool_lets_through_counts() -> None:
    one = {"etl": Pool(name="etl", slots=4, description="ours")}
    assert different_pools(one, {"etl": Pool(name="etl", slots=4, description="theirs")}) == set()
    assert different_pools(one, {"etl": Pool(name="etl", slots=4, include_deferred=True)}) == {"etl"}
