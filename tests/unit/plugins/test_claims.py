"""Whose an instant is, and how sure a reader may be of that: each field of a claim, as the books go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from bluegreen.timeline import CONFIRMED, Claim, Colour, Timeline

from tests.fakes.timeline import initial

T = datetime(2026, 11, 23, 10, tzinfo=UTC)
SWITCH, BACK = T + timedelta(hours=1), T + timedelta(hours=2)
LEFT = T + timedelta(minutes=30)  # from here on, blue created no run of `etl`
FIRST, SECOND = T, T + timedelta(minutes=45)  # due before and after that
OPEN = initial().switched("green", SWITCH, 2, known=["etl", "done"])
CLOSING = OPEN.with_books("blue", {"etl": LEFT}, 3, closed=False)
CLOSED = OPEN.with_books("blue", {"etl": LEFT}, 3, closed=True)
AWAY = initial().switched("green", SWITCH, 2, known=["etl"]).switched("blue", BACK, 3, known=["etl", "new"])
AWAY_CLOSED = AWAY.with_books("blue", {}, 4, closed=True).with_books("green", {}, 5, closed=True)
ASKED_AGAIN = SWITCH + CONFIRMED


@pytest.mark.parametrize(
    ("timeline", "instant", "dag_id", "owner", "expected"),
    [
        (OPEN, FIRST, "etl", "blue", Claim(None, settled=False)),
        (OPEN, FIRST, None, "blue", Claim(None, settled=False)),
        (OPEN, datetime(1969, 1, 1, tzinfo=UTC), "etl", "blue", Claim(None, settled=False)),
        (OPEN, SWITCH, "etl", "green", Claim(None)),
        (OPEN, FIRST, "new", "green", Claim(None, confirmed=ASKED_AGAIN)),
        (OPEN, SWITCH, "new", "green", Claim(None)),
        (CLOSING, FIRST, "etl", "blue", Claim(None, settled=False, over=True)),
        (CLOSING, LEFT, "etl", "blue", Claim(None, undecided=True)),
        (CLOSING, SECOND, "done", "blue", Claim(None, settled=False, over=True)),
        (CLOSED, FIRST, "etl", "blue", Claim(None, over=True)),
        (CLOSED, LEFT, "etl", "green", Claim(None)),
        (CLOSED, SECOND, "etl", "green", Claim(None)),
        (CLOSED, SECOND, "done", "blue", Claim(None, over=True)),
        (CLOSED, SECOND, "new", "green", Claim(None, confirmed=ASKED_AGAIN)),
        (AWAY, FIRST, "new", "green", Claim(None, settled=False, confirmed=ASKED_AGAIN)),
        (AWAY_CLOSED, FIRST, "new", "green", Claim(None, over=True, confirmed=ASKED_AGAIN)),
    ],
)
def test_a_claim(
    timeline: Timeline, instant: datetime, dag_id: str | None, owner: Colour, expected: Claim
) -> None:
    claim = timeline.claim(instant, dag_id)
    assert claim.entry is not None
    assert claim.entry.owner == owner
    assert claim._replace(entry=None) == expected


def test_what_a_forgotten_decision_settled_is_nobodys_and_was_done_by_the_first_that_is_left() -> None:
    folded = CLOSED.folded(BACK)
    assert folded.owners[0].owner == "green"
    assert folded.claim(FIRST, "done") == Claim(None, over=True)
    assert folded.owner(FIRST, "done") is None
    assert folded.in_force(FIRST, "done") == folded.owners[0]
    again = folded.seen_with({"blue": "blue-1", "green": "green-1"}).switched("blue", BACK, 4, known=["etl"])
    assert again.in_force(FIRST, "done").owner == "green"


def test_a_reader_who_does_not_know_the_environments_takes_them_to_exist() -> None:
    assert OPEN.seen_with({}).owner(SWITCH, "etl") == "green"
    assert OPEN.seen_with({"green": "green-2"}).owner(SWITCH, "etl") is None
    assert OPEN.seen_with({"blue": "blue-1"}).owner(SWITCH, "etl") is None


def test_a_switch_that_could_not_see_the_dags_takes_no_past_from_one_that_is_added_after_the_next() -> None:
    blind = initial().switched("green", SWITCH, 2).with_books("blue", {}, 3, closed=True)
    assert blind.owner(FIRST, "new") == "blue"
    assert blind.claim(FIRST, "new").over
    following = blind.switched("blue", BACK, 4, known=["etl"])
    assert following.claim(FIRST, "new") == Claim(following.owners[-1], confirmed=BACK + CONFIRMED)
    assert following.claim(FIRST, "etl").over


def test_a_side_to_which_all_work_has_come_back_drains_nothing_though_its_books_are_open() -> None:
    assert AWAY.open_books("blue")
    assert (AWAY.drains("blue"), [book.dag_id for book in AWAY.drains("green")]) == ((), [None])


def test_the_first_value_has_the_lead_of_its_stack() -> None:
    assert Timeline.initial("blue", "blue-1", timedelta(seconds=9)).lead == timedelta(seconds=9)


def test_the_command_that_ends_the_drain_of_some_dags_names_them_in_one_order() -> None:
    apart = initial().dag_moved("load", "green", SWITCH, 2).dag_moved("etl", "green", SWITCH, 3)
    assert apart.closed_by("blue") == "green --dag etl --dag load"
    assert apart.closed_by("blue", but="etl") == "green --dag load"
    assert (apart.closed_by("green"), OPEN.closed_by("blue")) == (None, "green")
