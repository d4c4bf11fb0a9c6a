"""What one look at an environment says of a DAG: busy, idle, or not clear."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaactl.airflow.models import Dag, Run
from mwaactl.switching.held_dags import Activity, activity, held_by_switch
from tests.fakes.clock import at
from tests.fakes.timeline import initial

UNTIL = at(10)


def dag(next_due: datetime | None = None, **more: Any) -> Dag:
    return Dag(dag_id="etl", **{"paused": False, "schedule": "0 * * * *", "next_due": next_due, **more})


def run(run_id: str, due: datetime | None, dag_id: str = "etl") -> Run:
    return Run(dag_id=dag_id, run_id=run_id, type="x", state="running", due=due, start=None, end=None)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (None, None),
        (dag(), None),
        (dag(at(9.999)), "its next run is due 2026-11-23T10:00:09.999Z"),
        (dag(UNTIL), None),
        (dag(at(0), paused=True), None),
    ],
)
def test_a_dag_without_unfinished_runs_is_busy_if_its_next_one_is_due_before_it_moves(
    seen: Dag | None, reason: str | None
) -> None:
    look = Activity({"etl": seen} if seen else {}, {})
    assert look.busy("etl", UNTIL) == reason
    assert look.may_run("etl", UNTIL) is (seen is not None and not seen.paused)


def test_one_that_is_never_idle_is_named_with_the_way_to_move_it() -> None:
    endless = dag(at(0), schedule="@continuous")
    way = "; @continuous is never idle: --dag etl --force serial-dags moves it, overlapping once"
    between = Activity({"etl": endless}, {}).busy("etl", UNTIL)
    assert between == f"its next run is due 2026-11-23T10:00:00.000Z{way}"
    at_work = Activity({"etl": endless}, {"etl": (run("a", at(-5)),)}).busy("etl", UNTIL)
    assert at_work == f"a is unfinished{way}"
    assert Activity({"etl": dag(schedule="@continuous")}, {}).busy("etl", UNTIL) is None


@given(st.permutations([run("b", at(-60)), run("a", at(-5)), run("c", at(-60)), run("0", None)]))
def test_a_busy_dag_is_named_by_the_run_that_was_due_first(runs: list[Run]) -> None:
    """What no schedule made comes last; of two, the one whose id is first."""
    for paused, more in ((False, ""), (True, ", and the DAG is paused")):
        look = Activity({"etl": dag(paused=paused)}, {"etl": tuple(runs)})
        assert look.busy("etl", UNTIL) == f"b and 3 more are unfinished{more}"
        assert look.may_run("etl", UNTIL)


def test_a_run_of_a_dag_that_is_gone_is_unfinished_all_the_same() -> None:
    look = Activity({}, {"etl": (run("a", None),)})
    assert look.busy("etl", UNTIL) == "a is unfinished"
    assert look.may_run("etl", UNTIL)


def test_a_dag_whose_next_run_is_unclear_is_busy() -> None:
    look = Activity({"etl": dag()}, {}, frozenset({"etl"}))
    assert look.busy("etl", UNTIL) == "Airflow has not planned its next run yet"


@pytest.mark.parametrize(
    ("seen", "behind"),
    [
        (None, False),
        (dag(at(0), paused=True, max_active_runs=1), True),
        (dag(at(0), paused=True, max_active_tasks=1), True),
        (dag(at(9.999), paused=True, max_active_runs=1), True),
        (dag(UNTIL, paused=True, max_active_runs=1), False),
        (dag(None, paused=True, max_active_runs=1), False),
        (dag(at(0), paused=True, max_active_runs=2), False),
        (dag(at(0), max_active_runs=1), False),
    ],
)
def test_a_paused_dag_is_behind_if_it_may_not_overlap_itself_and_has_runs_to_catch_up_on(
    seen: Dag | None, behind: bool
) -> None:
    look = Activity({"etl": seen} if seen else {}, {})
    assert (look.behind("etl", UNTIL) is not None) == behind


def test_a_switch_holds_what_it_gave_back_in_the_same_version_only() -> None:
    before = initial().dag_moved("moved_before", "green", at(0), 2)
    switched = before.switched("green", at(60), 3, known=[])
    held = switched.dags_moved(["held", "followed"], "blue", at(60), 3).dag_moved("taken", "green", at(60), 3)
    later = held.dag_moved("followed", "green", at(90), 4).dag_moved("back", "blue", at(90), 4)
    assert held_by_switch(held) == {"held", "followed"}
    assert held_by_switch(later) == {"held"}


@pytest.mark.parametrize(
    ("here", "there", "asked", "unclear"),
    [
        (dag(), dag(at(60)), True, True),
        (dag(), dag(), True, False),  # its schedule is over
        (dag(), None, True, False),
        (dag(at(60)), dag(at(60)), False, False),
        (dag(schedule=None), dag(at(60)), False, False),
        (dag(schedule="Asset"), dag(at(60)), False, False),
        (dag(paused=True), dag(at(60)), False, False),
    ],
)
def test_a_next_run_that_only_the_other_side_reports_makes_a_dag_unclear(
    here: Dag, there: Dag | None, asked: bool, unclear: bool
) -> None:
    """The other side is asked only where that can be so."""
    requests = []

    def others() -> Mapping[str, Dag]:
        requests.append("dags")
        return {"etl": there} if there else {}

    look = activity({"etl": here}, [], others)
    assert (requests == ["dags"], look.unclear == {"etl"}) == (asked, unclear)
    assert look.unclear <= {"etl"}


def test_a_dag_at_its_limit_of_runs_is_busy_with_them_and_not_unclear() -> None:
    runs = [run("a", at(-60)), run("z", at(-60), "other"), run("b", at(-5))]
    look = activity({"etl": dag()}, runs, lambda: {"etl": dag(at(60))})
    assert look.unclear == frozenset()
    assert look.unfinished == {"etl": (runs[0], runs[2]), "other": (runs[1],)}
