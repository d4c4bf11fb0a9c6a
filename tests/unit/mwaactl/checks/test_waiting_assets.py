"""The check of asset events that wait for others, on both sides, and what the drain asks for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from mwaactl.checks.registry import CHECKS
from mwaactl.checks.waiting_assets import waiting_asset_events
from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment
from tests.fakes.aws.errors import client_error
from tests.fakes.clock import START
from tests.fakes.mwaactl.checks import dag_answer, outcome, set_dags

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NONE_QUEUED = client_error("RestApiClientException", 400, RestApiStatusCode=404, RestApiResponse={})


def by_assets(
    aws: FakeClients, *dag_ids: str, paused: bool = False, schedule: str = "Asset", all_of: str = "ab"
) -> None:
    """DAGs on both sides that are triggered by all of the assets a (id 1), b (id 2) and so on."""
    condition = {"all": [{"asset": {"uri": f"s3://{name}"}} for name in all_of]}
    consumers = [{"dag_id": dag_id, "created_at": (START - HOUR).isoformat()} for dag_id in dag_ids]
    assets = [
        {"id": number, "uri": f"s3://{name}", "scheduled_dags": consumers}
        for number, name in enumerate(all_of, start=1)
    ]
    for name in (BLUE, GREEN):
        set_dags(aws, name, *(dag_answer(dag_id, paused, timetable_summary=schedule) for dag_id in dag_ids))
        airflow = aws.mwaa.airflow[name]
        airflow["/assets"] = {"assets": assets, "total_entries": len(assets)}
        for dag_id in dag_ids:
            airflow[f"/dags/{dag_id}/details"] = {"dag_id": dag_id, "asset_expression": condition}
            queued(aws, dag_id, side=name)


def queued(aws: FakeClients, dag_id: str, *events: int, side: str = BLUE) -> None:
    queue = [{"asset_id": event} for event in events]
    answer: Any = {"queued_events": queue, "total_entries": len(queue)} if queue else NONE_QUEUED
    aws.mwaa.airflow[side][f"/dags/{dag_id}/assets/queuedEvents"] = answer


def test_half_a_condition_on_the_source_fails_with_the_dag_and_the_ways_out(aws: FakeClients) -> None:
    by_assets(aws, "report", "other")
    queued(aws, "report", 1)
    result, detail = outcome(aws, "asset-events")
    assert result == "fail"
    assert "report (s3://a). Wait until these DAGs have run, or add --force asset-events" in detail
    assert outcome(aws, "asset-events", "other")[0] == "pass", "report does not move"


def test_half_a_condition_that_is_left_on_the_target_fails_too(aws: FakeClients) -> None:
    by_assets(aws, "report")
    queued(aws, "report", 2, side=GREEN)
    result, detail = outcome(aws, "asset-events")
    assert result == "fail"
    assert "on green, asset events are left from before" in detail
    assert "report (s3://b). Delete them there" in detail
    queued(aws, "report", 1)
    detail = outcome(aws, "asset-events")[1]
    assert "report (s3://a)" in detail
    assert "report (s3://b)" in detail


def test_a_dag_that_the_target_owns_already_may_wait_there(aws: FakeClients) -> None:
    by_assets(aws, "report")
    carry_out(plan(deployment(aws), "green", dags=["report"], force=["gate"]))
    queued(aws, "report", 2, side=GREEN)
    assert outcome(aws, "asset-events")[0] == "pass"


def test_a_condition_that_is_met_waits_for_the_scheduler_only(aws: FakeClients) -> None:
    by_assets(aws, "report")
    queued(aws, "report", 1, 2)
    assert outcome(aws, "asset-events")[0] == "pass"
    any_of = {"any": [{"asset": {"uri": "s3://a"}}, {"alias": "x"}]}
    aws.mwaa.airflow[BLUE]["/dags/report/details"]["asset_expression"] = any_of
    queued(aws, "report", 1)
    assert outcome(aws, "asset-events")[0] == "pass"
    queued(aws, "report", 2)
    assert outcome(aws, "asset-events")[0] == "fail", "an alias may stand for any asset"


def at_work(aws: FakeClients, *dag_ids: str, due: datetime = START - MINUTE, kind: str = "scheduled") -> None:
    """Unfinished runs of these DAGs on blue."""
    runs = [
        {
            "dag_id": dag_id,
            "dag_run_id": "r",
            "run_type": kind,
            "state": "running",
            "run_after": due.isoformat(),
        }
        for dag_id in dag_ids
    ]
    aws.mwaa.airflow[BLUE]["POST /dags/~/dagRuns/list"] = {"dag_runs": runs, "total_entries": len(runs)}


def test_half_a_condition_that_is_being_produced_on_the_source_would_be_cut(aws: FakeClients) -> None:
    """The producer of a drains on the source while that of b has its next run on the target."""
    by_assets(aws, "report")
    for number, asset in enumerate(aws.mwaa.airflow[BLUE]["/assets"]["assets"]):
        asset["producing_tasks"] = [{"dag_id": f"make_{'ab'[number]}", "task_id": "t"}]
    assert outcome(aws, "asset-events")[0] == "pass"
    at_work(aws, "make_a")
    result, detail = outcome(aws, "asset-events")
    assert (result, "report (s3://a from make_a)" in detail) == ("fail", True)
    at_work(aws, "make_a", "make_b")
    assert outcome(aws, "asset-events")[0] == "pass", "both events come on the source"
    at_work(aws, "make_a")
    queued(aws, "report", 2)
    assert outcome(aws, "asset-events")[0] == "pass", "so do they here"
    at_work(aws, "other")
    assert outcome(aws, "asset-events")[0] == "fail"


def test_a_producer_that_only_mirrors_on_the_source_produces_nothing_there(aws: FakeClients) -> None:
    by_assets(aws, "report")
    aws.mwaa.airflow[BLUE]["/assets"]["assets"][0]["producing_tasks"] = [{"dag_id": "make_a", "task_id": "t"}]
    carry_out(plan(deployment(aws), "green", dags=["make_a"], force=CHECKS))
    at_work(aws, "make_a", due=START + HOUR)
    assert outcome(aws, "asset-events")[0] == "pass"
    at_work(aws, "make_a")
    assert outcome(aws, "asset-events")[0] == "fail", "due before the move"
    at_work(aws, "make_a", due=START + HOUR, kind="manual")
    assert outcome(aws, "asset-events")[0] == "fail", "it is executed where it was made"


def test_no_waiting_event_passes_and_paused_dags_are_not_asked(aws: FakeClients) -> None:
    by_assets(aws, "report")
    assert outcome(aws, "asset-events")[0] == "pass"
    by_assets(aws, "report", paused=True)
    queued(aws, "report", 1)
    assert outcome(aws, "asset-events")[0] == "pass"


@pytest.mark.parametrize("side", [BLUE, GREEN])
def test_events_that_cannot_be_read_are_not_checked(aws: FakeClients, side: str) -> None:
    by_assets(aws, "report")
    aws.mwaa.airflow[side]["/dags/report/assets/queuedEvents"] = client_error("InternalServerException", 500)
    assert outcome(aws, "asset-events")[0] == "not checked"


def partitions(aws: FakeClients, side: str, *events: dict[str, Any]) -> None:
    """The events of each asset of that side; all others have none."""
    for name in (BLUE, GREEN):
        listed = [] if name != side else [{"created_dagruns": [], **event} for event in events]

        def answer(query: Any, listed: list[dict[str, Any]] = listed) -> dict[str, Any]:
            since = datetime.fromisoformat(query["timestamp_gte"])
            chosen = [
                event
                for event in listed
                if str(event["asset_id"]) == query["asset_id"]
                and datetime.fromisoformat(event["timestamp"]) >= since
            ]
            return {"asset_events": chosen, "total_entries": len(chosen)}

        aws.mwaa.airflow[name]["/assets/events"] = answer


def event(asset_id: int, key: str | None, age: timedelta, *created: str) -> dict[str, Any]:
    runs = [{"dag_id": dag_id, "run_id": "r"} for dag_id in created]
    at = (START - age).isoformat()
    return {"asset_id": asset_id, "partition_key": key, "timestamp": at, "created_dagruns": runs}


@pytest.mark.parametrize("side", [BLUE, GREEN])
def test_half_a_partition_is_seen_on_either_side(aws: FakeClients, side: str) -> None:
    """As case h5: a and b each have events, but of different partitions."""
    by_assets(aws, "join", schedule="Partitioned Asset")
    half = (event(1, "10:00", 9 * MINUTE), event(2, "09:58", 9 * MINUTE, "join"), event(2, "9", 9 * MINUTE))
    partitions(aws, side, *half)
    result, detail = outcome(aws, "asset-events")
    assert result == "fail"
    assert "join (s3://a of 10:00, s3://b of 9)" in detail


@pytest.mark.parametrize(
    "harmless",
    [
        event(1, "10:00", 9 * MINUTE, "join"),  # has triggered it
        event(1, None, 9 * MINUTE),  # of no partition, so not for this DAG
        event(1, "10:00", 2 * HOUR),  # from before the DAG knew the asset
    ],
)
def test_a_partition_that_does_not_wait_passes(aws: FakeClients, harmless: dict[str, Any]) -> None:
    by_assets(aws, "join", schedule="Partitioned Asset")
    partitions(aws, BLUE, harmless)
    assert outcome(aws, "asset-events")[0] == "pass"


def test_a_partition_of_one_asset_has_a_minute_to_trigger_its_run(aws: FakeClients) -> None:
    by_assets(aws, "follow", schedule="Partitioned Asset", all_of="a")
    partitions(aws, BLUE, event(1, "10:00", 0.5 * MINUTE))
    assert outcome(aws, "asset-events")[0] == "pass"
    partitions(aws, BLUE, event(1, "10:00", 2 * MINUTE))
    assert outcome(aws, "asset-events")[0] == "fail", "it waits for more partitions (a roll-up)"


def test_all_events_on_their_way_are_known_to_the_drain(aws: FakeClients) -> None:
    by_assets(aws, "report")
    queued(aws, "report", 1, 2)
    api = deployment(aws).airflow("blue")
    assert waiting_asset_events(api) == {"report": ("s3://a", "s3://b")}
    queued(aws, "report")
    assert waiting_asset_events(api) == {}
    by_assets(aws, "join", schedule="Partitioned Asset")
    partitions(aws, BLUE, event(2, "10:00", 0 * MINUTE))
    assert waiting_asset_events(api) == {"join": ("s3://b of 10:00",)}
