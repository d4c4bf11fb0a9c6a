"""The end of a drain: the old side's books are closed, and what it left changes hands without a moment of two
owners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from bluegreen.settings import MAX_AGE, RECENT
from bluegreen.timeline import Colour, other_colour
from rich.console import Console

from mwaactl.airflow.notes import was_rerun
from mwaactl.screens.status import show_status
from mwaactl.switching.books import Books
from mwaactl.switching.drain import DrainProgress, wait_until_drained
from mwaactl.switching.status import status
from tests.fakes.airflow.model import Dag, Run
from tests.fakes.aws.clients import LEAD, FakeClients, clients_of_models, deployment, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START, minutes, stop_time
from tests.fakes.mwaactl.switches import switched
from tests.fakes.timeline import LIVES, dumped

CHAIN = {"first": ("second",), "second": ()}
BEGIN = START + timedelta(seconds=LEAD)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """`backlog` is paused on both sides, its next run on blue was due an hour ago; `daily` is up to date."""
    clients = clients_of_models(
        {
            "backlog": Dag(CHAIN, paused=True, next_due=minutes(-60), max_active_runs=1),
            "daily": Dag(CHAIN, next_due=minutes(60)),
        }
    )
    stop_time(monkeypatch, clients.ssm.clock)
    return clients


def waited(aws: FakeClients, target: Colour = "green", timeout: float = 600) -> DrainProgress:
    return wait_until_drained(deployment(aws), target, timeout=timeout)


def books(aws: FakeClients) -> tuple[dict[str, datetime] | None, bool]:
    """What blue has left by its books, and whether they are closed."""
    (book,) = (book for book in standing(aws).books("blue") if book.dag_id is None)
    return dict(book.entry.left) if book.entry.left is not None else None, book.entry.closed


def owners(aws: FakeClients, *instants: datetime) -> list[Colour | None]:
    return [standing(aws).owner(instant, "backlog") for instant in instants]


def test_what_the_old_side_left_belongs_to_the_new_one_once_everybody_knows(models: FakeClients) -> None:
    switched(models)
    assert books(models) == (None, False)
    assert waited(models, timeout=20).closing is not None
    assert books(models) == ({"backlog": minutes(-60)}, False)
    assert standing(models).claim(minutes(-60), "backlog").undecided
    done = waited(models)
    assert done.finished
    assert books(models) == ({"backlog": minutes(-60)}, True)
    assert models.ssm.clock.now >= BEGIN + MAX_AGE, (
        "a process of blue may have had a copy from before the switch"
    )
    assert owners(models, minutes(-61), minutes(-60), minutes(0)) == ["blue", "green", "green"]
    assert standing(models).owner(minutes(-60), "daily") == "blue"


def test_books_of_a_side_that_left_nothing_are_closed_at_once(models: FakeClients) -> None:
    for side in (models.blue, models.green):
        side.dags["backlog"].next_due = minutes(60)
    switched(models)
    models.ssm.clock.forward(LEAD)
    assert waited(models, timeout=5).finished
    assert books(models) == ({}, True)


@pytest.mark.parametrize("puts", [[client_error("TooManyUpdates", 400)], ["late", "late"]])
def test_another_writer_or_a_lost_answer_only_delays_the_closing(
    models: FakeClients, puts: list[str | Exception]
) -> None:
    switched(models)
    models.ssm.puts = puts
    assert waited(models).finished
    assert books(models) == ({"backlog": minutes(-60)}, True)


def test_a_dag_that_is_unpaused_meanwhile_is_finished_by_the_old_side(models: FakeClients) -> None:
    switched(models)
    waited(models, timeout=20)
    for side in (models.blue, models.green):
        side.dags["backlog"].paused = False
    assert not waited(models, timeout=5).finished
    assert books(models) == (None, False)
    assert owners(models, minutes(-60)) == ["blue"]
    models.blue.add("backlog", minutes(-60), dict.fromkeys(CHAIN, "success"))
    for side in (models.blue, models.green):
        side.mirror("backlog", minutes(-30)) if side is models.green else None
        side.dags["backlog"].next_due = minutes(60)
    assert waited(models).finished
    assert books(models) == ({}, True)


def test_books_of_an_earlier_switch_that_are_closed_stay_so(models: FakeClients) -> None:
    """While the second switch drains nothing is written; what is closing is opened when a DAG is unpaused."""
    switched(models)
    assert waited(models).finished
    switched(models, "blue")
    assert waited(models, "blue").finished
    models.blue.dags["backlog"].next_due = models.green.dags["backlog"].next_due = minutes(30)
    models.ssm.clock.now = minutes(100)
    for side in (models.blue, models.green):
        side.dags["daily"].next_due = minutes(300)
    switched(models)
    run = models.blue.add("daily", minutes(60), dict.fromkeys(CHAIN, "running"), state="running")
    version = len(models.ssm.stored[OWNERSHIP])
    assert not waited(models, timeout=20).drained
    assert len(models.ssm.stored[OWNERSHIP]) == version
    models.blue.end(run, "success")
    assert waited(models, timeout=20).closing is not None
    for side in (models.blue, models.green):
        side.dags["backlog"].paused = False
    assert not waited(models, timeout=5).drained
    common = [book.entry.closed for book in standing(models).books("blue") if book.dag_id is None]
    assert common == [True, False]
    assert not standing(models).claim(minutes(40), "backlog").undecided, "open again"
    assert owners(models, minutes(40)) == ["blue"]


def test_one_dag_that_left_something_keeps_all_books_open_until_everybody_knows(models: FakeClients) -> None:
    """`daily` moved an hour before the others and left nothing. Every process must know the later switch."""
    switched(models, "green", "daily")
    models.ssm.clock.forward(3600)
    for side in (models.blue, models.green):
        side.dags["daily"].next_due = minutes(120)
    switched(models)
    begin = models.ssm.clock.now + timedelta(seconds=LEAD)
    assert waited(models, timeout=20).closing is not None
    left = {book.dag_id: dict(book.entry.left or {}) for book in standing(models).books("blue")}
    assert left[None] == {"backlog": minutes(-60)}
    assert left["daily"] == {}
    assert standing(models).claim(minutes(-60), "backlog").undecided
    assert waited(models).finished
    assert models.ssm.clock.now >= begin + MAX_AGE


def test_a_run_that_the_old_side_makes_meanwhile_is_its_own(models: FakeClients) -> None:
    """It was created by a process that did not know yet, and the DAG is paused again."""
    switched(models)
    waited(models, timeout=20)
    models.blue.add("backlog", minutes(-60), dict.fromkeys(CHAIN, "success"))
    models.blue.dags["backlog"].next_due = minutes(-50)
    assert waited(models).finished
    assert books(models) == ({"backlog": minutes(-50)}, True)
    assert owners(models, minutes(-60), minutes(-50)) == ["blue", "green"]


def test_mirrors_of_what_was_left_are_executed_by_the_new_side(models: FakeClients) -> None:
    """Its scheduler was faster, and skipped what was still the other's."""
    for minute in (-70, -60, -50):
        models.green.mirror("backlog", minutes(minute))
    models.blue.add("backlog", minutes(-70), dict.fromkeys(CHAIN, "success"))
    switched(models)
    done = waited(models)
    assert done.executed == 2
    cleared = [run.due for run in models.green.runs if run.state == "queued"]
    assert cleared == [minutes(-60), minutes(-50)]
    assert waited(models).executed == 0, "they are cleared once"


