"""How a switch and its drain look in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from bluegreen.timeline import Colour, other_colour
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl import clock
from mwaactl.checks.outcome import listed
from mwaactl.json_model import iso
from mwaactl.screens.common import SHOWN, print_note, remainder, since_text
from mwaactl.stack import Stack
from mwaactl.switching.drain import DrainProgress
from mwaactl.switching.serial import HeldDag
from mwaactl.switching.write import SwitchResult


def show_switch(console: Console, done: SwitchResult, stack: Stack, *, waiting: bool = False) -> None:
    for note in done.notes:
        print_note(console, note)
    target = f"[bold {done.target}]{done.target}[/]"
    stay = {one.dag_id for one in done.held}
    alone = done.moved or [dag_id for dag_id in done.dags if dag_id not in stay]
    of_dags = f" of {escape(listed(alone))}" if alone else ""
    if not done.changed:
        begin = "" if done.owns_from is None else f" ({since_text(done.owns_from)})"
        text = f"{target} owns the work{of_dags} already{begin}: nothing changed."
        if done.held:
            text = "Nothing changed: what is left to move is busy."
    elif done.dry_run:
        text = (
            f"Would let {target} own every scheduled run{of_dags} that is due from {done.lead_seconds:g} s "
            "after the moment of writing. Nothing was written."
        )
    elif done.owns_from is None:
        text = f"Written as version {done.version}, and overtaken by another writer since."
    else:
        text = (
            f"{target} owns every scheduled run{of_dags} that is due from [bold]{iso(done.owns_from)}[/] on "
            f"(version {done.version}).\n{other(done.target)} finishes what was due before."
        )
    console.print(text, highlight=False, soft_wrap=True)
    _show_held(console, done.held, other(done.target))
    if not (waiting or done.dry_run) and (done.held or done.changed):
        console.print(f"Wait for it: {go_on(stack, done.target, done.dags)}", highlight=False, soft_wrap=True)


def other(colour: Colour) -> Colour:
    return other_colour(colour)


def go_on(stack: Stack, target: Colour, dags: Sequence[str]) -> str:
    """The command that goes on where a switch ended."""
    return f"mwaactl switch {target} --wait -s {stack.stack}" + "".join(f" --dag {dag}" for dag in dags)


def _show_held(console: Console, held: Sequence[HeldDag], source: Colour) -> None:
    if not held:
        return
    console.print(
        f"Held on {source} until idle, as they must not overlap themselves:",
        highlight=False,
        soft_wrap=True,
    )
    for line in [*(f"{one.dag_id}: {one.reason}" for one in held[:SHOWN]), *remainder(held)]:
        console.print(Text(f"  {line}"), soft_wrap=True)


def following(now: DrainProgress) -> str:
    """One line about how far a switch has come."""
    if now.trouble is not None:
        return f"cannot see how {now.source} drains: {now.trouble}. Trying again"
    if now.mirroring is not None:
        return f"{now.source} is drained; making {now.mirroring[1]} mirrored runs true on {now.target}"
    parts = []
    if now.draining:
        runs = (f"{dag_id} {count}" for dag_id, count in now.draining.items())
        parts.append(f"unfinished runs: {', '.join(runs)}")
    if now.held:
        parts.append(f"held: {', '.join(one.dag_id for one in now.held)}")
    if now.due:
        parts.append(f"still to start: {', '.join(f'{dag} {_due(at)}' for dag, at in now.due.items())}")
    if now.moved:
        parts.append(f"moved: {', '.join(now.moved)}")
    if now.drained:
        return f"{now.source} is drained"
    return f"{now.source} drains; " + ("; ".join(parts) or "nothing in flight")


def _due(at: datetime | None) -> str:
    return "not planned yet" if at is None else f"due {iso(at)}"


def live(now: DrainProgress, seconds: float) -> Table:
    """The same as a table that is drawn again and again; `seconds` have passed."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row(Text("…", style="yellow"), Text(f"waiting for {now.source} to drain, {seconds:.0f} s"))
    held = {one.dag_id: one.reason for one in now.held}
    rows = [(dag_id, f"held: {why}") for dag_id, why in held.items()]
    rows += [(dag_id, f"{n} unfinished") for dag_id, n in now.draining.items() if dag_id not in held]
    rows += [(dag_id, f"next run {_due(at)}") for dag_id, at in now.due.items()]
    for dag_id, text in rows[:SHOWN]:
        table.add_row("", Text(f"{dag_id}  {text}"))
    for line in remainder(rows):
        table.add_row("", line)
    for dag_id, since in now.moved.items():
        table.add_row(Text("✓", style="green"), Text(f"{dag_id}  {now.target}'s from {iso(since)}"))
    if now.mirroring is not None:
        done, total = now.mirroring
        table.add_row("", Text(f"mirrored runs made true on {now.target}: {done} of {total}"))
    if now.trouble is not None:
        table.add_row(Text("!", style="yellow"), Text(following(now), overflow="fold"))
    return table


@contextmanager
def drawn(console: Console, state: Callable[[], DrainProgress], *, on: bool) -> Iterator[None]:
    """Draw the state while the block runs, if `on`; what is drawn goes away with it."""
    if not on:
        yield
        return
    started = clock.now()

    def draw() -> Table:
        return live(state(), (clock.now() - started).total_seconds())

    with Live(console=console, get_renderable=draw, refresh_per_second=2, transient=True):
        yield


def show_drain(console: Console, done: DrainProgress) -> None:
    for dag_id, since in done.moved.items():
        console.print(Text(f"{dag_id} moved: {done.target} owns it from {iso(since)}"), soft_wrap=True)
    if not done.finished:
        console.print(Text(following(done)), soft_wrap=True)
        return
    what = f" of {escape(listed(done.dags))}" if done.dags else ""
    text = f"[bold {done.source}]{done.source}[/] has finished all that it owned{what}."
    mirrors = done.mirrors
    if mirrors is not None and mirrors.made + mirrors.already:
        text += (
            f" {mirrors.made} mirrored runs on {done.target} were made true"
            + (f", {mirrors.already} were already" if mirrors.already else "")
            + "."
        )
    console.print(text, highlight=False, soft_wrap=True)
    if mirrors is not None and mirrors.left:
        print_note(console, f"{len(mirrors.left)} mirrored runs were left as they are:")
        lines = [f"{one.dag_id} due {iso(one.due)}: {one.reason}" for one in mirrors.left[:SHOWN]]
        for line in [*lines, *remainder(mirrors.left)]:
            console.print(Text(f"  {line}"), soft_wrap=True)
    if not done.dags:
        console.print(f"{done.source} is safe to maintain.", highlight=False)
