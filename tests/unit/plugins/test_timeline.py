"""The ownership timeline: one owner for every instant, whoever writes and whoever reads."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from bluegreen.timeline import COLOURS, LEAD, Colour, Entry, Reading, Timeline, TimelineError, valid
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.timeline import LIVES, dumped, initial, parsed

T = datetime(2026, 11, 23, 10, tzinfo=UTC)
DAGS = ("etl", "serial", None)


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def test_the_initial_value_gives_everything_to_blue() -> None:
    assert initial().owner(datetime(1960, 1, 1, tzinfo=UTC)) == "blue"
    assert initial("green").owner(T, "etl") == "green"


def test_a_switch_takes_what_is_due_from_its_instant_on() -> None:
    timeline = initial().switched("green", at(5), 2)
    assert timeline.owner(at(4.999)) == "blue"
    assert timeline.owner(at(5)) == "green"
    assert timeline.owner(at(5), "any_dag") == "green"


def test_a_serial_dag_kept_back_follows_by_its_own_move() -> None:
    switched = initial().switched("green", at(5), 2).dag_moved("serial", "blue", at(5), 2)
    assert [switched.owner(at(60), dag) for dag in DAGS] == ["green", "blue", "green"]
    moved = switched.dag_moved("serial", "green", at(90), 3)
    assert moved.owner(at(89), "serial") == "blue"
    assert moved.owner(at(90), "serial") == "green"


def test_a_canary_stays_with_the_target_until_a_full_switch_takes_every_dag_along() -> None:
    canary = initial().dag_moved("etl", "green", at(5), 2)
    assert [canary.owner(at(3600), dag) for dag in DAGS] == ["green", "blue", "blue"]
    confirmed = canary.switched("green", at(60), 3)
    assert {confirmed.owner(at(60), dag) for dag in DAGS} == {"green"}
    withdrawn = canary.switched("blue", at(60), 3)
    assert withdrawn.owner(at(59), "etl") == "green"
    assert {withdrawn.owner(at(60), dag) for dag in DAGS} == {"blue"}


def test_after_a_switch_and_all_moves_a_later_switch_needs_no_entry_of_a_dag() -> None:
    timeline = initial().switched("green", at(5), 2).dag_moved("serial", "blue", at(5), 2)
    timeline = timeline.dag_moved("serial", "green", at(60), 3).switched("blue", at(600), 4)
    assert {timeline.owner(at(600), dag) for dag in DAGS} == {"blue"}


def test_a_decision_taken_later_overrides_one_that_was_planned_for_later() -> None:
    planned = initial().switched("green", at(600), 2)
    withdrawn = planned.switched("blue", at(5), 3)
    assert withdrawn.owner(at(700)) == "blue"
    kept = planned.dag_moved("etl", "blue", at(5), 3)
    assert [kept.owner(at(700), dag) for dag in DAGS] == ["blue", "green", "green"]


def test_decisions_that_decide_nothing_any_more_are_dropped_by_the_next_writer() -> None:
    timeline = initial().switched("green", at(600), 2).dag_moved("etl", "green", at(700), 3)
    later = timeline.switched("blue", at(60), 4).switched("green", at(900), 5)
    assert later.dags == {}
    assert [entry.version for entry in later.owners] == [1, 4, 5]


def test_a_writer_must_number_its_decision_above_all_others() -> None:
    timeline = initial().switched("green", at(5), 4)
    with pytest.raises(TimelineError, match="version 3 cannot follow version 3"):
        timeline.switched("blue", at(60), 3)


def test_a_value_is_valid_only_upon_the_version_just_before_it() -> None:
    timeline = initial().switched("green", at(5), 7)
    assert valid(timeline, 7)
    assert not valid(timeline, 8)


def test_a_write_that_arrives_late_begins_late_and_the_next_writer_records_it() -> None:
    planned = initial().switched("green", at(5), 2).dag_moved("serial", "blue", at(5), 2)
    late = Reading(planned, 2, modified=at(60)).effective().seen_with(LIVES)
    assert late.owner(at(64)) == "blue"
    assert late.owner(at(65)) == "green"
    assert late.owner(at(65), "serial") == "blue"
    following = late.dag_moved("serial", "green", at(100), 3)
    assert following.owners[1] == Entry("green", LIVES["green"], at(65), 2, blind=True)
    assert Reading(following, 3, at(95)).effective().seen_with(LIVES).owner(at(64)) == "blue"


def test_a_withdrawal_that_arrives_late_leaves_to_green_what_green_has_begun() -> None:
    planned = initial().switched("green", at(600), 2)
    withdrawn = planned.switched("blue", at(30), 3)
    late = Reading(withdrawn, 3, modified=at(700)).effective().seen_with(LIVES)
    assert [late.owner(at(seconds)) for seconds in (599, 650, 705)] == ["blue", "green", "blue"]


def test_the_initial_owner_is_the_owner_from_the_first_moment() -> None:
    assert Reading(initial(), 1, T).effective().seen_with(LIVES).owner(at(-3600)) == "blue"


def test_a_name_that_airflow_would_refuse_is_not_written() -> None:
    for name in ("a,b", "", "two words"):
        with pytest.raises(TimelineError, match="is not a valid DAG id"):
            initial().dag_moved(name, "green", at(5), 2)
    assert initial().dag_moved("größe.v-2_x", "green", at(5), 2).owner(at(5), "größe.v-2_x") == "green"


DECISIONS = st.lists(
    st.tuples(st.sampled_from(COLOURS), st.sampled_from(DAGS), st.integers(-50, 300)), max_size=12
)


def naive(decisions: list[tuple[Colour, str | None, int]], instant: datetime, dag: str | None) -> str:
    """The owner by replaying the decisions in order."""
    owner = "blue"
    for target, about, since in decisions:
        if about in (None, dag) and at(since) <= instant:
            owner = target
    return owner


def write(decisions: list[tuple[Colour, str | None, int]]) -> Timeline:
    timeline = initial()
    for version, (target, about, since) in enumerate(decisions, start=2):
        if about is None:
            timeline = timeline.switched(target, at(since), version)
        else:
            timeline = timeline.dag_moved(about, target, at(since), version)
    return timeline


@given(DECISIONS, st.integers(-60, 310), st.sampled_from(DAGS))
def test_dropping_superseded_decisions_changes_no_owner(
    decisions: list[tuple[Colour, str | None, int]], second: int, dag: str | None
) -> None:
    assert write(decisions).owner(at(second), dag) == naive(decisions, at(second), dag)


@settings(max_examples=200)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 200),  # seconds since the step before
            st.integers(0, 60),  # how late the write arrives
            st.integers(5, 120),  # the planned lead
            st.sampled_from(COLOURS),
            st.sampled_from(DAGS),
        ),
        max_size=8,
    ),
    dag=st.sampled_from(DAGS),
)
def test_readers_of_any_age_agree_on_every_instant_that_their_copy_is_good_for(
    steps: list[tuple[int, int, int, Colour, str | None]], dag: str | None
) -> None:
    """A copy answers for instants up to its fetch; no later write may change the answer."""
    readings = [Reading(initial(), 1, at(-9999))]
    now = 0.0
    for wait, late, lead, target, about in steps:
        now += wait
        base = readings[-1].effective().seen_with(LIVES)
        version = readings[-1].version + 1
        since = at(now + lead)
        decided = (
            base.switched(target, since, version)
            if about is None
            else base.dag_moved(about, target, since, version)
        )
        now += late
        readings.append(Reading(parsed(dumped(decided)), version, at(now)))
    last = readings[-1].effective().seen_with(LIVES)
    for reading, following in itertools.pairwise(readings):
        # fetched just before the following version arrived: good until then, and for the lead
        applied = reading.effective().seen_with(LIVES)
        for back in range(0, 700, 7):
            instant = following.modified + LEAD - timedelta(seconds=back, milliseconds=1)
            assert applied.owner(instant, dag) == last.owner(instant, dag)


@pytest.mark.parametrize("hour", [0, 11, 15])
def test_folding_gives_the_past_of_a_dag_that_was_held_to_nobody_else(hour: int) -> None:
    """`x` was held back by the very switch that the folded timeline begins with."""
    hours = timedelta(hours=1)
    timeline = initial().switched("green", T + 10 * hours, 2, known=["x"])
    timeline = timeline.with_books("blue", {}, 3, closed=True).switched(
        "blue", T + 20 * hours, 4, known=["x"]
    )
    timeline = timeline.dag_moved("x", "green", T + 20 * hours, 4).dag_moved("x", "blue", T + 21 * hours, 5)
    timeline = timeline.with_books("green", {}, 6, closed=True)
    folded = timeline.folded(T + 30 * hours)
    assert folded != timeline
    before, after = (line.claim(T + hour * hours, "x").entry for line in (timeline, folded))
    assert after is None or (before is not None and before.owned_by == after.owned_by)


def test_a_dag_that_is_held_takes_nothing_from_the_new_owner() -> None:
    """It never belonged to it, so there is nothing to drain there."""
    held = initial().switched("green", at(5), 2, known=["serial"]).dag_moved("serial", "blue", at(5), 2)
    assert list(held.books("green")) == []
    assert [(book.dag_id, book.own) for book in held.books("blue")] == [(None, False)]


def test_the_books_of_one_dag_are_closed_without_those_of_another() -> None:
    moved = initial().dag_moved("etl", "green", at(5), 2).dag_moved("serial", "green", at(5), 2)
    closed = moved.with_books("blue", {}, 3, closed=True, dags=["etl"])
    assert {book.dag_id: book.entry.closed for book in closed.books("blue")} == {"etl": True, "serial": False}
    assert closed.open_books("blue")


def test_many_dags_that_move_at_once_move_as_one_by_one() -> None:
    before = initial().switched("green", at(5), 2, known=["etl"])
    alone = before.dag_moved("etl", "blue", at(9), 3).dag_moved("serial", "blue", at(9), 3)
    assert before.dags_moved(["etl", "serial"], "blue", at(9), 3) == alone
    with pytest.raises(TimelineError, match="is not a valid DAG id"):
        before.dags_moved(["etl", "a,b"], "blue", at(9), 3)


def test_where_nothing_was_taken_there_are_no_books_to_close() -> None:
    assert initial().with_books("blue", {}, 2, closed=True).owners == initial().owners


def test_what_moved_alone_and_back_with_all_is_one_book_of_the_side_that_had_it() -> None:
    canary = initial().dag_moved("etl", "green", at(5), 2)
    withdrawn = canary.switched("blue", at(60), 3, known=["etl"])
    assert [(book.dag_id, book.own) for book in withdrawn.books("green")] == [("etl", False)]
    assert not withdrawn.with_books("green", {}, 4, closed=True).open_books("green")
    confirmed = canary.switched("green", at(60), 3, known=["etl"]).switched("blue", at(90), 4, known=["etl"])
    assert [book.dag_id for book in confirmed.books("green")] == [None]


def test_of_what_a_dag_had_left_in_the_present_life_nothing_is_lost_for_the_sake_of_a_former_one() -> None:
    """Blue was replaced while green had `etl` alone, and got that back; all else was the former blue's."""
    canary = initial().dag_moved("etl", "green", at(5), 2)
    lives: dict[Colour, str] = {**LIVES, "blue": "blue-2"}
    returned = canary.seen_with(lives).dag_moved("etl", "blue", at(60), 3)
    switched = returned.switched("green", at(90), 4, known=["etl"])
    closed = switched.with_books("blue", {"etl": at(70)}, 5, closed=True)
    assert closed.owner(at(69), "etl") == "blue"
    assert closed.owner(at(70), "etl") == "green"


def test_what_one_decision_supersedes_is_kept_while_that_one_may_still_arrive_late() -> None:
    planned = initial().switched("green", at(600), 2)
    withdrawn = planned.switched("blue", at(5), 3).dag_moved("etl", "green", at(5), 3)
    late = Reading(withdrawn, 3, at(700)).effective()
    assert [late.owner(at(650), dag) for dag in ("etl", None)] == ["green", "green"]
    assert [late.owner(at(710), dag) for dag in ("etl", None)] == ["green", "blue"]


def test_nothing_is_given_to_an_environment_that_there_is_not() -> None:
    alone = initial().seen_with({"blue": "blue-1"})
    with pytest.raises(TimelineError, match="there is no green environment"):
        alone.switched("green", at(5), 2)
