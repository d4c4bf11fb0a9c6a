"""How results look in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl import clock
from mwaactl.airflow.models import Run
from mwaactl.checks.observation import Observation
from mwaactl.checks.registry import Check, listed
from mwaactl.dag_files import Push, Pushed
from mwaactl.json_model import iso
from mwaactl.stack import Colour, Stack
from mwaactl.switching.drain import Followed
from mwaactl.switching.serial import Held
from mwaactl.switching.status import History, Line, Status
from mwaactl.switching.write import Switched

SHOWN = 10  # rows of a listing before the rest is counted
MARKS = {
    "pass": ("✓", "green"),
    "warn": ("!", "yellow"),
    "fail": ("✗", "red"),
    "not checked": ("?", "yellow"),
}
NOT_CHECKED = Text("not checked", style="yellow")


def show_status(console: Console, status: Status) -> None:
    console.print(
        f"[bold]{escape(status.name)}[/]  mode {status.mode}, {status.region}",
        highlight=False,
        soft_wrap=True,
    )
    if status.ownership is not None:
        console.print(_owns(status.ownership, "the scheduled work"), soft_wrap=True)
        for dag_id, line in status.dags.items():
            console.print(Text("  ") + _owns(line, dag_id), soft_wrap=True)
    if status.invalid_version is not None:
        _note(
            console,
            f"version {status.invalid_version} of the ownership parameter is invalid and counts for nothing; "
            f"version {status.version} stands (mwaactl history). The next switch puts it on top again.",
        )
    _warn_of_plain_parameter(console, status)
    console.print()
    console.print(_environments(status.environments.values()))
    for colour, runs in status.draining.items():
        console.print(f"\n{colour} has still to finish, of what is not its own any more:", highlight=False)
        console.print(Text(_runs(runs)), soft_wrap=True)
    if status.switch_target is not None:
        console.print(f"\nA switch to {status.switch_target} now:", highlight=False)
        show_checks(console, status.switch_checks)
    if status.not_checked:
        console.print("\n[yellow]Not checked[/]", highlight=False)
        reasons: dict[str, list[str]] = {}
        for field, why in status.not_checked.items():
            reasons.setdefault(why, []).append(field)
        for why, fields in reasons.items():
            console.print(f"  {', '.join(fields)}: {escape(why)}", highlight=False, soft_wrap=True)


def _warn_of_plain_parameter(console: Console, status: Status) -> None:
    if status.ownership is None or status.active_environment is None:
        return
    expected = status.ownership.next_owner or status.ownership.owner
    if status.active_environment != expected:
        _note(
            console,
            f"the plain parameter says {status.active_environment}, the ownership {expected}: "
            f"`mwaactl switch {expected}` puts it right.",
        )


def _owns(line: Line, what: str) -> Text:
    text = Text.assemble((line.owner, f"bold {line.owner}"), f" owns {what} ", _since(line.since))
    if line.next_owner is not None and line.next_since is not None:
        wait = (line.next_since - clock.now()).total_seconds()
        text.append_text(
            Text.assemble(
                "; ",
                (line.next_owner, f"bold {line.next_owner}"),
                f" from {iso(line.next_since)} (in {wait:.0f} s)",
            )
        )
    return text


def _since(since: datetime) -> str:
    return "since the beginning" if since.year <= 1970 else f"since {iso(since)}"


def _environments(seen: Collection[Observation]) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("")
    for one in seen:
        table.add_column(Text(one.colour, style=f"bold {one.colour}"), overflow="fold")
    rows: list[tuple[str, Callable[[Observation], str | Text | None]]] = [
        ("environment", lambda one: one.name),
        ("status", _status_text),
        ("Airflow", lambda one: f"{one.airflow_version}, {one.environment_class}"),
        ("webserver", lambda one: one.webserver_url),
        ("scheduler", lambda one: one.scheduler and f"{one.scheduler}{_beat(one)}"),
        (
            "DAGs",
            lambda one: None if one.dags is None else f"{len(one.dags)}, {len(one.paused or ())} paused",
        ),
        ("import errors", lambda one: None if one.import_errors is None else _count_of_errors(one)),
        ("in flight", lambda one: None if one.in_flight is None else _runs(one.in_flight)),
        ("last scheduled", lambda one: None if one.last_scheduled is None else _runs(one.last_scheduled)),
    ]
    for name, value in rows:
        cells = [value(one) for one in seen]
        table.add_row(name, *(NOT_CHECKED if cell is None else cell for cell in cells))
    return table


def _status_text(one: Observation) -> Text | None:
    if one.status is None:
        return None
    return Text(one.status, style="green" if one.status == "AVAILABLE" else "yellow")


def _beat(one: Observation) -> str:
    if one.heartbeat is None:
        return ""
    return f", heartbeat {max(0.0, (clock.now() - one.heartbeat).total_seconds()):.0f} s ago"


def _count_of_errors(one: Observation) -> Text:
    errors = one.import_errors or ()
    if not errors:
        return Text("none")
    lines = [f"{error.file}: {error.message}" for error in errors[:SHOWN]]
    return Text("\n".join([*lines, *_rest(errors)]), style="red")


def _runs(runs: Sequence[Run]) -> str:
    if not runs:
        return "none"
    lines = [f"{run.dag_id} {run.state}{f', due {iso(run.due)}' if run.due else ''}" for run in runs[:SHOWN]]
    return "\n".join([*lines, *_rest(runs)])


def _rest(items: Sequence[object]) -> list[str]:
    return [f"and {len(items) - SHOWN} more (--json shows all)"] if len(items) > SHOWN else []


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    if not checks:
        return
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for check in checks:
        mark, colour = MARKS[check.result]
        result = f"{check.result}, forced" if check.forced else check.result
        table.add_row(
            Text(f"  {mark}", style=colour),
            check.name,
            Text(result, style=colour),
            Text(check.detail, overflow="fold"),
        )
    console.print(table)


def show_switched(console: Console, done: Switched, stack: Stack, *, waiting: bool = False) -> None:
    for note in done.notes:
        _note(console, note)
    target = f"[bold {done.target}]{done.target}[/]"
    stay = {one.dag_id for one in done.held}
    alone = done.moved or [dag_id for dag_id in done.dags if dag_id not in stay]
    of_dags = f" of {escape(listed(alone))}" if alone else ""
    if not done.changed:
        begin = "" if done.owns_from is None else f" ({_since(done.owns_from)})"
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
    return "green" if colour == "blue" else "blue"


def go_on(stack: Stack, target: Colour, dags: Sequence[str]) -> str:
    """The command that goes on where a switch ended."""
    return f"mwaactl switch {target} --wait -s {stack.stack}" + "".join(f" --dag {dag}" for dag in dags)


def _show_held(console: Console, held: Sequence[Held], source: Colour) -> None:
    if not held:
        return
    console.print(
        f"Held on {source} until idle, as they must not overlap themselves:", highlight=False, soft_wrap=True
    )
    for line in [*(f"{one.dag_id}: {one.reason}" for one in held[:SHOWN]), *_rest(held)]:
        console.print(Text(f"  {line}"), soft_wrap=True)


def following(now: Followed) -> str:
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


def live(now: Followed, seconds: float) -> Table:
    """The same as a table that is drawn again and again; `seconds` have passed."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row(Text("…", style="yellow"), Text(f"waiting for {now.source} to drain, {seconds:.0f} s"))
    held = {one.dag_id: one.reason for one in now.held}
    rows = [(dag_id, f"held: {why}") for dag_id, why in held.items()]
    rows += [(dag_id, f"{n} unfinished") for dag_id, n in now.draining.items() if dag_id not in held]
    rows += [(dag_id, f"next run {_due(at)}") for dag_id, at in now.due.items()]
    for dag_id, text in rows[:SHOWN]:
        table.add_row("", Text(f"{dag_id}  {text}"))
    for rest in _rest(rows):
        table.add_row("", rest)
    for dag_id, since in now.moved.items():
        table.add_row(Text("✓", style="green"), Text(f"{dag_id}  {now.target}'s from {iso(since)}"))
    if now.mirroring is not None:
        done, total = now.mirroring
        table.add_row("", Text(f"mirrored runs made true on {now.target}: {done} of {total}"))
    if now.trouble is not None:
        table.add_row(Text("!", style="yellow"), Text(following(now), overflow="fold"))
    return table


