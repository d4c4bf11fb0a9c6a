"""How a rollout looks in a terminal: its plan as a table, then a line for each event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mwaactl.rollout.plan import Step
from mwaactl.rollout.rollout import Event

SHOWN = 4  # changes of a step
LONG = 0.15  # minutes; steps that take no longer are counted
COST = (
    "Both environments run all the time in this mode: it costs nothing more, apart from workers that scale."
)
TITLES = {"shared": "both", "standby": "standby", "owner": "owner, after the switch"}


def show_plan(console: Console, event: Event) -> None:
    console.print(escape(event.text[:1].upper() + event.text[1:]) + ".", highlight=False, soft_wrap=True)
    if not event.steps:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("step", "side", "what changes", "minutes"):
        table.add_column(heading, justify="right" if heading == "minutes" else "left")
    for side, title in TITLES.items():
        for row in _rows([step for step in event.steps if step.side == side], title):
            table.add_row(*map(escape, row))
    console.print(table)
    console.print(COST, highlight=False, soft_wrap=True)


def _rows(steps: Sequence[Step], side: str) -> Iterator[tuple[str, str, str, str]]:
    """A row for each step that takes its time or replaces something; the others in one."""
    short = [step for step in steps if step.minutes <= LONG and step.action in ("create", "update")]
    for step in steps:
        if step not in short:
            yield str(step), side, _changes(step), f"{step.minutes:.0f}" if step.minutes >= 1 else "<1"
    if short:
        kinds = sorted({step.type.rpartition(":")[2] for step in short})
        yield f"{len(short)} short {'step' if len(short) == 1 else 'steps'}", side, ", ".join(kinds), "<1"


def _changes(step: Step) -> str:
    more = f" and {len(step.changes) - SHOWN} more" if len(step.changes) > SHOWN else ""
    return ", ".join(step.changes[:SHOWN]) + more


def show_event(console: Console, event: Event) -> None:
    line = f"{event.at:%H:%M:%S}  {event.stage:<6} {event.text}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
