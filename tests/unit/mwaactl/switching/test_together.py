"""What must not be divided changes sides together: mutexes of any kind, DAGs that look at each other."""

from __future__ import annotations

from typing import Any

import pytest

from mwaactl.errors import UsageError
from mwaactl.screens.switch import continue_command
from mwaactl.switching.drain import wait_until_drained
from mwaactl.switching.write import SwitchResult
from tests.fakes.airflow.schedule import NAMES, ScheduledAirflows, Work, run_answer
from tests.fakes.aws.clients import FakeClients, deployment, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import at
from tests.fakes.mwaactl.switches import planned, switched


def held(done: SwitchResult) -> dict[str, str]:
    return {dag.dag_id: dag.reason for dag in done.held}


def plain(period: float, seconds: float, **more: Any) -> Work:
    """A DAG that may overlap itself."""
    return Work(period, seconds, alone=False, **more)


# --- mutexes ---


def test_a_dag_with_room_for_one_task_is_serial(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"one": plain(600, 60, active_tasks=1), "two": plain(600, 60, active_tasks=2)})
    assert set(held(switched(aws))) == {"one"}


def test_a_task_that_fills_its_pool_makes_its_dag_serial(aws: FakeClients) -> None:
    narrow = {"name": "api", "slots": 1}
    for side in NAMES.values():
        aws.mwaa.airflow[side]["/pools"]["pools"].append(narrow)
    ScheduledAirflows(aws, {"calls": plain(600, 60, pool="api"), "other": plain(600, 60)})
    assert set(held(switched(aws))) == {"calls"}


def test_dags_that_share_a_pool_with_one_slot_change_sides_together(aws: FakeClients) -> None:
    for side in NAMES.values():
        aws.mwaa.airflow[side]["/pools"]["pools"].append({"name": "api", "slots": 1})
    works = {"busy": plain(600, 60, pool="api"), "idle": plain(600, 60, first=300, pool="api")}
    ScheduledAirflows(aws, works)
    assert held(switched(aws)) == {
        "busy": "scheduled__10:00:00 is unfinished",
        "idle": "it goes together with busy: scheduled__10:00:00 is unfinished",
    }
    aws.ssm.clock.forward(90)
    assert set(switched(aws).moved) == {"busy", "idle"}


def test_a_dag_by_assets_or_time_is_not_taken_for_idle_while_its_next_run_is_not_reported(
    aws: FakeClients,
) -> None:
    works = {"both": Work(600, 1, schedule="Asset or 0 * * * *"), "assets": Work(600, 1, schedule="Asset")}
    airflows = ScheduledAirflows(aws, works)
    aws.ssm.clock.forward(30)
    airflows.unplanned |= {("blue", "both"), ("blue", "assets")}
    assert held(switched(aws)) == {"both": "Airflow has not planned its next run yet"}


# --- what nobody can know ---


def test_a_dag_to_hold_moves_only_while_it_is_idle(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"etl": plain(600, 60), "other": plain(600, 60)})
    done = switched(aws, hold=["etl"])
    assert held(done) == {"etl": "scheduled__10:00:00 is unfinished"}
    assert standing(aws).owner(at(30), "etl") == "blue"
    assert standing(aws).owner(at(30), "other") == "green"
    assert continue_command(deployment(aws), done) == "mwaactl switch green --wait -s fullha --hold etl"


def test_a_dag_to_hold_stays_held_if_the_command_is_repeated_without_its_name(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"etl": plain(600, 60), "other": plain(600, 60)})
    switched(aws, hold=["etl"])
    aws.ssm.clock.forward(20)
    assert set(held(switched(aws))) == {"etl"}
    done = wait_until_drained(deployment(aws), "green", timeout=300)
    assert done.moved["etl"] > at(60)


def test_a_dag_to_hold_that_does_not_exist_is_refused(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"etl": plain(600, 60)})
    with pytest.raises(UsageError, match="--hold: blue has no DAG 'elt'"):
        planned(aws, hold=["elt"])


# --- DAGs that look at others ---