@contextmanager
def drawn(console: Console, state: Callable[[], Followed], *, on: bool) -> Iterator[None]:
    """Draw the state while the block runs, if `on`; what is drawn goes away with it."""
    if not on:
        yield
        return
    started = clock.now()

    def draw() -> Table:
        return live(state(), (clock.now() - started).total_seconds())

    with Live(console=console, get_renderable=draw, refresh_per_second=2, transient=True):
        yield


def show_followed(console: Console, done: Followed) -> None:
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
        _note(console, f"{len(mirrors.left)} mirrored runs were left as they are:")
        lines = [f"{one.dag_id} due {iso(one.due)}: {one.reason}" for one in mirrors.left[:SHOWN]]
        for line in [*lines, *_rest(mirrors.left)]:
            console.print(Text(f"  {line}"), soft_wrap=True)
    if not done.dags:
        console.print(f"{done.source} is safe to maintain.", highlight=False)


def show_history(console: Console, history: History) -> None:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for title in ("version", "when", "who", "what", "why"):
        table.add_column(title, overflow="fold")
    for one in history.versions:
        table.add_row(
            str(one.version),
            iso(one.when),
            Text(one.who.rsplit(":", 1)[-1]),
            Text(one.change),
            Text(one.why),
            style=None if one.valid else "yellow",
        )
    console.print(table)


def show_push(console: Console, push: Push) -> None:
    titles = ("to upload", "to delete") if push.dry_run else ("uploaded", "deleted")
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for column in (
        "",
        *titles,
        "unchanged",
        "only in the bucket",
        "state",
    ):
        table.add_column(column, overflow="fold")
    for colour, one in push.environments.items():
        table.add_row(
            Text(colour, style=f"bold {colour}"),
            _listed(one.uploaded),
            _listed(one.deleted),
            str(one.unchanged),
            _listed(one.left),
            _push_state(one, push.dry_run),
        )
    console.print(table)
    if any(one.left for one in push.environments.values()):
        _note(console, "files that are only in a bucket stay there; --delete removes them.")


def _listed(names: Sequence[str]) -> Text:
    return Text("\n".join([*names[:SHOWN], *_rest(names)]) or "-")


def _push_state(one: Pushed, dry_run: bool) -> Text:
    if one.error is not None:
        return Text(one.error, style="red")
    if dry_run and (one.uploaded or one.deleted):
        return Text("behind", style="yellow")
    return Text("up to date", style="green")


def _note(console: Console, text: str) -> None:
    console.print(f"[yellow]Note:[/] {escape(text)}", highlight=False, soft_wrap=True)
