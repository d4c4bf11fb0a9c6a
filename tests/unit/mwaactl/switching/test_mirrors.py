"""Mirrors receive the states of what the other side executed, and are never executed by that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaactl.airflow import rest
from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run
from mwaactl.errors import Unreachable
from mwaactl.switching import mirrors
from mwaactl.switching.mirrors import MirrorResult
from tests.fakes.airflow.model import AirflowModel, Dag, Task
from tests.fakes.aws.errors import Killed, client_error
from tests.fakes.aws.mwaa import FakeMwaa
from tests.fakes.clock import minutes

CHAIN = Dag({"first": ("second",), "second": ("third",), "third": ()})
VERSIONS = {"2.11": (2, True), "3.0": (3, True), "3.3": (3, False)}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are not paced in a test."""
    monkeypatch.setattr(rest.Pace, "wait", lambda pace: None)


class Pair:
    """Blue, which executed, and green with the mirrors."""

    def __init__(self, dags: dict[str, Dag], version: str = "3.3") -> None:
        major, finishes = VERSIONS[version]
        self.blue = AirflowModel(major, finishes, dags)
        self.green = AirflowModel(major, finishes, dags)
        client = cast(Any, FakeMwaa(models={"blue": self.blue, "green": self.green}))
        self.source, self.target = (AirflowApi(client, name, major) for name in ("blue", "green"))

    def copy_final_states(self, **more: Any) -> MirrorResult:
        chosen: dict[str, Any] = {
            "since": minutes(0),
            "until": minutes(60),
            "owned": lambda run: True,
            **more,
        }
        return mirrors.copy_final_states(self.source, self.target, source_colour="blue", **chosen)


@pytest.fixture(params=VERSIONS)
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair({"chain": CHAIN}, request.param)


def test_a_mirror_gets_the_states_and_the_note_of_what_was_executed(pair: Pair) -> None:
    pair.blue.add("chain", minutes(1), {"first": "success", "second": "skipped", "third": "success"})
    pair.green.mirror("chain", minutes(1))
    done = pair.copy_final_states()
    assert (done.copied, done.already, done.left) == (1, 0, ())
    assert pair.green.states("chain", minutes(1)) == pair.blue.states("chain", minutes(1))
    assert pair.green.scheduled("chain", minutes(1)).note == "mwaactl: executed on blue"


def test_a_failed_run_fails_its_mirror_and_nothing_is_executed(pair: Pair) -> None:
    states = {"first": "success", "second": "failed", "third": "upstream_failed"}
    pair.blue.add("chain", minutes(1), states, state="failed")
    pair.green.mirror("chain", minutes(1))
    assert pair.copy_final_states().copied == 1
    pair.green.work()
    assert pair.green.executed == []
    assert pair.green.scheduled("chain", minutes(1)).state == "failed"
    # upstream_failed cannot be set; failed holds back the same
    assert list(pair.green.states("chain", minutes(1)).values()) == ["success", "failed", "failed"]


def test_the_only_instance_of_an_unexpanded_task_gets_the_worst_state_of_all_indexes(pair: Pair) -> None:
    states = {"first": ("success", "failed", "skipped"), "second": ("success", "skipped"), "third": "success"}
    pair.blue.add("chain", minutes(1), states)
    pair.green.mirror("chain", minutes(1))
    assert pair.copy_final_states().left == ()
    assert pair.green.states("chain", minutes(1)) == {
        ("first", -1): "failed",
        ("second", -1): "skipped",
        ("third", -1): "success",
    }


def test_map_indexes_that_both_sides_have_are_matched() -> None:
    pair = Pair({"chain": CHAIN})
    states = {"first": ("success", "failed"), "second": "success", "third": "success"}
    pair.blue.add("chain", minutes(1), states)
    skipped = {"first": ("skipped", "skipped"), "second": "skipped", "third": "skipped"}
    pair.green.add("chain", minutes(1), skipped)
    pair.copy_final_states()
    assert pair.green.states("chain", minutes(1)) == pair.blue.states("chain", minutes(1))


def test_removed_tasks_stay_as_they_are(pair: Pair) -> None:
    pair.blue.add("chain", minutes(1), {"first": "removed", "second": "success", "third": "success"})
    pair.green.mirror("chain", minutes(1))
    assert pair.copy_final_states().left == ()
    assert pair.green.states("chain", minutes(1))["first", -1] == "skipped"


