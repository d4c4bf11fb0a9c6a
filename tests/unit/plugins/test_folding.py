"""What a timeline forgets changes nothing: whoever executes an instant, or nobody, is the same afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bluegreen.timeline import (
    COLOURS,
    CONFIRMED,
    EPOCH,
    Claim,
    Colour,
    Entry,
    Reading,
    Timeline,
    other_colour,
)
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.fakes.timeline import dumped, initial, parsed

T = datetime(2026, 11, 1, tzinfo=UTC)
DAGS = ("x", "y")
SPAN = 44  # minutes


def at(minute: int) -> datetime:
    return T + timedelta(minutes=minute)


NAMES = st.sets(st.sampled_from(DAGS))
COLOUR = st.sampled_from(COLOURS)
LEFT = st.dictionaries(st.sampled_from(DAGS), st.integers(0, SPAN).map(at))


@dataclass(frozen=True)
class Switch:
    """To `target`, with DAGs that are held back; `known` None: blind."""

    target: Colour
    known: set[str] | None
    held: set[str]
    planned: int

    def __call__(self, timeline: Timeline, now: int, version: int) -> Timeline:
        since = at(now + self.planned)
        timeline = timeline.switched(self.target, since, version, known=self.known)
        return timeline.dags_moved(self.held, other_colour(self.target), since, version)


@dataclass(frozen=True)
class Move:
    dags: set[str]
    target: Colour
    planned: int

    def __call__(self, timeline: Timeline, now: int, version: int) -> Timeline:
        return timeline.dags_moved(self.dags, self.target, at(now + self.planned), version)


@dataclass(frozen=True)
class Books:
    """Of all DAGs, or of some that moved alone: closed, closing, or (`left` None) open again.

    `source` None: of both sides, so that all is settled.
    """

    source: Colour | None
    left: dict[str, datetime] | None
    closed: bool
    dags: set[str]

    def __call__(self, timeline: Timeline, now: int, version: int) -> Timeline:
        closed = self.closed and self.left is not None
        for source in COLOURS if self.source is None else (self.source,):
            timeline = timeline.with_books(source, self.left, version, closed=closed, dags=self.dags)
        return timeline


@dataclass(frozen=True)
class Appear:
    """DAGs that the newest switch knew, too, though they were not seen at first."""

    dags: set[str]

    def __call__(self, timeline: Timeline, now: int, version: int) -> Timeline:
        return timeline.knowing(self.dags, timeline.owners[-1].version, version)


@dataclass(frozen=True)
class Replace:
    """An environment is replaced: it has another life."""

    colour: Colour

    def __call__(self, timeline: Timeline, now: int, version: int) -> Timeline:
        lives = {**timeline.lives, self.colour: f"{self.colour}-{version}"}
        return timeline.seen_with(lives)


PLANNED = st.sampled_from((0, 0, 0, 3, 9))  # minutes from now
Step = Callable[[Timeline, int, int], Timeline]
SWITCH: st.SearchStrategy[Step] = st.builds(Switch, COLOUR, st.none() | NAMES, NAMES, PLANNED)
CLOSE: st.SearchStrategy[Step] = st.builds(Books, st.none(), LEFT, st.just(True), st.just(set()))
ELSE: st.SearchStrategy[Step] = st.one_of(
    st.builds(Move, NAMES, COLOUR, PLANNED),
    st.builds(Appear, NAMES),
    st.builds(Replace, COLOUR),
    st.builds(Books, COLOUR, st.none() | LEFT, st.booleans(), NAMES),
)
LATE = st.sampled_from((0, 0, 0, 0, 5))  # minutes until the write arrives
# mostly switches whose books are closed in the end: only they are forgotten
KINDS = st.sampled_from((SWITCH, SWITCH, SWITCH, CLOSE, CLOSE, CLOSE, ELSE)).flatmap(lambda kind: kind)
STEPS = st.lists(st.tuples(KINDS, LATE), min_size=5, max_size=10)


def executes(claim: Claim, now: datetime) -> object:
    """Who executes an instant, or what is yet to be decided about it."""
    if claim.undecided:
        return "undecided"
    if claim.over or claim.entry is None:
        return "nobody" if claim.settled else "open"
    return claim.entry.owned_by, claim.settled, max(claim.confirmed or now, now + CONFIRMED)


def decision(entry: Entry) -> object:
    return entry.owned_by, entry.since, entry.version


def stored(timeline: Timeline, version: int, modified: datetime) -> Timeline:
    """What the next writer reads."""
    return Reading(parsed(dumped(timeline)), version, modified).effective().seen_with(timeline.lives)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, remembered=st.sampled_from((0, 0, 4, 12)))
def test_what_is_forgotten_changes_nothing(steps: list[tuple[Step, int]], remembered: int) -> None:
    """Two timelines with the same decisions: one forgets at each write what it may, and one nothing."""
    whole = short = initial()
    for number, (step, late) in enumerate(steps):
        now, version = 4 * (number + 1), number + 2
        whole = stored(step(whole, now, version), version, at(now + late))
        short = step(short, now, version).folded(at(now - remembered))
        short = stored(short, version, at(now + late))
        for dag_id in (*DAGS, None):
            assert decision(whole.newest(dag_id)) == decision(short.newest(dag_id))
            for minute in range(SPAN):
                before, after = (executes(each.claim(at(minute), dag_id), at(now)) for each in (whole, short))
                assert before == after, (dag_id, minute)
        for colour in COLOURS:
            assert whole.open_books(colour) == short.open_books(colour)
        event(f"forgets: {short.owners[0].since > EPOCH}")


def test_what_one_side_got_by_two_switches_stays_its_own() -> None:
    """The second one took `x` along, which had been held; of the DAGs that nobody named, none moved."""
    timeline = initial().switched("green", at(4), 2, known=["x", "y"]).dag_moved("x", "blue", at(4), 2)
    timeline = timeline.switched("green", at(20), 3, known=["x", "y"]).with_books("blue", {}, 4, closed=True)
    folded = timeline.folded(at(30))
    assert [folded.owner(at(minute), "y") for minute in (3, 4, 19, 20)] == [None, "green", "green", "green"]
    assert folded.claim(at(19), "x").over
    assert folded.owner(at(20), "x") == "green"


def test_a_dag_that_was_added_later_keeps_its_past_however_often_something_is_forgotten() -> None:
    """`x` came after the first switch, and the second held it back on green, whose all its past is."""
    timeline = initial().switched("green", at(4), 2, known=["y"]).with_books("blue", {}, 3, closed=True)
    timeline = timeline.folded(at(5)).switched("blue", at(8), 4, known=["x", "y"])
    timeline = timeline.dag_moved("x", "green", at(8), 4).with_books("green", {}, 5, closed=True)
    folded = timeline.folded(at(9))
    assert folded.owners[0].version == 4
    assert [folded.owner(at(minute), "x") for minute in (0, 4, 8)] == ["green"] * 3


def test_of_a_dag_that_has_nothing_left_nothing_is_kept() -> None:
    """Each DAG that is named there is asked for on the target when the next books are closed."""
    timeline = initial().dag_moved("x", "green", at(2), 2).switched("green", at(4), 3, known=["x", "y"])
    closed = timeline.with_books("blue", {"y": at(3)}, 4, closed=True)
    assert closed.folded(at(9)).owners[0].left == {"x": at(2), "y": at(3)}
    again = closed.folded(at(9)).switched("blue", at(12), 5, known=["x", "y"])
    assert again.with_books("green", {}, 6, closed=True).folded(at(20)).owners[0].left == {}


def test_a_decision_is_forgotten_once_it_is_as_old_as_that() -> None:
    timeline = initial().switched("green", at(4), 2, known=["x"]).with_books("blue", {}, 3, closed=True)
    assert timeline.folded(at(4) - timedelta(microseconds=1)) == timeline
    assert [entry.version for entry in timeline.folded(at(4)).owners] == [2]


def test_a_dag_that_a_new_life_keeps_has_nothing_of_its_former_ones() -> None:
    """blue is replaced, and the switch that follows holds `x` back on it."""
    replaced = initial().seen_with({"blue": "blue-2", "green": "green-1"})
    switched = replaced.switched("green", at(4), 2, known=["x", "y"]).dag_moved("x", "blue", at(4), 2)
    folded = switched.with_books("blue", {}, 3, closed=True).folded(at(9))
    assert folded.owners[0].version == 2
    read = parsed(dumped(folded)).seen_with(replaced.lives)
    assert [read.owner(at(minute), "x") for minute in (3, 4)] == [None, "blue"]


def test_nothing_is_forgotten_while_a_dag_that_went_the_other_way_is_drained() -> None:
    """All go to green, and `x` goes back from there by the same decision: green's book of it is open."""
    timeline = initial().dag_moved("x", "green", at(2), 2).switched("green", at(4), 3, known=["x", "y"])
    timeline = timeline.dag_moved("x", "blue", at(4), 3).with_books("blue", {}, 4, closed=True)
    assert timeline.folded(at(9)) == timeline
    drained = timeline.with_books("green", {}, 5, closed=True)
    assert [entry.version for entry in drained.folded(at(9)).owners] == [3]


def test_a_dag_that_went_ahead_of_a_planned_switch_keeps_what_was_left() -> None:
    timeline = initial().switched("green", at(20), 2, known=["x", "y"]).dag_moved("x", "green", at(5), 3)
    timeline = timeline.with_books("blue", {"x": at(2)}, 4, closed=True)
    folded = timeline.folded(at(30))
    for read in (timeline, folded):
        assert [read.owner(at(minute), "x") for minute in (2, 4, 5, 20)] == ["green"] * 4
    assert folded.claim(at(1), "x").over
