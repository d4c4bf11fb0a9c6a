"""How a switch and its drain look in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from bluegreen.timeline import Colour, other_colour
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl import clock
from mwaactl.canary.soak import Soak
from mwaactl.checks.outcome import listed
from mwaactl.deployment import Deployment
from mwaactl.json_model import iso
from mwaactl.screens.common import SHOWN, print_note, remainder, since_text
from mwaactl.switching.drain import DrainProgress
from mwaactl.switching.held_dags import HeldDag
from mwaactl.switching.write import SwitchResult


def show_switch(
    console: Console, result: SwitchResult, deployment: Deployment, *, waiting: bool = False
) -> None:
    """Print what the switch did and, unless the command is `waiting` anyway, how to wait for the drain."""
    for note in result.notes:
        print_note(console, note)
    source = other_colour(result.target)
    console.print(_outcome(result, source), highlight=False, soft_wrap=True)
    _show_held(console, result.held, source)
    if not (waiting or result.dry_run) and (result.held or result.changed):
        command = continue_command(deployment, result)
        console.print(f"To wait until {source} is drained: {command}", highlight=False, soft_wrap=True)


def _outcome(result: SwitchResult, source: Colour) -> str:
    """One sentence, in markup."""
    target = f"[bold {result.target}]{result.target}[/]"
    held = {dag.dag_id for dag in result.held}
    alone = result.moved or [dag_id for dag_id in result.dags if dag_id not in held]
    of_dags = f" of {escape(listed(alone))}" if alone else ""
    if not result.changed and result.held:
        return "Nothing changed: the DAGs that have yet to move are busy."
    if not result.changed:
        begin = "" if result.owns_from is None else f" ({since_text(result.owns_from)})"
        return f"{target} already owns the work{of_dags}{begin}: nothing changed."
    if result.dry_run:
        return (
            f"{target} would own every scheduled run{of_dags} due {result.lead_seconds:g} s after the write "
            "or later. Nothing was written."
        )
    if result.owns_from is None:
        return f"Written as version {result.version}, but another writer has already replaced it."
    return (
        f"{target} owns every scheduled run{of_dags} due from [bold]{iso(result.owns_from)}[/] on "
        f"(version {result.version}).\n{source} finishes the runs due before that."
    )


def continue_command(deployment: Deployment, result: SwitchResult) -> str:
    """The command that continues a switch. What was overridden for the switch is so for the DAGs it held."""
    options = [
        *(f" --dag {dag_id}" for dag_id in result.dags),
        *(f" --hold {dag_id}" for dag_id in result.hold),
        *(f" --force {name}" for name in result.forced),
    ]
    return f"mwaactl switch {result.target} --wait -s {deployment.name}{''.join(options)}"


def soak_line(soak: Soak, left: timedelta) -> str:
    """One look at the first DAGs, for a person."""
    when = f"{left.total_seconds() / 60:.0f} min left" if left else "the watch is over"
    return f"{iso(soak.until)}  {soak} ({when})"


def _show_held(console: Console, held: Sequence[HeldDag], source: Colour) -> None:
    if not held:
        return
    text = f"Held on {source} until idle:"
    console.print(text, highlight=False, soft_wrap=True)
    for line in [*(f"{dag.dag_id}: {dag.reason}" for dag in held[:SHOWN]), *remainder(held)]:
        console.print(Text(f"  {line}"), soft_wrap=True)


def progress_line(now: DrainProgress) -> str:
    """The progress of a switch in one line."""
    if now.trouble is not None:
        return f"cannot see how far {now.source} has drained: {now.trouble}. Retrying"
    if now.mirroring is not None:
        runs = now.mirroring[1]
        return f"{now.source} is drained; copying its final states to {runs} mirrored runs on {now.target}"
    if now.closing is not None:
        return (
            f"{now.source} is drained; what it left belongs to {now.target} once every process of "
            f"{now.source} knows that"
        )
    if now.drained:
        return f"{now.source} is drained"
    parts = [
        (now.draining, "unfinished runs", (f"{dag_id} {count}" for dag_id, count in now.draining.items())),
        (now.held, "held", (dag.dag_id for dag in now.held)),
        (now.due, "still to start", (f"{dag_id} {_due(at)}" for dag_id, at in now.due.items())),
        (now.moved, "moved", iter(now.moved)),
    ]
    waiting_for = "; ".join(f"{what}: {', '.join(names)}" for present, what, names in parts if present)
    return f"{now.source} is draining; {waiting_for or 'nothing in flight'}"


def _due(at: datetime | None) -> str:
    return "not planned yet" if at is None else f"due {iso(at)}"


def _progress_table(now: DrainProgress, seconds: float) -> Table:
    """The progress of a switch as a table, after `seconds`."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row(Text("…", style="yellow"), Text(f"waiting for {now.source} to drain, {seconds:.0f} s"))
    held = {dag.dag_id: dag.reason for dag in now.held}
    rows = [(dag_id, f"held: {reason}") for dag_id, reason in held.items()]
    rows += [(dag_id, f"{count} unfinished") for dag_id, count in now.draining.items() if dag_id not in held]
    rows += [(dag_id, f"next run {_due(at)}") for dag_id, at in now.due.items()]
    for line in [*(f"{dag_id}  {text}" for dag_id, text in rows[:SHOWN]), *remainder(rows)]:
        table.add_row("", Text(line))
    for dag_id, since in now.moved.items():
        table.add_row(Text("✓", style="green"), Text(f"{dag_id}  owned by {now.target} from {iso(since)}"))
    if now.mirroring is not None:
        done, total = now.mirroring
        table.add_row("", Text(f"final states copied to {now.target}: {done} of {total} runs"))
    if now.closing is not None:
        table.add_row("", Text(f"closing {now.source}'s books: {now.closing:.0f} s"))
    if now.trouble is not None:
        table.add_row(Text("!", style="yellow"), Text(progress_line(now), overflow="fold"))
    return table