def test_what_was_left_is_executed_though_a_read_lags_behind_the_closing(
    models: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.green.mirror("backlog", minutes(-60))
    switched(models)
    get, put = models.ssm.get_parameter, models.ssm.put_parameter
    reads: Iterator[bool] = iter(())

    def closing(**request: Any) -> Any:
        nonlocal reads
        if "books are closed" in request["Description"]:
            reads = iter((False, True))  # the read-back sees it, the next one asks another server
        return put(**request)

    def lagging(**request: Any) -> Any:
        answer = get(**request)
        if request["Name"] == OWNERSHIP and next(reads, False):
            answer["Parameter"] = models.ssm.stored[OWNERSHIP][-2]
        return answer

    monkeypatch.setattr(models.ssm, "put_parameter", closing)
    monkeypatch.setattr(models.ssm, "get_parameter", lagging)
    done = waited(models)
    assert (done.finished, done.executed) == (True, 1)


def skipped_by_itself(run: Run) -> None:
    run.tasks["first", -1].pid = 7


def partly_executed(run: Run) -> None:
    run.tasks["first", -1].state = "success"  # without a process, as an EmptyOperator's


def without_tasks(run: Run) -> None:
    run.tasks = {}


def removed(run: Run) -> None:
    run.tasks["first", -1].state = "removed"


def still_at_work(run: Run) -> None:
    run.state, run.end = "running", None


def run_again_before(run: Run) -> None:
    run.note = "mwaactl: run again on green: blue had left it"


def before_what_was_left(run: Run) -> None:
    run.due = minutes(-61)
    run.run_id = f"scheduled__{run.due.isoformat()}"


@pytest.mark.parametrize(
    ("change", "executed"),
    [
        (None, 1),
        (removed, 1),
        (skipped_by_itself, 0),
        (partly_executed, 0),
        (without_tasks, 0),
        (still_at_work, 0),
        (run_again_before, 0),
        (before_what_was_left, 0),
    ],
)
def test_only_a_mirror_that_did_nothing_is_executed(
    models: FakeClients, change: Callable[[Run], None] | None, executed: int
) -> None:
    mirror = models.green.mirror("backlog", minutes(-60))
    if change is not None:
        change(mirror)
    switched(models)
    assert waited(models).executed == executed
    assert models.green.changes == executed * 2, "cleared, with a note"


def test_each_dag_is_executed_from_what_it_had_left_on(models: FakeClients) -> None:
    """And what green itself owned before blue did stays as it is, whatever its tasks did."""
    models.blue.dags["late"] = models.green.dags["late"] = Dag(CHAIN, paused=True, next_due=minutes(-30))
    for dag_id in ("backlog", "late"):
        for minute in (-60, -30):
            models.green.mirror(dag_id, minutes(minute))
    switched(models)
    assert waited(models).executed == 3
    queued = [(run.dag_id, run.due) for run in models.green.runs if run.state == "queued"]
    assert queued == [("backlog", minutes(-60)), ("backlog", minutes(-30)), ("late", minutes(-30))]


def test_what_the_target_owned_before_it_got_the_rest_is_not_executed_again(models: FakeClients) -> None:
    """blue until minute 0, green until 100, blue until 200, which then had left `daily` from 110 on."""
    ownership = deployment(models).ownership
    timeline = ownership.read().timeline
    left = {"backlog": minutes(20), "daily": minutes(110)}
    decisions: list[tuple[Colour, int]] = [("green", 0), ("blue", 100), ("green", 200)]
    for version, (colour, since) in enumerate(decisions, 2):
        timeline = timeline.switched(colour, minutes(since), version, known=["backlog", "daily"])
        timeline = timeline.with_books(
            other_colour(colour), left if since == 200 else {}, version, closed=True
        )
    models.ssm.clock.now = minutes(300)
    models.green.mirror("backlog", minutes(105))
    for due in (50, 120, 160):
        models.green.mirror("daily", minutes(due))
    assert Books(ownership, "green").execute_left(timeline, deployment(models).airflow("green")) == 3
    assert [run.due for run in models.green.runs if run.state == "success"] == [minutes(50)]


def test_what_a_life_that_is_gone_had_been_given_is_not_executed(models: FakeClients) -> None:
    models.green.mirror("backlog", minutes(-60))
    ownership = deployment(models).ownership
    moved = ownership.read().timeline.switched("green", minutes(0), 2, known=["backlog"])
    closed = moved.with_books("blue", {"backlog": minutes(-60)}, 3, closed=True)
    api = deployment(models).airflow("green")
    books = Books(ownership, "green")
    assert books.execute_left(closed.seen_with({**LIVES, "green": "green-2"}), api) == 0
    assert books.execute_left(moved.with_books("blue", {"backlog": minutes(-60)}, 3, closed=False), api) == 0
    assert Books(ownership, "green", ("daily",)).execute_left(closed, api) == 0
    begun = closed.folded(minutes(1))
    assert begun.owners[0].version == 2, "the timeline begins with the switch"
    assert Books(ownership, "green", ("daily",)).execute_left(begun, api) == 0
    assert books.execute_left(begun, api) == 1


def test_books_of_single_dags_are_those_of_decisions_about_them(models: FakeClients) -> None:
    """`backlog` and `daily` moved alone; when blue is drained of one, the other's books stay open."""
    switched(models, "green", "daily")
    switched(models, "green", "backlog")
    models.ssm.clock.forward(LEAD)
    done = wait_until_drained(deployment(models), "green", dags=("backlog",), timeout=600)
    assert done.finished
    closed = {book.dag_id: book.entry.closed for book in standing(models).books("blue")}
    assert closed == {"daily": False, "backlog": True}


def test_the_common_decision_is_not_closed_with_a_single_dag(models: FakeClients) -> None:
    """`daily` had a decision of its own, then went along with all; that book is the switch's."""
    switched(models, "green", "daily")
    models.ssm.clock.forward(60)
    switched(models, "blue", "daily")
    models.ssm.clock.forward(60)
    switched(models)
    timeline = standing(models)
    assert {(None, False), ("daily", True), ("daily", False)} <= {
        (book.dag_id, book.own) for book in timeline.books("blue")
    }
    marked = timeline.with_books("blue", {}, 9, closed=True, dags=("daily",))
    assert Books(deployment(models).ownership, "green", ("daily",)).closed(marked)
    assert not Books(deployment(models).ownership, "green").closed(marked)


@pytest.mark.parametrize("call", range(1, 40))
def test_killed_at_any_call_the_same_command_closes_them(models: FakeClients, call: int) -> None:
    models.green.mirror("backlog", minutes(-60))
    switched(models)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt

    models.ssm.before = models.green.before = models.blue.before = count
    try:
        waited(models)
    except KeyboardInterrupt:
        models.ssm.clock.forward(3)
    done = waited(models)
    assert done.finished
    assert books(models) == ({"backlog": minutes(-60)}, True)
    (mirror,) = (run for run in models.green.runs if run.dag_id == "backlog")
    assert mirror.state == "queued" or call > calls


def test_a_switch_back_opens_books_that_were_closing(models: FakeClients) -> None:
    switched(models)
    waited(models, timeout=20)
    switched(models, "blue")
    assert books(models) == (None, False)
    assert owners(models, minutes(-60)) == ["blue"]


def test_of_a_side_that_was_replaced_meanwhile_nothing_is_left(models: FakeClients) -> None:
    """Its new life has an empty database, whose next run says nothing about what the former life executed."""
    switched(models)
    value = dumped(standing(models)).replace(LIVES["blue"], "blue-0")
    models.ssm.stored[OWNERSHIP][-1]["Value"] = value.replace('"base_version":2', '"base_version":1')
    assert waited(models).finished
    assert books(models) == ({}, True)
    assert owners(models, minutes(-60)) == [None]


def test_what_a_former_life_of_the_old_side_had_kept_moves_at_once(models: FakeClients) -> None:
    """Until then its runs are nobody's, whatever its new life is doing."""
    for side in (models.blue, models.green):
        side.dags["daily"].max_active_runs = 1
    models.blue.add("daily", minutes(-1), dict.fromkeys(CHAIN, "running"), state="running")
    assert {dag.dag_id for dag in switched(models).held} == {"backlog", "daily"}
    value = dumped(standing(models)).replace(LIVES["blue"], "blue-0")
    models.ssm.stored[OWNERSHIP][-1]["Value"] = value.replace('"base_version":2', '"base_version":1')
    models.ssm.clock.forward(LEAD)
    assert set(waited(models, timeout=3).moved) == {"backlog", "daily"}


def test_books_of_single_dags_are_closed_alone(models: FakeClients) -> None:
    switched(models, "green", "backlog")
    done = wait_until_drained(deployment(models), "green", dags=("backlog",), timeout=600)
    assert done.finished
    (book,) = standing(models).books("blue")
    assert (book.dag_id, book.own, book.entry.closed) == ("backlog", True, True)
    assert owners(models, minutes(-60)) == ["green"]


def test_the_history_tells_of_the_books(models: FakeClients) -> None:
    switched(models)
    waited(models)
    history = deployment(models).ownership.history()
    assert [entry.change for entry in history.versions[:2]] == [
        "blue's books are closed",
        "blue's books are closing",
    ]


def test_a_note_marks_what_was_left(models: FakeClients) -> None:
    models.green.mirror("backlog", minutes(-60))
    switched(models)
    waited(models)
    (run,) = deployment(models).airflow("green").scheduled_runs(minutes(-61), minutes(0))
    assert was_rerun(run)


def test_books_that_another_operator_opened_are_closing_for_as_long_again(models: FakeClients) -> None:
    """A process of blue may have read them while they were open: it executes what is left for 5 s more."""
    switched(models)
    models.ssm.clock.forward(3600)
    opened = deployment(models)
    closing = Books(opened.ownership, "green", ("backlog",))
    ownership = opened.ownership
    snapshot = ownership.read()
    moved = snapshot.timeline.dag_moved("backlog", "blue", START + timedelta(seconds=3700), snapshot.top + 1)
    snapshot = ownership.write(snapshot, moved, "back")
    models.ssm.clock.forward(3600)
    back = snapshot.timeline.dag_moved("backlog", "green", models.ssm.clock.now, snapshot.top + 1)
    ownership.write(snapshot, back, "canary")
    models.ssm.clock.forward(3600)
    dags = opened.airflow("blue").dags()

    def step() -> timedelta | None:
        return closing.step(ownership.read(), dags, drained=True)

    assert step() is not None, "closing"
    models.ssm.clock.forward(9.5)
    now = ownership.read()  # another operator moves another DAG, which opens the books again
    other = now.timeline.dag_moved("daily", "blue", models.ssm.clock.now + timedelta(minutes=1), now.top + 1)
    ownership.write(now, other, "another operator")
    step()
    written = models.ssm.clock.now
    while not closing.closed(ownership.read().timeline):
        models.ssm.clock.forward(1)
        step()
    assert models.ssm.clock.now - written >= RECENT + opened.ownership.lead


def test_a_paused_serial_dag_with_a_backlog_moves_last(models: FakeClients) -> None:
    run = models.blue.add("daily", minutes(-1), dict.fromkeys(CHAIN, "running"), state="running")
    models.green.mirror("daily", minutes(-1))
    assert {dag.dag_id for dag in switched(models).held} == {"backlog"}
    progress = waited(models, timeout=60)
    assert ({dag.dag_id for dag in progress.held}, progress.draining) == ({"backlog"}, {"daily": 1})
    models.blue.end(run, "success")
    done = waited(models)
    assert (done.finished, set(done.moved)) == (True, {"backlog"})
    assert owners(models, minutes(-60), minutes(9)) == ["green", "green"]


def test_a_paused_serial_dag_with_a_backlog_is_not_divided(models: FakeClients) -> None:
    """Unpaused before the books are closed, its backlog is blue's and what is due now is green's: it
    overlaps itself."""
    for side in (models.blue, models.green):
        side.dags["backlog"].past = True
    switched(models)
    models.ssm.clock.forward(600)
    for side in (models.blue, models.green):
        side.dags["backlog"].paused = False
    assert len(set(owners(models, minutes(-60), minutes(9)))) == 1


@pytest.mark.parametrize("back", [True, False])
def test_a_run_that_was_cleared_on_its_mirrors_side_is_waited_for(models: FakeClients, back: bool) -> None:
    """green owned what was due at minute 10, and blue the work when its mirror was cleared there."""
    for side in (models.blue, models.green):
        side.dags["backlog"].next_due = minutes(60)
    switched(models)
    models.ssm.clock.forward(1200)
    switched(models, "blue")
    models.ssm.clock.forward(60)
    run = models.blue.add("daily", minutes(10), dict.fromkeys(CHAIN, "running"), state="running")
    run.start = models.ssm.clock.now  # None for an ordinary run: it began when it was due
    models.ssm.clock.forward(60)
    if not back:
        run.start = None  # a mirror that is about to be skipped
    switched(models)
    models.ssm.clock.forward(60)
    assert waited(models, timeout=30).finished is not back
    if back:
        models.blue.end(run, "success")
        assert waited(models).finished


def test_a_run_that_was_cleared_and_waits_in_the_queue_is_waited_for(models: FakeClients) -> None:
    for side in (models.blue, models.green):
        side.dags["backlog"].next_due = minutes(60)
    switched(models)
    models.ssm.clock.forward(1200)
    switched(models, "blue")
    run = models.blue.add("daily", minutes(10), dict.fromkeys(CHAIN, "scheduled"), state="queued")
    models.blue.add("daily", minutes(12), dict.fromkeys(CHAIN, "scheduled"), state="queued")  # just created
    run.tasks["first", -1].start = minutes(11)
    models.ssm.clock.forward(60)
    switched(models)
    models.ssm.clock.forward(60)
    progress = waited(models, timeout=90)
    assert (progress.finished, progress.draining) == (False, {"daily": 1})
    models.blue.end(run, "success")
    assert waited(models).finished


def test_a_mirror_that_is_being_skipped_is_not_waited_for(models: FakeClients) -> None:
    """Its tasks start too, if only to be skipped."""
    for side in (models.blue, models.green):
        side.dags["backlog"].next_due = minutes(60)
    switched(models)
    models.ssm.clock.forward(1200)
    mirror = models.blue.add("daily", minutes(10), dict.fromkeys(CHAIN, "running"), state="running")
    mirror.start = mirror.tasks["first", -1].start = minutes(11)
    done = waited(models, timeout=30)
    assert (done.finished, done.draining) == (True, {})


def test_the_status_names_the_side_whose_books_are_open(models: FakeClients) -> None:
    assert status(deployment(models)).open_books == {}
    switched(models)
    seen = status(deployment(models))
    assert seen.open_books == {"blue": "green"}
    console = Console(file=StringIO(), width=200)
    show_status(console, seen)
    assert "blue's books are open" in (text := console.file.getvalue())  # type: ignore[attr-defined]
    assert "mwaactl switch green --wait -s fullha" in text
    waited(models)
    assert status(deployment(models)).open_books == {}


def test_the_status_of_a_canary_names_its_dags(models: FakeClients) -> None:
    """`switch green --wait` alone would take all the others along."""
    switched(models, "green", "daily")
    assert status(deployment(models)).open_books == {"blue": "green --dag daily"}


def test_what_was_left_is_executed_also_if_the_books_are_closed_a_week_later(models: FakeClients) -> None:
    """The write that closes them then begins the timeline with that decision."""
    models.green.mirror("backlog", minutes(-60))
    switched(models)
    models.ssm.clock.forward(8 * 86400)
    for side in (models.blue, models.green):
        side.dags["daily"].next_due = minutes(9 * 1440)
    assert waited(models).finished
    assert standing(models).owner(minutes(-60), "backlog") == "green"
    assert [run.state for run in models.green.runs if run.dag_id == "backlog"] == ["queued"]