def test_a_dag_that_looks_at_a_busy_one_stays_with_it_until_that_has_ended(aws: FakeClients) -> None:
    """A sensor on the target would see the skipped mirror of a run that still works."""
    works = {"producer": plain(600, 170), "consumer": plain(600, 5, first=60, looks_at="producer")}
    airflows = ScheduledAirflows(aws, works)
    aws.ssm.clock.forward(30)
    assert held(switched(aws)) == {
        "producer": "scheduled__10:00:00 is unfinished",
        "consumer": "it waits for runs of producer: scheduled__10:00:00 is unfinished",
    }
    done = wait_until_drained(deployment(aws), "green", timeout=900)
    assert done.finished
    assert done.moved["consumer"] == done.moved["producer"]
    assert at(170) < done.moved["consumer"] < at(190), "no longer than that"
    aws.ssm.clock.forward(1200)
    assert airflows.seen_early() == []


def test_a_dag_that_is_looked_at_stays_with_a_busy_serial_one(aws: FakeClients) -> None:
    """Else its next runs would be mirrors on the side where the other looks at them."""
    works = {
        "producer": plain(60, 5, first=20),
        "consumer": Work(120, 90, first=25, looks_at="producer"),
    }
    airflows = ScheduledAirflows(aws, works)
    aws.ssm.clock.forward(40)
    assert held(switched(aws)) == {
        "producer": "it goes together with consumer: scheduled__10:00:25 is unfinished",
        "consumer": "scheduled__10:00:25 is unfinished",
    }
    assert wait_until_drained(deployment(aws), "green", timeout=900).finished
    aws.ssm.clock.forward(600)
    assert airflows.seen_early() == []


def test_a_dag_that_looks_at_others_may_be_busy_itself(aws: FakeClients) -> None:
    works = {"producer": plain(600, 5), "consumer": plain(600, 100, first=10, looks_at="producer")}
    ScheduledAirflows(aws, works)
    aws.ssm.clock.forward(40)
    assert held(switched(aws)) == {}


def test_a_dag_that_looks_at_one_which_has_moved_waits_for_its_last_runs(aws: FakeClients) -> None:
    works = {"producer": plain(6000, 170), "consumer": Work(6000, 60, looks_at="producer")}
    ScheduledAirflows(aws, works)
    switched(aws, force=["cross-dag"])
    aws.ssm.clock.forward(70)
    why = "it waits for runs of producer: scheduled__10:00:00 is unfinished"
    assert held(switched(aws)) == {"consumer": why}
    aws.ssm.clock.forward(120)
    assert switched(aws).moved == ("consumer",)


def test_a_dag_that_looks_at_others_moves_with_them_busy_or_not(aws: FakeClients) -> None:
    """It was held because of them alone. Waiting for it, too, might never end."""
    works = {"producer": plain(6000, 100), "consumer": plain(6000, 900, first=60, looks_at="producer")}
    ScheduledAirflows(aws, works)
    aws.ssm.clock.forward(70)
    assert set(held(switched(aws))) == {"producer", "consumer"}
    done = wait_until_drained(deployment(aws), "green", timeout=60)
    assert set(done.moved) == {"producer", "consumer"}


def test_held_dags_are_named_in_order_with_the_same_reasons_each_time(aws: FakeClients) -> None:
    looking = {name: Work(6000, 170, looks_at="m") for name in ("z", "a")}
    ScheduledAirflows(aws, {**looking, "m": plain(6000, 1, first=3000)})
    aws.ssm.clock.forward(10)
    assert list(held(switched(aws)).items()) == [
        ("a", "scheduled__10:00:00 is unfinished"),
        ("m", "it goes together with a: scheduled__10:00:00 is unfinished"),
        ("z", "scheduled__10:00:00 is unfinished"),
    ]


