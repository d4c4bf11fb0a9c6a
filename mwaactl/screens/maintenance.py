"""How the maintenance windows look in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from mwaactl.json_model import iso
from mwaactl.maintenance import Maintenance
from mwaactl.screens.common import print_note


def show_maintenance(console: Console, state: Maintenance) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("environment", "window (UTC)", "next", ""):
        table.add_column(heading)
    for colour, window in state.windows.items():
        now_open = window.begins <= state.now
        next_one = f"open until {iso(window.ends)}" if now_open else iso(window.begins)
        table.add_row(colour, window.start, next_one, "owns the work" if window.owner else "")
    console.print(table)
    if len(state.windows) == 2 and not state.apart:
        print_note(
            console,
            "both windows overlap, so the work cannot move out of one: put them on different days "
            f"(pulumi config set --path green.maintenance_window DAY:HH:MM -s {state.stack}).",
        )
