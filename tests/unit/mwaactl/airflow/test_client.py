"""The calls to Airflow's REST API: what each version receives, and how its answers are read.

Airflow refuses names that it does not know, so the bodies are compared whole. The shapes are those of
2.10.3 and 2.11.2 (v1), 3.0.6 and 3.3.1 (v2).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from mwaactl.airflow.models import Asset, AssetEvent, Dag, Pool
from mwaactl.errors import Unreachable
from tests.fakes.airflow.api import HOUR, SCHEDULED, TEN, a_run, api_of, run_answer, sent, task_answer
from tests.fakes.aws.errors import refused

NO_DAGS = {"/dags": {"dags": [], "total_entries": 0}}

# --- DAGs, tasks ---


@pytest.mark.parametrize(
    ("interval", "schedule"),
    [
        (None, None),
        ({"__type": "CronExpression", "value": "0 * * * *"}, "0 * * * *"),
        ({"__type": "CronExpression", "value": "Dataset"}, "Dataset"),
        ({"__type": "TimeDelta", "days": 0, "seconds": 300, "microseconds": 0}, "0:05:00"),
        ({"__type": "RelativeDelta", "months": 1, "days": 0, "day": None}, "relativedelta(months=1)"),
    ],
)
def test_the_schedule_of_an_airflow_2_dag_reads_as_in_airflow_3(interval: Any, schedule: str | None) -> None:
    answer = {
        "dag_id": "etl",
        "is_paused": False,
        "schedule_interval": interval,
        "max_active_runs": 16,
        "next_dagrun_create_after": "2026-11-23T10:00:00+00:00",
    }
    api, mwaa = api_of({"/dags": {"dags": [answer], "total_entries": 1}}, 2)
    due: dict[str, Any] = {"next_due": TEN, "next_run_after": TEN}
    assert api.dags() == {
        "etl": Dag(dag_id="etl", paused=False, schedule=schedule, max_active_runs=16, **due)
    }
    assert sent(mwaa) == [("GET", "/dags", {"limit": "100", "offset": "0"})]


@pytest.mark.parametrize(
    ("summary", "schedule", "by_assets"),
    [
        ("None", None, False),
        ("0:05:00", "0:05:00", False),
        ("Asset", "Asset", True),
        ("Asset or 0 * * * *", "Asset or 0 * * * *", True),
        ("Dataset", "Dataset", True),
        ("Partitioned Asset", "Partitioned Asset", True),
        ("PartitionedAtRuntime", "PartitionedAtRuntime", False),
    ],
)
def test_the_schedule_of_an_airflow_3_dag_is_its_summary(
    summary: str, schedule: str | None, by_assets: bool
) -> None:
    answer = {
        "dag_id": "etl",
        "is_paused": True,
        "timetable_summary": summary,
        "max_active_runs": 1,
        "next_dagrun_run_after": "2026-11-23T10:00:00Z",
    }
    api, _ = api_of({"/dags": {"dags": [answer], "total_entries": 1}}, 3)
    dag = api.dags()["etl"]
    due: dict[str, Any] = {"next_due": TEN, "next_run_after": TEN}
    assert dag == Dag(dag_id="etl", paused=True, schedule=schedule, max_active_runs=1, **due)
    assert (dag.by_assets, dag.by_partitions) == (by_assets, summary.startswith("Partitioned Asset"))


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize(
    ("after", "end", "due", "delayed", "early"),
    [
        (TEN, TEN, TEN, False, False),
        (TEN + HOUR, TEN, TEN, True, False),
        (TEN, TEN + HOUR, TEN, False, True),
        (TEN, None, TEN, False, False),  # no data interval, as with CronPartitionTimetable
        (None, None, None, False, False),
    ],
)
def test_a_run_is_due_at_its_intervals_end_or_earlier(
    major: int, after: datetime | None, end: datetime | None, due: Any, delayed: bool, early: bool
) -> None:
    answer = {
        "dag_id": "etl",
        "is_paused": False,
        "next_dagrun_create_after" if major == 2 else "next_dagrun_run_after": after and after.isoformat(),
        "next_dagrun_data_interval_end": end and end.isoformat(),
    }
    api, _ = api_of({"/dags": {"dags": [answer], "total_entries": 1}}, major)
    dag = api.dags()["etl"]
    assert (dag.next_due, dag.delayed, dag.early) == (due, delayed, early)


@pytest.mark.parametrize("major", [2, 3])
def test_tasks_know_what_they_wait_for_and_what_follows(major: int) -> None:
    answer = {
        "task_id": "load",
        "operator_name": "@task",
        "class_ref": {"module_path": "m", "class_name": "PythonOperator"},
        "downstream_task_ids": ["check"],
        "depends_on_past": True,
        "wait_for_downstream": False,
        "template_fields": ["op_args"],
    }
    bare = {"task_id": "check", "operator_name": "EmptyOperator", "class_ref": None}
    api, _ = api_of({"/dags/a%2Fb/tasks": {"tasks": [answer, bare]}}, major)
    load, check = api.tasks("a/b")
    assert (load.operator, load.downstream, load.depends_on_past) == ("PythonOperator", ("check",), True)
    assert (load.wait_for_downstream, load.template_fields) == (False, ("op_args",))
    assert (check.operator, check.downstream, check.depends_on_past) == ("EmptyOperator", (), False)


# --- variables, connections, assets, pools ---


def test_variables_and_connections_are_those_of_the_database() -> None:
    api, _ = api_of(
        {
            "/variables": {
                "variables": [{"key": "mark", "value": "7"}, {"key": "empty", "value": None}],
                "total_entries": 2,
            },
            "/connections": {
                "connections": [{"connection_id": "db", "login": "me", "host": "h"}],
                "total_entries": 1,
            },
        },
        3,
    )
    assert api.variables() == {"mark": "7", "empty": None}
    assert api.connections() == frozenset({"db"}), "nothing but its id is kept"


@pytest.mark.parametrize(
    ("major", "path", "key", "consumers"),
    [
        (2, "/datasets", "datasets", "consuming_dags"),
        (3, "/assets", "assets", "consuming_dags"),  # 3.0
        (3, "/assets", "assets", "scheduled_dags"),  # since 3.1
    ],
)
def test_assets_know_their_producers_and_consumers(major: int, path: str, key: str, consumers: str) -> None:
    answer = {
        "id": 4,
        "uri": "s3://b/k",
        "producing_tasks": [{"dag_id": "etl", "task_id": "load"}],
        consumers: [{"dag_id": "report", "created_at": TEN.isoformat()}],
    }
    api, _ = api_of({path: {key: [answer], "total_entries": 1}}, major)
    assert api.assets() == (Asset(id=4, uri="s3://b/k", producers=("etl",), consumers={"report": TEN}),)


@pytest.mark.parametrize(
    ("major", "path", "event", "name"),
    [
        (2, "/dags/etl/datasets/queuedEvent", {"uri": "s3://b/k"}, "s3://b/k"),
        (3, "/dags/etl/assets/queuedEvents", {"asset_id": 4}, "4"),
    ],
)
def test_events_that_wait_for_others_are_reported(major: int, path: str, event: Any, name: str) -> None:
    api, _ = api_of({path: {"queued_events": [event], "total_entries": 1}}, major)
    assert api.queued_asset_events("etl") == (name,)


@pytest.mark.parametrize(
    ("major", "path", "answer"),
    [
        (2, "/dags/etl/datasets/queuedEvent", refused(404, title="Queue event not found")),
        (3, "/dags/etl/assets/queuedEvents", refused(404, detail="was not found")),  # 3.0
        (3, "/dags/etl/assets/queuedEvents", {"queued_events": [], "total_entries": 0}),  # 3.3
    ],
)
def test_no_waiting_event_is_no_error(major: int, path: str, answer: Any) -> None:
    api, _ = api_of({path: answer}, major)
    assert api.queued_asset_events("etl") == ()


def test_events_that_cannot_be_asked_for_are_an_error() -> None:
    api, _ = api_of({"/dags/etl/assets/queuedEvents": refused(403, detail="no")}, 3)
    with pytest.raises(Unreachable, match="403: no"):
        api.queued_asset_events("etl")


def test_events_of_partitions_are_asked_for_by_asset_and_time() -> None:
    created = [{"dag_id": "report", "run_id": "r"}]
    events = [
        {"timestamp": TEN.isoformat(), "partition_key": "k", "created_dagruns": created},
        {"timestamp": TEN.isoformat(), "partition_key": None, "created_dagruns": []},
    ]
    api, mwaa = api_of({"/assets/events": {"asset_events": events, "total_entries": 2}}, 3)
    assert api.partition_events(4, TEN) == (AssetEvent(at=TEN, partition="k", created=frozenset({"report"})),)
    since = "2026-11-23T10:00:00.000Z"
    query = {"asset_id": "4", "timestamp_gte": since, "order_by": "-timestamp", "limit": "100", "offset": "0"}
    assert sent(mwaa) == [("GET", "/assets/events", query)]


@pytest.mark.parametrize(("major", "field"), [(2, "dataset_expression"), (3, "asset_expression")])
def test_a_dag_has_a_condition_of_assets(major: int, field: str) -> None:
    api, _ = api_of({"/dags/etl/details": {"dag_id": "etl", field: {"all": ["a", "b"]}}}, major)
    assert api.asset_condition("etl") == {"all": ["a", "b"]}


@pytest.mark.parametrize("major", [2, 3])
def test_pools_lose_what_they_hold_at_the_moment(major: int) -> None:
    answer = {"name": "etl", "slots": 4, "description": None, "include_deferred": True, "open_slots": 2}
    api, _ = api_of({"/pools": {"pools": [answer], "total_entries": 1}}, major)
    assert api.pools() == {"etl": Pool(name="etl", slots=4, include_deferred=True)}


# --- runs ---


def test_airflow_3_is_asked_for_runs_by_due_instant_page_by_page() -> None:
    runs = [run_answer(f"r{i}", due=TEN + i * timedelta(minutes=1)) for i in range(150)]
    for run in runs:
        run["run_after"] = run["data_interval_end"]

    def page(body: dict[str, Any]) -> dict[str, Any]:
        portion = runs[body["page_offset"] :][: body["page_limit"]]
        return {"dag_runs": portion, "total_entries": len(runs)}

    api, mwaa = api_of({"POST /dags/~/dagRuns/list": page, **NO_DAGS}, 3)
    due = api.scheduled_runs(TEN, TEN + 2 * HOUR, ["b", "a"])
    assert [run.run_id for run in due] == [f"r{i}" for i in range(120)], "not those due at the end or later"
    assert sent(mwaa)[1] == (
        "POST",
        "/dags/~/dagRuns/list",
        {
            "dag_ids": ["a", "b"],
            "run_after_gte": "2026-11-23T10:00:00.000Z",
            "run_after_lte": "2026-11-23T12:00:00.000Z",
            "order_by": "run_after",
            "page_limit": 100,
            "page_offset": 0,
        },
    )
    assert [body["page_offset"] for method, _, body in sent(mwaa) if method == "POST"] == [0, 100]


def test_a_run_that_airflow_3_creates_long_after_it_is_due_is_found_by_its_dag() -> None:
    prompt = run_answer("prompt", run_after=TEN.isoformat())
    late = run_answer("late", dag_id="slow", run_after=(TEN + 9 * HOUR).isoformat())
    delayed = {
        "next_dagrun_run_after": (TEN + 10 * HOUR).isoformat(),
        "next_dagrun_data_interval_end": (TEN + HOUR).isoformat(),
    }
    dags = [{"dag_id": "etl", "is_paused": False}, {"dag_id": "slow", "is_paused": False, **delayed}]

    def listing(body: dict[str, Any]) -> dict[str, Any]:
        until = datetime.fromisoformat(body.get("run_after_lte", "9999-01-01T00:00:00Z"))
        runs = [
            run
            for run in (prompt, late)
            if datetime.fromisoformat(run["run_after"]) <= until
            and run["dag_id"] in body.get("dag_ids", ("etl", "slow"))
        ]
        return {"dag_runs": runs, "total_entries": len(runs)}

    answers = {"POST /dags/~/dagRuns/list": listing, "/dags": {"dags": dags, "total_entries": 2}}
    for chosen, run_ids in (([], {"prompt", "late"}), (["etl"], {"prompt"}), (["slow"], {"late"})):
        api, _ = api_of(answers, 3)
        runs = api.scheduled_runs(TEN, TEN + HOUR, chosen)
        assert {run.run_id for run in runs} == run_ids
        assert {run.due for run in runs} == {TEN}


def test_a_run_that_two_pages_show_counts_once() -> None:
    runs = [run_answer(run_after=TEN.isoformat())]
    answers = iter([{"dag_runs": runs, "total_entries": 2}] * 2)
    api, _ = api_of({"POST /dags/~/dagRuns/list": lambda _: next(answers), **NO_DAGS}, 3)
    assert len(api.scheduled_runs(TEN, TEN + HOUR)) == 1


def test_airflow_2_runs_are_read_from_the_newest_back_to_the_first_that_was_created_before() -> None:
    """A run that is due in time may be created late; one that was created before cannot be due in time."""
    early = run_answer("early", due=TEN - HOUR)
    late = run_answer("late", due=TEN - HOUR, start_date=(TEN + HOUR).isoformat())
    pages = [
        [run_answer("new", due=TEN + HOUR), run_answer("m", kind="manual"), late],
        [run_answer("queued", start_date=None), run_answer("first"), early],
        [run_answer("never read")],
    ]
    answers = iter(pages)
    api, mwaa = api_of(
        {"POST /dags/~/dagRuns/list": lambda _: {"dag_runs": next(answers), "total_entries": 9}}, 2
    )
    due = api.scheduled_runs(TEN, TEN + 2 * HOUR)
    assert {run.run_id for run in due} == {"first", "queued", "new"}
    assert due[-1].run_id == "new", "in the order of their due instants"
    assert [body for _, _, body in sent(mwaa)] == [
        {"order_by": "-id", "page_limit": 100, "page_offset": 0},
        {"order_by": "-id", "page_limit": 100, "page_offset": 3},
    ]


@pytest.mark.parametrize(
    ("major", "query"),
    [
        (2, {"limit": "5", "order_by": "-execution_date"}),
        (3, {"limit": "5", "order_by": "-run_after", "run_type": "scheduled"}),
    ],
)
def test_the_newest_runs_of_one_dag_are_its_scheduled_ones(major: int, query: Any) -> None:
    answer = {"dag_runs": [run_answer("m", kind="manual"), run_answer()], "total_entries": 2}
    api, mwaa = api_of({"/dags/etl/dagRuns": answer}, major)
    assert [run.run_id for run in api.newest_runs("etl", 5)] == [SCHEDULED]
    assert sent(mwaa) == [("GET", "/dags/etl/dagRuns", query)]


@pytest.mark.parametrize(
    ("major", "filters"),
    [
        (2, {"order_by": "-execution_date", "execution_date_lte": "2026-11-23T10:00:00.000Z"}),
        (3, {"order_by": "-run_after", "run_after_lte": "2026-11-23T10:00:00.000Z"}),
    ],
)
def test_the_runs_before_an_instant_are_fetched_as_they_are_taken(major: int, filters: Any) -> None:
    def answer(run_id: str, hours: int, kind: str = "scheduled") -> Any:
        due = (TEN - hours * HOUR).isoformat()
        return {**run_answer(run_id, kind=kind), "run_after": due, "data_interval_end": due}

    pages = [
        [answer("at", 0), answer("m", 0, "manual"), answer("one", 1)],
        [answer("two", 2), answer("three", 3)],
        [answer("never read", 4)],
    ]
    answers = iter(pages)
    api, mwaa = api_of(
        {"POST /dags/~/dagRuns/list": lambda _: {"dag_runs": next(answers), "total_entries": 6}}, major
    )
    taken = islice(api.runs_before("etl", TEN), 3)
    assert [run.run_id for run in taken] == ["one", "two", "three"]
    assert [body for _, _, body in sent(mwaa)] == [
        {"dag_ids": ["etl"], **filters, "page_limit": 100, "page_offset": offset} for offset in (0, 3)
    ]


@pytest.mark.parametrize("major", [2, 3])
def test_the_newest_runs_may_be_of_any_type(major: int) -> None:
    answer = {"dag_runs": [run_answer("m", kind="manual"), run_answer()], "total_entries": 2}
    api, mwaa = api_of({"/dags/etl/dagRuns": answer}, major)
    assert [run.run_id for run in api.newest_runs("etl", 5, of_any_type=True)] == ["m", SCHEDULED]
    assert "run_type" not in sent(mwaa)[0][2]


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(hours=3)])
def test_a_run_has_the_same_due_instant_in_airflow_2_which_does_not_keep_when_it_may_start(
    delay: timedelta,
) -> None:
    due = []
    versions: dict[int, dict[str, Any]] = {2: {}, 3: {"run_after": (TEN + delay).isoformat()}}
    for major, more in versions.items():
        api, _ = api_of({"/dags/~/dagRuns": {"dag_runs": [run_answer(**more)], "total_entries": 1}}, major)
        due += [run.due for run in api.last_scheduled_runs()]
    assert due == [TEN, TEN]


def test_a_run_has_its_due_instant_its_interval_and_its_note() -> None:
    answer = run_answer(run_after=(TEN + HOUR).isoformat(), note="looked at")  # created late
    api, _ = api_of({"/dags/~/dagRuns": {"dag_runs": [answer], "total_entries": 1}}, 3)
    (run,) = api.last_scheduled_runs()
    assert (run.due, run.interval, run.note) == (TEN, (TEN - HOUR, TEN), "looked at")
    assert (run.key, run.finished, run.logical_date) == (("etl", SCHEDULED), True, TEN - HOUR)


# --- task instances ---


@pytest.mark.parametrize(
    ("major", "own"),
    [(2, {"page_limit": 500}), (3, {"page_limit": 100, "order_by": "id"})],  # v1 has no order_by here
)
def test_task_instances_are_asked_for_in_each_versions_way(major: int, own: Any) -> None:
    others = task_answer("of another run of these DAGs")
    answer = {"task_instances": [task_answer(), others], "total_entries": 2}
    api, mwaa = api_of({"POST /dags/~/dagRuns/~/taskInstances/list": answer}, major)
    by_run = api.task_instances([a_run(), a_run("none yet")], states=["skipped", None])
    assert {key: len(tasks) for key, tasks in by_run.items()} == {
        ("etl", SCHEDULED): 1,
        ("etl", "none yet"): 0,
    }
    assert sent(mwaa)[0][2] == {
        "dag_ids": ["etl"],
        "dag_run_ids": ["none yet", SCHEDULED],
        "state": ["skipped", None],
        "page_offset": 0,
        **own,
    }


def test_many_runs_are_asked_for_in_portions_and_each_task_instance_counts_once() -> None:
    def page(body: dict[str, Any]) -> dict[str, Any]:
        answers = [task_answer(run_id) for run_id in body["dag_run_ids"]] * 2
        return {"task_instances": answers, "total_entries": len(answers)}

    api, mwaa = api_of({"POST /dags/~/dagRuns/~/taskInstances/list": page}, 2)
    by_run = api.task_instances([a_run(f"r{i}") for i in range(60)])
    assert {len(tasks) for tasks in by_run.values()} == {1}
    assert [len(body["dag_run_ids"]) for _, _, body in sent(mwaa)] == [50, 10]


@pytest.mark.parametrize("major", [2, 3])
def test_a_run_has_begun_if_airflow_lists_a_task_of_it_that_has_a_start(major: int) -> None:
    answer = {"task_instances": [task_answer(), task_answer("of others")], "total_entries": 2}
    api, mwaa = api_of({"POST /dags/~/dagRuns/~/taskInstances/list": answer}, major)
    assert api.begun([a_run(), a_run("new")]) == {("etl", SCHEDULED)}
    assert sent(mwaa)[0][2]["start_date_gte"] == "1970-01-01T00:00:00.000Z"
    assert "state" not in sent(mwaa)[0][2]


@pytest.mark.parametrize(
    ("fields", "executed"),
    [
        ({"state": "success", "hostname": "worker"}, True),
        ({"state": "running", "pid": 7}, True),
        ({"state": "skipped", "hostname": "worker"}, False),  # the gate stopped it in its process
        ({"state": "skipped"}, False),  # born skipped
        ({"state": "success"}, False),  # an EmptyOperator: no process ever
        ({"state": None, "hostname": "worker"}, False),  # cleared
    ],
)
def test_a_task_instance_was_executed_if_a_process_did_more_than_skip_it(fields: Any, executed: bool) -> None:
    answer = {"task_instances": [task_answer(**fields)], "total_entries": 1}
    api, _ = api_of({"POST /dags/~/dagRuns/~/taskInstances/list": answer}, 3)
    (instance,) = api.task_instances([a_run()])["etl", SCHEDULED]
    assert instance.executed == executed


def test_a_task_instance_keeps_its_start_its_index_and_its_rendered_fields() -> None:
    answer = task_answer(
        index=3,
        start_date="2026-11-23T10:00:00Z",
        rendered_fields={"external_dag_id": "up"},
        operator_name="S",
    )
    api, _ = api_of(
        {"POST /dags/~/dagRuns/~/taskInstances/list": {"task_instances": [answer], "total_entries": 1}}, 3
    )
    (instance,) = api.task_instances([a_run()])["etl", SCHEDULED]
    assert (instance.start, instance.map_index, instance.operator) == (TEN, 3, "S")
    assert instance.rendered == {"external_dag_id": "up"}
