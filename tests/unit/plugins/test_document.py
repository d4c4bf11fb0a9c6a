"""How a timeline is written: the parameter's value, and the object that it points to when it has no room."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bluegreen.document import (
    FORMAT,
    MAX_CHARACTERS,
    Document,
    UnreadableError,
    _content,
    dump,
    latest_valid,
    parse,
)
from bluegreen.timeline import REMEMBERED, Colour, Entry, Reading, Timeline, TimelineError, other_colour
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.timeline import LIVES, dumped, initial, parsed

T = datetime(2026, 11, 23, 10, tzinfo=UTC)
INITIAL = (
    '{"format":1,"reader":1,"base_version":0,"lead":5.0,'
    '"owners":[{"owner":"blue","life":"blue-1","since":"1970-01-01T00:00:00Z","version":1}],'
    '"dags":{},"known":{},"left":[]}'
)
GREEN = {"owner": "green", "life": "green-1", "since": "2026-11-23T10:00:05Z", "version": 2}


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(INITIAL) | changes)


def read_back(document: Document) -> Timeline:
    """What a reader makes of it, who finds the object only under its name."""
    contents = {document.name: document.content} if document.content is not None else {}
    return parsed(document.value, contents.__getitem__)


def test_the_initial_value() -> None:
    assert dumped(initial()) == INITIAL
    assert parsed(INITIAL) == initial()


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "must be a JSON object, not list"),
        ('{"owners": []}', "base_version must be a whole number, 0 or more, not missing"),
        (changed(base_version=True), "base_version must be"),
        (changed(reader=None), "reader must be a whole number, 1 or more, not missing"),
        (changed(lead=None), "lead must be a number of seconds from 0 to 86400, not missing"),
        (changed(lead=-1), "lead must be"),
        (changed(lead=True), "lead must be"),
        (changed(lead=86400.5), "lead must be"),
        (changed(owners=[]), "owners must be a list of at least one entry"),
        (changed(owners=7), "owners must be a list of at least one entry, not int 7"),
        (changed(owners=[7]), r"owners\[0\] must be a JSON object"),
        (changed(dags=[]), "dags must be a JSON object"),
        (changed(known=[]), "known must be a JSON object"),
        (changed(left={}), "left must be a list"),
        (changed(left=[[]]), r"left\[0\] must be a JSON object"),
        (changed(left=[{"etl": 5}]), r"left\[0\]\['etl'\] must be a time such as"),
        (changed(left=[{"e t": "2026-11-23T10:00:05Z"}]), "is not a valid DAG id"),
        (changed(known={"x": "etl"}), r"known\['x'\] must be a whole number"),
        (changed(known={"\u00b2": "etl"}), "must be a whole number, 1 or more, not str '\u00b2'"),
        (changed(known={"2": "etl"}), r"known\['2'\] is above 1"),
        (changed(known={"1": ["etl"]}), r"known\['1'\] must be a text"),
        (changed(known={"1": "etl, b"}), "is not a valid DAG id"),
    ],
)
def test_a_value_that_is_no_timeline_is_refused_with_the_place(value: str, complaint: str) -> None:
    with pytest.raises(TimelineError, match=complaint):
        parse(value)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"owner": "red"}, r"owners\[1\].owner must be one of blue, green, not str 'red'"),
        ({"life": ""}, r"owners\[1\].life must be a text"),
        ({"life": None}, r"owners\[1\].life must be a text, not missing"),
        ({"since": "soon"}, r"owners\[1\].since must be a time such as"),
        ({"since": "0001-01-01T00:00:00+14:00"}, r"owners\[1\].since must be a time such as"),
        ({"since": 5}, r"owners\[1\].since must be a time such as"),
        ({"since": "2026-11-23T10:00:05"}, r"owners\[1\].since needs a time zone"),
        ({"version": 0}, r"owners\[1\].version must be a whole number, 1 or more"),
        ({"version": 1}, r"owners\[1\].version is 1, but must be above the previous one, 1"),
        ({"version": 3}, r"owners\[1\].version is 3, but this value can only have decisions up to 2"),
        ({"left": {}}, r"owners\[1\].left must be a whole number"),
        ({"left": 0}, r"owners\[1\].left is 0, but there are only 0 such mappings"),
        ({"closed": 1}, r"owners\[1\].closed must be true or false"),
        ({"closed": True}, r"owners\[1\] is closed, but has no left"),
        ({"blind": "yes"}, r"owners\[1\].blind must be true or false"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(entry: dict[str, object], complaint: str) -> None:
    value = json.loads(changed(base_version=1))
    value["owners"].append(GREEN | entry)
    with pytest.raises(TimelineError, match=complaint):
        parse(json.dumps(value))


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
    with pytest.raises(TimelineError, match=complaint):
        parse(changed(dags={"a,c" if key.startswith("b") else "c": line, key: line}))


@pytest.mark.parametrize("lead", [0, 0.5, 86400])
def test_a_lead_may_be_anything_up_to_a_day(lead: float) -> None:
    assert parse(changed(lead=lead)).lead == timedelta(seconds=lead)


def test_a_pointer_that_is_no_name_is_refused() -> None:
    with pytest.raises(TimelineError, match="its content stands in the object 7, which cannot be read here"):
        parse(changed(object=7), {7: INITIAL}.__getitem__)  # type: ignore[arg-type]


def test_keys_of_newer_writers_are_ignored() -> None:
    assert parse(changed(why="upgrade", format=FORMAT + 1)) == initial()


def test_dags_with_the_same_line_share_it() -> None:
    switched = initial().switched("green", at(5), 2)
    for dag in ("b", "a", "c"):
        switched = switched.dag_moved(dag, "blue", at(5), 2)
    moved = switched.dag_moved("b", "green", at(60), 3)
    assert list(json.loads(dumped(switched))["dags"]) == ["a,b,c"]
    assert list(json.loads(dumped(moved))["dags"]) == ["a,c", "b"]
    assert json.loads(dumped(moved))["known"] == {"2": "a,b,c"}
    assert parsed(dumped(moved)) == moved


# --- which value stands ---


def test_a_lost_race_leaves_the_winner_standing() -> None:
    first = initial()
    winner = first.switched("green", at(5), 2)
    loser = first.switched("blue", at(5), 2)  # meant to be 2, became 3
    records = [(dumped(first), 1, at(-60)), (dumped(winner), 2, at(0)), (dumped(loser), 3, at(1))]
    assert latest_valid(records) == Reading(winner, 2, at(0))


def test_an_old_value_put_back_does_not_undo_a_switch() -> None:
    first = initial()
    switched = first.switched("green", at(5), 2)
    records = [(dumped(first), 3, at(9)), (dumped(switched), 2, at(0)), (dumped(first), 1, at(-60))]
    assert latest_valid(records).timeline == switched


def test_without_a_valid_version_the_reasons_are_told() -> None:
    with pytest.raises(
        TimelineError, match=r"version 2 is based on version 0, not 1; version 1: .* not JSON"
    ):
        latest_valid([("nonsense", 1, T), (INITIAL, 2, T)])
    with pytest.raises(TimelineError, match="no version at all"):
        latest_valid([])


def test_of_a_hundred_versions_without_a_valid_one_the_newest_five_are_named() -> None:
    with pytest.raises(TimelineError, match=r"version 109 .* version 105 is based on version 0, not 104$"):
        latest_valid([(INITIAL, version, T) for version in range(10, 110)])


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (changed(base_version=1, reader=2, format=3), "in format 3, for readers of format 2 or newer"),
        (changed(base_version=1, owners=[]), "owners must be"),
        (changed(base_version=1, object="gone"), "cannot be read here"),
    ],
)
def test_a_valid_value_that_cannot_be_read_is_no_lost_race(value: str, complaint: str) -> None:
    """A switch by a newer writer: with the older value both sides would execute, or neither."""
    with pytest.raises(UnreadableError, match=f"version 2 cannot be read: .*{complaint}"):
        latest_valid([(INITIAL, 1, T), (value, 2, T)])


def test_an_older_value_of_a_newer_format_is_never_needed() -> None:
    switched = dumped(initial().switched("green", at(5), 3))
    records = [(changed(base_version=1, reader=2), 2, T), (switched, 3, T)]
    assert latest_valid(records).version == 3


# --- room ---


def crowded() -> Timeline:
    """A switch at the busiest minute of a shop with 2,000 serial DAGs, of which 500 are held."""
    names = [f"a_dag_with_an_id_of_forty_characters_{number:04}" for number in range(2000)]
    timeline = initial().switched("green", at(5), 2, known=names)
    for name in names[:500]:
        timeline = timeline.dag_moved(name, "blue", at(5), 2)
    for number, name in enumerate(names[:50]):
        timeline = timeline.dag_moved(name, "green", at(60 + number), 3 + number)
    return timeline


def test_what_does_not_fit_stands_in_an_object_that_is_named_by_its_content() -> None:
    document = dump(crowded(), at(60))
    assert len(document.value) < 300 < MAX_CHARACTERS < len(document.content or "")
    assert json.loads(document.value)["object"] == document.name
    assert read_back(document) == crowded()


def test_a_value_that_just_fits_needs_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bluegreen.document.MAX_CHARACTERS", len(INITIAL))
    assert dump(initial(), T) == Document(INITIAL)
    monkeypatch.setattr("bluegreen.document.MAX_CHARACTERS", len(INITIAL) - 1)
    assert dump(initial(), T).content is not None


def test_an_object_with_another_content_has_another_name() -> None:
    timeline = crowded()
    again = timeline.dag_moved("one_more", "green", at(900), timeline.base_version + 1)
    assert dump(timeline, at(60)).name == dump(timeline, at(999)).name != dump(again, at(999)).name


def test_five_hundred_switches_a_day_have_room() -> None:
    """None of them is waited for, so nothing of them may be forgotten."""
    timeline = initial()
    for version in range(2, 502):
        colour: Colour = "green" if version % 2 == 0 else "blue"
        timeline = timeline.switched(colour, at(170 * version), version, known=["etl"])
    document = dump(timeline, at(170 * 502))
    assert len(document.content or "") < 100_000
    assert read_back(document) == timeline
    assert len(timeline.owners) == 501


def test_what_many_decisions_left_stands_there_once() -> None:
    """A hundred switches that nobody waited for, with five hundred paused DAGs, are closed in the end."""
    names = [f"a_paused_dag_{number}" for number in range(500)]
    timeline = initial()
    for version in range(2, 102):
        colour: Colour = "green" if version % 2 == 0 else "blue"
        timeline = timeline.switched(colour, at(170 * version), version, known=names)
    closed = timeline.with_books("green", dict.fromkeys(names, at(-3600)), 102, closed=True)
    document = dump(closed, at(170 * 103))
    assert len(document.content or "") < 60_000
    assert read_back(document) == closed


def test_what_two_drains_left_alike_stands_there_once() -> None:
    """And a repeated command, which reads the DAGs in another order, writes no other object."""
    timeline = initial().switched("green", at(5), 2, known=["a", "b"])
    left = {"b": at(-90), "a": at(-60)}
    timeline = timeline.with_books("blue", left, 3, closed=True).switched("blue", at(60), 4, known=["a", "b"])
    document = dumped(timeline.with_books("green", dict(reversed(left.items())), 5, closed=True))
    [once] = json.loads(document)["left"]
    assert list(once) == ["a", "b"]


def test_settled_decisions_are_forgotten_after_a_week_and_open_ones_never() -> None:
    timeline = initial()
    for version in range(2, 42, 2):
        colour: Colour = "blue" if version % 4 == 0 else "green"
        timeline = timeline.switched(colour, T + timedelta(days=version), version, known=["etl"])
        timeline = timeline.with_books(other_colour(colour), {}, version + 1, closed=True)
    now = T + timedelta(days=41)
    kept = read_back(dump(timeline, now))
    assert [entry.since for entry in kept.owners] == [T + timedelta(days=day) for day in (34, 36, 38, 40)]
    assert now - REMEMBERED == kept.owners[0].since
    reopened = timeline.switched("green", now, 42, known=["etl"])
    assert read_back(dump(reopened, now + timedelta(days=900))).owners[-2:] == reopened.owners[-2:]


def test_very_many_settled_decisions_are_forgotten_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bluegreen.document.MAX_CONTENT", 700)
    timeline = initial()
    for version in range(2, 20, 2):
        timeline = timeline.switched("green" if version % 4 else "blue", at(version), version, known=["etl"])
        timeline = timeline.with_books("blue" if version % 4 else "green", {}, version + 1, closed=True)
    assert len(read_back(dump(timeline, at(60))).owners) == 1
    still_open = timeline.switched("green", at(70), 20, known=["etl"]).switched("blue", at(80), 21)
    assert len(read_back(dump(still_open, at(90))).owners) == 3


@pytest.mark.parametrize(
    ("ages", "kept"),
    [
        ([8, 6, 0.5], [6, 0.5]),
        ([6, 1.5, 0.5], [1.5, 0.5]),
        ([6, 0.5], [0.5]),
        ([0.5, 0.0625, 0.03], [0.0625, 0.03]),
        ([0.5, 0.03], [0.03]),
        ([0.03, 0.01], [0.01]),
    ],
)
def test_as_many_settled_decisions_as_there_is_room_for_are_kept(
    ages: list[float], kept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a week, else of a day, of an hour, or the one that holds now. Ages are days."""

    def decided(ages: list[float]) -> Timeline:
        timeline = initial()
        for number, age in enumerate(ages):
            colour: Colour = "blue" if number % 2 else "green"
            since = T - timedelta(days=age)
            timeline = timeline.switched(colour, since, 2 * number + 2, known=["etl"])
            timeline = timeline.with_books(other_colour(colour), {}, 2 * number + 3, closed=True)
        return timeline

    timeline = decided(ages)
    rest = timeline.folded(T - timedelta(days=kept[0]))
    room = len(_content(rest))
    monkeypatch.setattr("bluegreen.document.MAX_CONTENT", room)
    assert [entry.since for entry in read_back(dump(timeline, T)).owners] == [
        T - timedelta(days=age) for age in kept
    ]


ENTRY = st.tuples(st.sampled_from(["blue", "green"]), st.integers(-50, 300), st.booleans(), st.booleans())


@given(
    lines=st.dictionaries(
        st.sampled_from(["a", "b", "größe.v-2_x"]), st.lists(ENTRY, min_size=1, max_size=4)
    ),
    common=st.lists(ENTRY, max_size=4),
    known=st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 3)),
)
def test_what_is_written_is_what_is_read(
    lines: dict[str, list[Any]], common: list[Any], known: dict[str, int]
) -> None:
    def line(entries: list[Any], first: int) -> tuple[Entry, ...]:
        return tuple(
            Entry(
                owner, LIVES[owner], at(since), version, {"a": at(1)} if left else None, left and blind, blind
            )
            for version, (owner, since, left, blind) in enumerate(entries, first)
        )

    timeline = Timeline(
        base_version=9,
        owners=(*initial().owners, *line(common, 2)),
        dags={dag_id: line(entries, 1) for dag_id, entries in lines.items()},
        known=known,
        lead=timedelta(seconds=7.5),
    )
    assert read_back(dump(timeline, at(-9999))) == timeline