def test_a_second_time_changes_nothing(pair: Pair) -> None:
    pair.blue.add("chain", minutes(1), dict.fromkeys(CHAIN.tasks, "success"))
    pair.green.mirror("chain", minutes(1))
    pair.copy_final_states()
    changes = pair.green.changes
    assert pair.copy_final_states() == MirrorResult(copied=0, already=1, left=())
    assert pair.green.changes == changes


def test_a_run_that_was_all_skipped_is_true_already(pair: Pair) -> None:
    pair.blue.add("chain", minutes(1), dict.fromkeys(CHAIN.tasks, "skipped"))
    pair.green.mirror("chain", minutes(1))
    assert pair.copy_final_states() == MirrorResult(copied=0, already=1, left=())
    assert pair.green.changes == 0


def test_what_the_target_worked_on_itself_is_left_alone(pair: Pair) -> None:
    for airflow in (pair.blue, pair.green):
        airflow.add("chain", minutes(1), {"first": "success", "second": "success", "third": "failed"})
    done = pair.copy_final_states()
    assert "mwaactl audit" in done.left[0].reason
    assert pair.green.changes == 0


def test_a_mirror_that_a_person_cleared_after_it_was_true_is_left_alone(pair: Pair) -> None:
    pair.blue.add("chain", minutes(1), {"first": "success", "second": "failed", "third": "failed"})
    run = pair.green.mirror("chain", minutes(1))
    pair.copy_final_states()
    pair.green._clear(run, run.tasks)
    pair.green.work()
    states = pair.green.states("chain", minutes(1))
    pair.copy_final_states()
    assert pair.green.states("chain", minutes(1)) == states


def test_a_mirror_that_failed_for_want_of_a_verdict_is_made_true_too(pair: Pair) -> None:
    pair.blue.add("chain", minutes(1), dict.fromkeys(CHAIN.tasks, "success"))
    states = {"first": "failed", "second": "upstream_failed", "third": "upstream_failed"}
    run = pair.green.add("chain", minutes(1), states, state="failed")
    run.tasks["first", -1] = Task("failed", pid=7)  # a process, but nothing rendered
    assert pair.copy_final_states().left == ()
    pair.green.work()
    assert pair.green.executed == []
    assert set(pair.green.states("chain", minutes(1)).values()) == {"success"}
    assert pair.green.scheduled("chain", minutes(1)).state == "success"


def test_only_finished_runs_that_the_source_owned_are_looked_at(pair: Pair) -> None:
    for minute, state in ((1, "success"), (2, "running"), (3, "success")):
        pair.blue.add("chain", minutes(minute), dict.fromkeys(CHAIN.tasks, "success"), state=state)
        pair.green.mirror("chain", minutes(minute))

    def owned(run: Run) -> bool:
        return run.due != minutes(3)

    assert pair.copy_final_states(owned=owned) == MirrorResult(copied=1, already=0, left=())
    assert set(pair.green.states("chain", minutes(3)).values()) == {"skipped"}


def test_a_missing_and_an_unfinished_mirror_are_reported(pair: Pair) -> None:
    for minute in (1, 2):
        pair.blue.add("chain", minutes(minute), dict.fromkeys(CHAIN.tasks, "success"))
    pair.green.mirror("chain", minutes(2)).state = "running"
    assert [one.reason for one in pair.copy_final_states().left] == [
        "its mirror on green is still running",
        "green has no run for it",
    ]


def test_the_newest_25_of_each_dag_are_made_true_the_newest_of_all_first() -> None:
    pair = Pair({"chain": CHAIN, "other": CHAIN})
    for dag_id in ("chain", "other"):
        for minute in range(30):
            pair.blue.add(dag_id, minutes(minute), dict.fromkeys(CHAIN.tasks, "success"))
            pair.green.mirror(dag_id, minutes(minute))
    seen: list[tuple[int, int]] = []
    assert pair.copy_final_states(progress=lambda done, all_: seen.append((done, all_))).copied == 50
    assert seen == [(count, 50) for count in range(1, 51)]
    untouched = {run.due for run in pair.green.runs if run.note is None}
    assert untouched == {minutes(minute) for minute in range(5)}
    assert pair.copy_final_states(per_dag=None).copied == 10


def test_a_failed_marker_does_not_spread_to_the_dag_it_points_to() -> None:
    marking = Dag(
        {"first": ("marker",), "marker": ()},
        operators={"marker": "ExternalTaskMarker"},
        external={"marker": ("chain", "first")},
    )
    pair = Pair({"chain": CHAIN, "marking": marking})
    failed = {"first": "failed", "second": "upstream_failed", "third": "upstream_failed"}
    for dag_id, states in (("chain", failed), ("marking", {"first": "failed", "marker": "upstream_failed"})):
        pair.blue.add(dag_id, minutes(1), states, state="failed")
        pair.green.mirror(dag_id, minutes(1))
    assert pair.copy_final_states().left == ()
    pair.green.work()
    assert pair.green.executed == []
    assert pair.green.states("marking", minutes(1))["marker", -1] == "skipped"