def test_of_many_dags_that_are_looked_at_the_same_one_is_named_each_time(aws: FakeClients) -> None:
    producers = {f"{name}_{number}": plain(6000, 170) for name in "abc" for number in range(10)}
    consumers = {name: plain(6000, 1, first=3000, looks_at="several") for name in "abc"}
    ScheduledAirflows(aws, {**producers, **consumers})

    def rendered(body: dict[str, Any]) -> dict[str, Any]:
        (dag_id,) = body["dag_ids"]
        instance = {"dag_id": dag_id, "dag_run_id": "scheduled__old", "task_id": "wait"}
        names = [name for name in producers if name.startswith(dag_id)]
        instances = [
            {**instance, "map_index": index, "rendered_fields": {"external_dag_id": name}}
            for index, name in enumerate(names)
        ]
        return {"task_instances": instances, "total_entries": len(instances)}

    for side in NAMES.values():
        aws.mwaa.airflow[side]["POST /dags/~/dagRuns/~/taskInstances/list"] = rendered
    aws.ssm.clock.forward(10)
    reasons = held(switched(aws))
    for name in "abc":
        assert reasons[name] == f"it waits for runs of {name}_9: scheduled__10:00:00 is unfinished"


def test_forcing_divides_them_and_is_recorded(aws: FakeClients) -> None:
    works = {"producer": plain(600, 170), "consumer": plain(600, 5, first=60, looks_at="producer")}
    ScheduledAirflows(aws, works)
    assert switched(aws, force=["cross-dag"]).held == ()
    assert aws.ssm.stored[OWNERSHIP][-1]["Description"] == "mwaactl switch green [forced: cross-dag]"


def test_what_a_sensor_waits_for_is_read_from_the_other_side_if_here_are_mirrors_only(
    aws: FakeClients,
) -> None:
    works = {"producer": plain(600, 170), "consumer": plain(600, 5, first=60, looks_at="producer")}
    ScheduledAirflows(aws, works)
    aws.mwaa.airflow[NAMES["blue"]]["/dags/consumer/dagRuns"] = {"dag_runs": [], "total_entries": 0}
    assert set(held(switched(aws))) == {"producer", "consumer"}


def test_a_marker_names_a_dag_that_looks_here_and_holds_nothing(aws: FakeClients) -> None:
    works = {"producer": plain(600, 5, first=60, looks_at="consumer"), "consumer": plain(600, 170)}
    ScheduledAirflows(aws, works)
    for side in NAMES.values():
        tasks = aws.mwaa.airflow[side]["/dags/producer/tasks"]["tasks"]
        tasks[-1]["class_ref"] = {"class_name": "ExternalTaskMarker"}
    assert held(switched(aws)) == {}


def test_a_manual_run_keeps_a_dag_busy_that_is_looked_at(aws: FakeClients) -> None:
    manual = run_answer("producer", "manual__1", at(-60), "manual", side="blue")
    works = {
        "producer": plain(6000, 1, first=900, others=[manual]),
        "consumer": plain(6000, 1, first=900, looks_at="producer"),
    }
    ScheduledAirflows(aws, works)
    assert set(held(switched(aws))) == {"producer", "consumer"}


def test_a_target_that_does_not_answer_hides_only_what_it_alone_knows(aws: FakeClients) -> None:
    works = {"producer": plain(600, 170), "consumer": plain(600, 5, first=60, looks_at="producer")}
    ScheduledAirflows(aws, works)
    aws.mwaa.airflow[NAMES["blue"]]["/dags/consumer/dagRuns"] = {"dag_runs": [], "total_entries": 0}
    aws.mwaa.silence(NAMES["green"])
    done = switched(aws, force=["target-api", "target-scheduler", "import-errors", "gate"])
    assert (done.changed, done.held) == (True, ())


def test_a_source_that_stops_answering_is_not_asked_about_every_dag(aws: FakeClients) -> None:
    works = {f"dag_{number}": plain(600, 170) for number in range(100)}
    ScheduledAirflows(aws, works)
    answers = aws.mwaa.airflow[NAMES["blue"]]
    for dag_id in works:
        answers[f"/dags/{dag_id}/tasks"] = client_error("InternalServerException", 500)
    planned(aws)
    assert len({call["Path"] for call in aws.mwaa.asked if call["Path"].endswith("/tasks")}) < 50


def test_a_dag_that_looks_at_itself_may_be_busy(aws: FakeClients) -> None:
    """Its own runs are on both sides, as those of any DAG that is not serial."""
    ScheduledAirflows(aws, {"own": plain(600, 100, looks_at="own")})
    aws.ssm.clock.forward(20)
    assert held(switched(aws)) == {}
