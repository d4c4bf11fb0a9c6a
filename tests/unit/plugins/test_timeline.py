"""The ownership timeline: one owner for every instant, whoever writes and whoever reads."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bluegreen.dense import condense
from bluegreen.timeline import (
    EPOCH,
    MAX_CHARACTERS,
    REMEMBERED,
    Entry,
    Reading,
    Timeline,
    TimelineError,
    latest_valid,
    valid,
)
from hypothesis import given, settings
from hypothesis import strategies as st

T = datetime(2026, 11, 23, 10, tzinfo=UTC)
LEAD = timedelta(seconds=5)
INITIAL = (
    '{"base_version":0,"owners":[{"owner":"blue","since":"1970-01-01T00:00:00Z","version":1}],"dags":{}}'
)
DAGS = ("etl", "serial", None)
COLOURS = ("blue", "green")


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def test_the_initial_value_gives_everything_to_blue() -> None:
    assert Timeline.initial().dump() == INITIAL
    assert Timeline.parse(INITIAL) == Timeline.initial()
    assert Timeline.initial().owner(datetime(1960, 1, 1, tzinfo=UTC)) == "blue"
    assert Timeline.initial("green").owner(T, "etl") == "green"


def test_a_switch_takes_what_is_due_from_its_instant_on() -> None:
    timeline = Timeline.initial().switched("green", at(5), 2)
    assert timeline.owner(at(4.999)) == "blue"
    assert timeline.owner(at(5)) == "green"
    assert timeline.owner(at(5), "any_dag") == "green"


def test_a_serial_dag_kept_back_follows_by_its_own_move() -> None:
    switched = Timeline.initial().switched("green", at(5), 2).dag_moved("serial", "blue", at(5), 2)
    assert [switched.owner(at(60), dag) for dag in DAGS] == ["green", "blue", "green"]
    moved = switched.dag_moved("serial", "green", at(90), 3)
    assert moved.owner(at(89), "serial") == "blue"
    assert moved.owner(at(90), "serial") == "green"


def test_a_canary_stays_with_the_target_until_a_full_switch_takes_every_dag_along() -> None:
    canary = Timeline.initial().dag_moved("etl", "green", at(5), 2)
    assert [canary.owner(at(3600), dag) for dag in DAGS] == ["green", "blue", "blue"]
    confirmed = canary.switched("green", at(60), 3)
    assert {confirmed.owner(at(60), dag) for dag in DAGS} == {"green"}
    withdrawn = canary.switched("blue", at(60), 3)
    assert withdrawn.owner(at(59), "etl") == "green"
    assert {withdrawn.owner(at(60), dag) for dag in DAGS} == {"blue"}


def test_after_a_switch_and_all_moves_a_later_switch_needs_no_entry_of_a_dag() -> None:
    timeline = Timeline.initial().switched("green", at(5), 2).dag_moved("serial", "blue", at(5), 2)
    timeline = timeline.dag_moved("serial", "green", at(60), 3).switched("blue", at(600), 4)
    assert {timeline.owner(at(600), dag) for dag in DAGS} == {"blue"}


def test_a_decision_taken_later_overrides_one_that_was_planned_for_later() -> None:
    planned = Timeline.initial().switched("green", at(600), 2)
    withdrawn = planned.switched("blue", at(5), 3)
    assert withdrawn.owner(at(700)) == "blue"
    kept = planned.dag_moved("etl", "blue", at(5), 3)
    assert [kept.owner(at(700), dag) for dag in DAGS] == ["blue", "green", "green"]


def test_decisions_that_decide_nothing_any_more_are_dropped_by_the_next_writer() -> None:
    timeline = Timeline.initial().dag_moved("etl", "blue", at(5), 2).switched("blue", at(60), 3)
    later = timeline.switched("green", at(600), 4)
    assert later.dags == {}
    assert [entry.version for entry in later.owners] == [1, 4]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "must be a JSON object, not list"),
        ('{"owners": []}', "base_version must be a whole number, 0 or more, not missing"),
        ('{"base_version": true, "owners": []}', "base_version must be"),
        ('{"base_version": 0, "owners": []}', "owners must be a list of at least one entry"),
        ('{"base_version": 0, "owners": [7]}', r"owners\[0\] must be an object"),
        ('{"base_version": 0, "dags": [], "owners": []}', "dags must be an object"),
    ],
)
def test_a_value_that_is_no_timeline_is_refused_with_the_place(value: str, complaint: str) -> None:
    with pytest.raises(TimelineError, match=complaint):
        Timeline.parse(value)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"owner": "red"}, r"owners\[1\].owner must be one of blue, green, not str 'red'"),
        ({"since": "soon"}, r"owners\[1\].since must be a time such as"),
        ({"since": 5}, r"owners\[1\].since must be a time such as"),
        ({"since": "2026-11-23T10:00:05"}, r"owners\[1\].since needs a time zone"),
        ({"version": 0}, r"owners\[1\].version must be a whole number, 1 or more"),
        ({"version": 1}, r"owners\[1\].version is 1, but must be above the previous one, 1"),
        ({"version": 3}, r"owners\[1\].version is 3, but this value can only have decisions up to 2"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(entry: dict[str, object], complaint: str) -> None:
    value = json.loads(INITIAL)
    value["base_version"] = 1
    value["owners"].append({"owner": "green", "since": "2026-11-23T10:00:05Z", "version": 2} | entry)
    with pytest.raises(TimelineError, match=complaint):
        Timeline.parse(json.dumps(value))


def test_keys_of_newer_writers_are_ignored() -> None:
    assert Timeline.parse(json.dumps(json.loads(INITIAL) | {"why": "upgrade"})) == Timeline.initial()


def test_a_writer_must_number_its_decision_above_all_others() -> None:
    timeline = Timeline.initial().switched("green", at(5), 4)
    with pytest.raises(TimelineError, match="version 3 cannot follow"):
        timeline.switched("blue", at(60), 3)


def test_a_value_is_valid_only_upon_the_version_just_before_it() -> None:
    timeline = Timeline.initial().switched("green", at(5), 7)
    assert valid(timeline, 7)
    assert not valid(timeline, 8)


def test_a_lost_race_leaves_the_winner_standing() -> None:
    first = Timeline.initial()
    winner = first.switched("green", at(5), 2)
    loser = first.switched("blue", at(5), 2)  # meant to be 2, became 3
    records = [(first.dump(), 1, at(-60)), (winner.dump(), 2, at(0)), (loser.dump(), 3, at(1))]
    assert latest_valid(records) == Reading(winner, 2, at(0))


def test_an_old_value_put_back_does_not_undo_a_switch() -> None:
    first = Timeline.initial()
    switched = first.switched("green", at(5), 2)
    records = [(first.dump(), 3, at(9)), (switched.dump(), 2, at(0)), (first.dump(), 1, at(-60))]
    assert latest_valid(records).timeline == switched


def test_without_a_valid_version_the_reasons_are_told() -> None:
    with pytest.raises(
        TimelineError, match=r"version 2 is based on version 0, not 1; version 1: .* not JSON"
    ):
        latest_valid([("nonsense", 1, T), (INITIAL, 2, T)])
    with pytest.raises(TimelineError, match="no version at all"):
        latest_valid([])


def test_a_write_that_arrives_late_begins_late_and_the_next_writer_records_it() -> None:
    planned = Timeline.initial().switched("green", at(5), 2).dag_moved("serial", "blue", at(5), 2)
    late = Reading(planned, 2, modified=at(60)).effective(LEAD)
    assert late.owner(at(64)) == "blue"
    assert late.owner(at(65)) == "green"
    assert late.owner(at(65), "serial") == "blue"
    following = late.dag_moved("serial", "green", at(100), 3)
    assert following.owners[1] == Entry("green", at(65), 2)
    assert Reading(following, 3, at(95)).effective(LEAD).owner(at(64)) == "blue"


def test_a_withdrawal_that_arrives_late_leaves_to_green_what_green_has_begun() -> None:
    planned = Timeline.initial().switched("green", at(600), 2)
    withdrawn = planned.switched("blue", at(30), 3)
    late = Reading(withdrawn, 3, modified=at(700)).effective(LEAD)
    assert [late.owner(at(seconds)) for seconds in (599, 650, 705)] == ["blue", "green", "blue"]


def test_the_initial_owner_is_the_owner_from_the_first_moment() -> None:
    assert Reading(Timeline.initial(), 1, T).effective(LEAD).owner(at(-3600)) == "blue"


def test_a_long_history_is_shortened_from_its_old_end_only() -> None:
    timeline = Timeline.initial()
    versions = range(2, 240)
    for version in versions:
        switched = timeline.switched(COLOURS[version % 2], T + timedelta(hours=version), version)
        now = T + timedelta(hours=version)
        timeline = Timeline.parse(switched.dump(now))
    assert len(timeline.dump(now)) <= MAX_CHARACTERS
    assert 120 < len(timeline.owners) < len(versions)
    assert timeline.owners[0] == Timeline.initial().owners[0]
    for version in versions[-120:]:
        assert timeline.owner(T + timedelta(hours=version)) == COLOURS[version % 2]


def test_a_switch_planned_far_ahead_forgets_nothing_of_the_last_day() -> None:
    timeline = Timeline.initial()
    for version in range(2, 180):
        timeline = timeline.switched(COLOURS[version % 2], at(version * 60), version)
    planned = timeline.switched("blue", T + timedelta(days=30), 180)
    with pytest.raises(TimelineError, match=r"too many switches \(178\)"):
        planned.dump(at(11000))
    shortened = Timeline.parse(planned.dump(T + timedelta(days=2)))
    assert shortened.owner(T + timedelta(days=29)) == "green"
    assert shortened.owner(T + timedelta(days=31)) == "blue"


def test_dags_with_the_same_line_share_it() -> None:
    switched = Timeline.initial().switched("green", at(5), 2)
    for dag in ("b", "a", "c"):
        switched = switched.dag_moved(dag, "blue", at(5), 2)
    moved = switched.dag_moved("b", "green", at(60), 3)
    assert list(json.loads(switched.dump())["dags"]) == ["a,b,c"]
    assert list(json.loads(moved.dump())["dags"]) == ["a,c", "b"]
    assert Timeline.parse(moved.dump()) == moved


def test_a_hundred_dags_kept_back_and_moved_in_five_groups_fit() -> None:
    names = [f"a_dag_of_twenty_{number:04}" for number in range(100)]
    timeline = Timeline.initial().switched("green", at(5), 2).switched("blue", at(600), 3)
    timeline = timeline.switched("green", at(1200.123456), 4)
    for name in names:
        assert len(name) == 20
        timeline = timeline.dag_moved(name, "blue", at(1200.123456), 4)
    assert len(timeline.dump(at(1200))) < 2600
    for group in range(5):
        timeline = Timeline.parse(timeline.dump(at(1200)))
        for name in names[group::5]:
            timeline = timeline.dag_moved(name, "green", at(1300.123456 + group), 5 + group)
    assert len(timeline.dump(at(1200))) < 3500
    assert Timeline.parse(timeline.dump(at(1200))) == timeline


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("", "'' is not a valid DAG id"),
        ("a,", "'' is not a valid DAG id"),
        (",a", "'' is not a valid DAG id"),
        ("a, b", "' b' is not a valid DAG id"),
        ("a,a", "names the DAG a, which already has another line"),
        ("b,a,x", "names the DAG a, which already has another line"),
    ],
)
def test_a_group_that_names_no_dag_or_one_twice_is_refused(key: str, complaint: str) -> None:
    line = json.loads(INITIAL)["owners"]
    value = json.loads(INITIAL) | {"dags": {"a,c" if key.startswith("b") else "c": line, key: line}}
    with pytest.raises(TimelineError, match=complaint):
        Timeline.parse(json.dumps(value))


def test_a_name_that_airflow_would_refuse_is_not_written() -> None:
    for name in ("a,b", "", "two words"):
        with pytest.raises(TimelineError, match="is not a valid DAG id"):
            Timeline.initial().dag_moved(name, "green", at(5), 2)
    assert (
        Timeline.initial().dag_moved("größe.v-2_x", "green", at(5), 2).owner(at(5), "größe.v-2_x") == "green"
    )


def test_too_many_dags_moved_within_a_day_are_refused_rather_than_forgotten() -> None:
    timeline = Timeline.initial()
    for number in range(80):
        timeline = timeline.dag_moved(f"dag_{number}", "green", at(number), 2 + number)
    assert Timeline.parse(timeline.dump(at(200))) == timeline
    for number in range(80):
        timeline = timeline.dag_moved(f"dag_{number}", "blue", at(100 + number), 82 + number)
    with pytest.raises(TimelineError, match=r"SSM allows 4096: too many DAGs \(80\)"):
        timeline.dump(at(200))


def test_a_value_that_would_be_too_long_is_written_densely() -> None:
    timeline = Timeline.initial()
    for version in range(2, 50):
        timeline = timeline.switched(COLOURS[version % 2], at(version), version)
    plain = json.loads(timeline.dump(at(60)))
    assert plain["owners"][1] == {"owner": "green", "since": "2026-11-23T10:00:03Z", "version": 3}
    for number in range(30):
        timeline = timeline.dag_moved(f"dag_{number}", "blue", at(60 + number), 50 + number)
    value = timeline.dump(at(90))
    dense = json.loads(value)
    assert dense["owners"].startswith("b1 g3 b4 g5 ")
    assert dense["dags"]["dag_1"] == "b51"
    assert dense["since"]["51"] == (at(61) - EPOCH) // timedelta(microseconds=1)
    assert Timeline.parse(value) == timeline


def test_a_busy_day_fits() -> None:
    """Eighty DAGs that must not overlap themselves are kept back; sixty of them move one by one."""
    timeline = Timeline.initial().switched("green", at(5.123456), 2)
    for number in range(80):
        timeline = timeline.dag_moved(f"a_dag_of_twenty_{number:04}", "blue", at(5.123456), 2)
    for number in range(60):
        timeline = Timeline.parse(timeline.dump(at(700)))
        timeline = timeline.dag_moved(
            f"a_dag_of_twenty_{number:04}", "green", at(10.654321 * number + 60), 3 + number
        )
    assert Timeline.parse(timeline.dump(at(700))) == timeline


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"since": None}, "since must be an object"),
        ({"since": {"1": 0}}, "since has no microseconds for version 7"),
        ({"since": {"1": 0, "7": True}}, "since has no microseconds for version 7"),
        ({"since": {"1": 0, "7": "5"}}, "since has no microseconds for version 7"),
        ({"since": {"1": 0, "7": 10**20}}, "version 7 begins at an impossible time"),
        ({"owners": ""}, "owners must be a list of at least one entry"),
        ({"owners": "b1 x7"}, "'x7' is not an entry"),
        ({"owners": "b1 g7 g8"}, "since has no microseconds for version 8"),
        ({"owners": "b1 g99@5"}, "can only have decisions up to 8"),
        ({"owners": "g7 b1"}, "must be above the previous one, 7"),
        ({"dags": []}, "dags must be an object"),
        ({"dags": {"etl": [7]}}, "is not a line"),
        ({"dags": {"a b": "b7"}}, "is not a valid DAG id"),
    ],
)
def test_a_dense_value_that_is_not_one_is_refused(change: dict[str, object], complaint: str) -> None:
    value = {
        "base_version": 7,
        "since": {"1": 0, "7": 1763892005000000},
        "owners": "b1 g7",
        "dags": {"etl": "b7"},
    }
    assert Timeline.parse(json.dumps(value)).owner(at(0), "etl") == "blue"
    with pytest.raises(TimelineError, match=complaint):
        Timeline.parse(json.dumps(value | change))


DECISIONS = st.lists(
    st.tuples(st.sampled_from(COLOURS), st.sampled_from(DAGS), st.integers(-50, 300)), max_size=12
)


def naive(decisions: list[tuple[str, str | None, int]], instant: datetime, dag: str | None) -> str:
    """The owner by replaying the decisions in order."""
    owner = "blue"
    for target, about, since in decisions:
        if about in (None, dag) and at(since) <= instant:
            owner = target
    return owner


def write(decisions: list[tuple[str, str | None, int]]) -> Timeline:
    timeline = Timeline.initial()
    for version, (target, about, since) in enumerate(decisions, start=2):
        if about is None:
            timeline = timeline.switched(target, at(since), version)
        else:
            timeline = timeline.dag_moved(about, target, at(since), version)
    return timeline


@given(DECISIONS, st.integers(-60, 310), st.sampled_from(DAGS))
def test_dropping_superseded_decisions_changes_no_owner(
    decisions: list[tuple[str, str | None, int]], second: int, dag: str | None
) -> None:
    assert write(decisions).owner(at(second), dag) == naive(decisions, at(second), dag)


@given(DECISIONS)
def test_what_is_written_is_what_is_read(decisions: list[tuple[str, str | None, int]]) -> None:
    timeline = write(decisions)
    assert Timeline.parse(timeline.dump()) == timeline


@given(DECISIONS, st.integers(-(10**9), 10**9))
def test_what_is_written_densely_is_what_is_read(
    decisions: list[tuple[str, str | None, int]], dated_back: int
) -> None:
    """Also if a decision begins at another instant than its version's others."""
    version = len(decisions) + 2
    timeline = write(decisions).switched("green", at(400), version).dag_moved("etl", "blue", at(400), version)
    last = replace(timeline.owners[-1], since=at(dated_back / 1e6))
    timeline = replace(timeline, owners=(*timeline.owners[:-1], last))
    dense = condense(json.loads(timeline.dump()))
    assert ("@" in dense["dags"]["etl"]) == (last.since != at(400))
    assert Timeline.parse(json.dumps(dense)) == timeline


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
    steps: list[tuple[int, int, int, str, str | None]], dag: str | None
) -> None:
    """A copy answers for instants up to its fetch; no later write may change the answer."""
    readings = [Reading(Timeline.initial(), 1, at(-9999))]
    now = 0.0
    for wait, late, lead, target, about in steps:
        now += wait
        base = readings[-1].effective(LEAD)
        version = readings[-1].version + 1
        since = at(now + lead)
        decided = (
            base.switched(target, since, version)
            if about is None
            else base.dag_moved(about, target, since, version)
        )
        now += late
        readings.append(Reading(Timeline.parse(decided.dump()), version, at(now)))
    last = readings[-1].effective(LEAD)
    for reading, following in itertools.pairwise(readings):
        # fetched just before the following version arrived: good until then, and for the lead
        applied = reading.effective(LEAD)
        for back in range(0, 700, 7):
            instant = following.modified + LEAD - timedelta(seconds=back, milliseconds=1)
            assert applied.owner(instant, dag) == last.owner(instant, dag)


def test_history_within_a_day_is_what_the_readers_rely_on() -> None:
    assert timedelta(hours=12) <= REMEMBERED <= timedelta(days=7)