def test_a_run_that_airflow_is_about_to_execute_after_all_is_ended_and_reported(pair: Pair) -> None:
    pair.blue.add("chain", minutes(1), {"first": "success", "second": "success", "third": "failed"})
    run = pair.green.mirror("chain", minutes(1))

    def clears_it(method: str, path: str) -> None:
        if method == "PATCH" and "taskInstances/second" in path:
            pair.green._clear(run, [("first", -1)])

    pair.green.before = clears_it
    done = pair.copy_final_states()
    pair.green.work()
    assert pair.green.executed == []
    assert "ended it at once" in done.left[0].reason


def failing_after(count: int, where: AirflowModel, error: Exception) -> None:
    calls = iter(range(count))

    def before(method: str, path: str) -> None:
        if next(calls, None) is None:
            raise error

    where.before = before


@pytest.mark.parametrize("silent", ["blue", "green"])
def test_a_side_that_stops_answering_ends_it_and_the_rest_is_reported(silent: str) -> None:
    pair = Pair({"chain": CHAIN})
    for minute in range(20):
        pair.blue.add("chain", minutes(minute), dict.fromkeys(CHAIN.tasks, "success"))
        pair.green.mirror("chain", minutes(minute))
    which = getattr(pair, silent)
    failing_after({"blue": 2, "green": 10}[silent], which, client_error("Throttled", 500))
    done = pair.copy_final_states()
    assert done.copied + len(done.left) == 20
    assert len(done.left) > 10
    which.before = lambda method, path: None
    assert pair.copy_final_states().left == ()
    assert set(pair.green.states("chain", minutes(0)).values()) == {"success"}


def test_a_side_that_never_answers_is_an_error(pair: Pair) -> None:
    failing_after(0, pair.blue, client_error("Throttled", 500))
    with pytest.raises(Unreachable):
        pair.copy_final_states()


# --- any DAG, any states, killed anywhere ---

ENDS = ("success", "failed", "skipped", "upstream_failed", "removed")


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    size = draw(st.integers(1, 6))
    names = [f"t{number}" for number in range(size)]
    edges = {name: draw(st.sets(st.sampled_from(names[i + 1 :] or [name]))) for i, name in enumerate(names)}
    return Dag({name: tuple(sorted(below - {name})) for name, below in edges.items()})


@settings(max_examples=300, deadline=None)
@given(
    dag=dags(),
    version=st.sampled_from(sorted(VERSIONS)),
    state=st.sampled_from(("success", "failed")),
    kills=st.lists(st.integers(0, 20), max_size=4),
    ends=st.data(),
)
def test_whatever_the_dag_and_wherever_it_is_killed_a_mirror_ends_true_and_unexecuted(
    dag: Dag, version: str, state: str, kills: list[int], ends: st.DataObject
) -> None:
    pair = Pair({"any": dag}, version)
    states = {task_id: ends.draw(st.sampled_from(ENDS)) for task_id in dag.tasks}
    pair.blue.add("any", minutes(1), states, state=state)
    born = {task_id: ends.draw(st.sampled_from(("skipped", "failed"))) for task_id in dag.tasks}
    run = pair.green.add("any", minutes(1), born, worked=False)
    run.state = "failed" if "failed" in born.values() else "success"

    def work_then(before: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def both(method: str, path: str) -> None:
            pair.green.work()  # the scheduler is quick
            before(method, path)

        return both

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rest.Pace, "wait", lambda pace: None)
        for kill in kills:
            failing_after(kill, pair.green, cast(Exception, Killed()))
            pair.green.before = work_then(pair.green.before)
            with suppress(Killed):
                pair.copy_final_states()
        pair.green.before = work_then(lambda method, path: None)
        done = pair.copy_final_states()
    pair.green.work()
    assert pair.green.executed == []
    assert done.left == ()
    settable = {"upstream_failed": "failed"}
    for (task_id, _), found in pair.green.states("any", minutes(1)).items():
        if states[task_id] != "removed":
            assert found == settable.get(states[task_id], states[task_id])
    all_skipped = set(states.values()) <= {"skipped", "removed"}
    assert run.state == state or (all_skipped and set(born.values()) == {"skipped"})
