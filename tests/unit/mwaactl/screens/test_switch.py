"""What a terminal shows of a switch."""

from __future__ import annotations

import io

from rich.console import Console

from mwaactl.screens import switch as screens
from mwaactl.switching.drain import DrainProgress
from mwaactl.switching.held_dags import HeldDag
from tests.fakes.clock import at


def test_a_terminal_shows_a_table_of_what_is_left() -> None:
    state = DrainProgress(
        target="green",
        source="blue",
        moved={"quick": at(30)},
        held=(HeldDag(dag_id="slow", reason="r is unfinished"),),
        draining={"slow": 1, "plain": 2},
        due={"next": at(90), "unplanned": None},
        trouble="blue is away",
    )
    screen = Console(width=100, record=True, file=io.StringIO(), force_terminal=True)
    with screens.live_progress(screen, lambda: state, on=True):
        pass
    shown = screen.export_text()
    for expected in (
        "waiting for blue to drain, 0 s",
        "slow  held: r is unfinished",
        "plain  2 unfinished",
        "next  next run due 2026-11-23T10:01:30.000Z",
        "unplanned  next run not planned yet",
        "quick  owned by green from 2026-11-23T10:00:30.000Z",
        "cannot see how far blue has drained: blue is away. Retrying",
    ):
        assert expected in shown