@contextmanager
def live_progress(console: Console, state: Callable[[], DrainProgress], *, on: bool) -> Iterator[None]:
    """Draw the state while the block runs, if `on`; the drawing disappears with it."""
    if not on:
        yield
        return
    started = clock.now()

    def draw() -> Table:
        return _progress_table(state(), (clock.now() - started).total_seconds())

    with Live(console=console, get_renderable=draw, refresh_per_second=2, transient=True):
        yield


def show_drain(console: Console, result: DrainProgress) -> None:
    """Print how the drain ended."""
    for dag_id, since in result.moved.items():
        console.print(Text(f"{dag_id} moved: {result.target} owns it from {iso(since)}"), soft_wrap=True)
    if not result.finished:
        console.print(Text(progress_line(result)), soft_wrap=True)
        return
    what = f" of {escape(listed(result.dags))}" if result.dags else ""
    text = f"[bold {result.source}]{result.source}[/] has finished everything it owned{what}."
    mirrors = result.mirrors
    if mirrors is not None and mirrors.copied + mirrors.already:
        already = f" ({mirrors.already} already had them)" if mirrors.already else ""
        text += (
            f" {mirrors.copied} mirrored runs on {result.target} received {result.source}'s final states"
            f"{already}."
        )
    console.print(text, highlight=False, soft_wrap=True)
    if mirrors is not None and mirrors.left:
        print_note(console, f"{len(mirrors.left)} mirrored runs were left unchanged:")
        reasons = [f"{run.dag_id} due {iso(run.due)}: {run.reason}" for run in mirrors.left[:SHOWN]]
        for line in [*reasons, *remainder(mirrors.left)]:
            console.print(Text(f"  {line}"), soft_wrap=True)
    if result.executed:
        print_note(console, f"{result.target} executes {result.executed} runs that {result.source} had left.")
    if result.waiting_assets:
        waits = [f"{dag_id} ({listed(assets)})" for dag_id, assets in result.waiting_assets.items()]
        print_note(
            console,
            f"on {result.source}, asset events wait for the rest of their DAG's condition, which may arrive "
            f"on {result.target}: {listed(waits)}. If it does, trigger these DAGs on {result.target}",
        )
    if not result.dags:
        console.print(f"{result.source} is ready for maintenance.", highlight=False)
