"""What a timeline forgets changes nothing: whoever executes an instant, or nobody, is the same afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bluegreen.timeline import COLOURS, Colour, Timeline, other_colour
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.fakes.timeline import initial

T = datetime(2026, 11, 1, tzinfo=UTC)
DAGS = ("x", "y", "later")
SPAN = 40  # minutes


def at(minute: int) -> datetime:
    return T + timedelta(minutes=minute)


KNOWN = st.sets(st.sampled_from(DAGS))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("switch"), KNOWN, st.sets(st.sampled_from(DAGS), max_size=1)),
        st.tuples(st.just("move"), st.sampled_from(DAGS), st.just(None)),
        st.tuples(
            st.just("close"),
            st.sampled_from(COLOURS),
            st.dictionaries(st.sampled_from(DAGS), st.integers(0, SPAN)),
        ),
    ),
    min_size=2,
    max_size=9,
)


def executes(timeline: Timeline, minute: int, dag_id: str | None) -> object:
    """Who executes an instant, or what is yet to be decided about it."""
    claim = timeline.claim(at(minute), dag_id)
    if claim.undecided or (not claim.settled and not claim.over):
        return "open", claim.entry and claim.entry.owned_by
    return None if claim.over or claim.entry is None else claim.entry.owned_by


@settings(max_examples=600, deadline=None)
@given(steps=STEPS, horizon=st.integers(0, SPAN))
def test_what_is_forgotten_changes_nothing(steps: list[tuple[str, object, object]], horizon: int) -> None:
    timeline, version = initial(), 1
    for number, (what, about, more) in enumerate(steps):
        version, since = version + 1, at(4 * (number + 1))
        if what == "switch":
            target: Colour = other_colour(timeline.newest().owner)
            kept = [dag for dag in more if timeline.newest(dag).owner != target]  # type: ignore[attr-defined]
            timeline = timeline.switched(target, since, version, known=about)  # type: ignore[arg-type]
            timeline = timeline.dags_moved(kept, other_colour(target), since, version)
        elif what == "move":
            dag = str(about)
            timeline = timeline.dag_moved(dag, other_colour(timeline.newest(dag).owner), since, version)
        else:
            left = {dag: at(minute) for dag, minute in more.items()}  # type: ignore[attr-defined]
            timeline = timeline.with_books(about, left, version, closed=True)  # type: ignore[arg-type]
    folded = timeline.folded(at(horizon))
    event("forgets" if folded != timeline else "forgets nothing")
    for dag_id in (*DAGS, None):
        for minute in range(SPAN + 4):
            before, after = (executes(each, minute, dag_id) for each in (timeline, folded))
            assert before == after, (dag_id, minute)
