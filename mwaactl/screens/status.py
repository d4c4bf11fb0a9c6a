"""How the status and the history look in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl import clock
from mwaactl.airflow.models import Run
from mwaactl.checks.observation import Observation
from mwaactl.checks.probe import SideProof
from mwaactl.json_model import iso
from mwaactl.ownership.history import History
from mwaactl.ownership.reading import named
from mwaactl.screens.common import SHOWN, print_note, remainder, show_checks, show_ungated, since_text
from mwaactl.switching.status import OwnershipLine, Status

NOT_CHECKED = Text("not checked", style="yellow")


def show_status(console: Console, status: Status) -> None:
    console.print(
        f"[bold]{escape(status.name)}[/]  mode {status.mode}, {status.region}",
        highlight=False,
        soft_wrap=True,
    )
    if status.ownership is not None:
        console.print(_ownership(status.ownership, "the scheduled work"), soft_wrap=True)
        for dag_id, line in status.dags.items():
            console.print(Text("  ") + _ownership(line, dag_id), soft_wrap=True)
    if status.invalid_version is not None:
        print_note(
            console,
            f"version {status.invalid_version} of the ownership parameter is invalid and has no effect; "
            f"version {status.version} stands (mwaactl history). The next switch puts it back on top.",
        )
    _warn_of_plain_parameter(console, status)
    console.print()
    console.print(_environments(status))
    show_ungated(console, status.ungated)
    for colour, runs in status.draining.items():
        console.print(f"\nUnfinished runs on {colour} of work that it no longer owns:", highlight=False)
        console.print(Text(_runs(runs)), soft_wrap=True)
    for colour, command in status.open_books.items():
        console.print(
            f"\n{colour}'s books are open, so `pulumi up` does not touch it. To wait for its drain and close "
            f"them: mwaactl switch {escape(command)} --wait -s {escape(status.stack)}",
            highlight=False,
            soft_wrap=True,
        )
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
        print_note(
            console,
            f"the plain parameter names {status.active_environment}, but {expected} owns the work. "
            f"To correct it: mwaactl switch {expected}",
        )


def _ownership(line: OwnershipLine, work: str) -> Text:
    text = Text.assemble(
        (named(line.owner), f"bold {line.owner or 'red'}"), f" has owned {work} {since_text(line.since)}"
    )
    if line.next_owner is not None and line.next_since is not None:
        wait = (line.next_since - clock.now()).total_seconds()
        successor = (line.next_owner, f"bold {line.next_owner}")
        text.append_text(
            Text.assemble("; ", successor, f" owns it from {iso(line.next_since)} (in {wait:.0f} s)")
        )
    return text


def _environments(status: Status) -> Table:
    observations = status.environments.values()
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("")
    for side in observations:
        table.add_column(Text(side.colour, style=f"bold {side.colour}"), overflow="fold")
    rows: list[tuple[str, Callable[[Observation], str | Text | None]]] = [
        ("environment", lambda side: side.name),
        ("status", _status_text),
        ("Airflow", lambda side: f"{side.airflow_version}, {side.environment_class}"),
        ("webserver", lambda side: side.webserver_url),
        ("scheduler", lambda side: side.scheduler and f"{side.scheduler}{_beat(side)}"),
        (
            "DAGs",
            lambda side: None if side.dags is None else f"{len(side.dags)}, {len(side.paused or ())} paused",
        ),
        ("import errors", lambda side: None if side.import_errors is None else _count_of_errors(side)),
        ("in flight", lambda side: None if side.in_flight is None else _runs(side.in_flight)),
        ("last scheduled", lambda side: None if side.last_scheduled is None else _runs(side.last_scheduled)),
        ("gate", lambda side: _gate(status.gates.get(side.colour))),
    ]
    for name, value in rows:
        cells = [value(side) for side in observations]
        table.add_row(name, *(NOT_CHECKED if cell is None else cell for cell in cells))
    return table


def _status_text(side: Observation) -> Text | None:
    if side.status is None:
        return None
    return Text(side.status, style="green" if side.status == "AVAILABLE" else "yellow")


def _gate(proof: SideProof | None) -> Text | None:
    """Whether it is proven that a side's gate works, and how."""
    if proof is None:
        return None
    if proof.at is None or proof.wrong:
        return Text(f"not proven: {proof.wrong or proof.missing}", style="red")
    weak = f"; {proof.weak}" if proof.weak else ""
    return Text(f"works: probe due {iso(proof.at)} {proof.how}{weak}", style="yellow" if weak else "green")


def _beat(side: Observation) -> str:
    if side.heartbeat is None:
        return ""
    return f", heartbeat {max(0.0, (clock.now() - side.heartbeat).total_seconds()):.0f} s ago"


def _count_of_errors(side: Observation) -> Text:
    errors = side.import_errors or ()
    if not errors:
        return Text("none")
    lines = [f"{error.file}: {error.message}" for error in errors[:SHOWN]]
    return Text("\n".join([*lines, *remainder(errors)]), style="red")


def _runs(runs: Sequence[Run]) -> str:
    if not runs:
        return "none"
    lines = [f"{run.dag_id} {run.state}{f', due {iso(run.due)}' if run.due else ''}" for run in runs[:SHOWN]]
    return "\n".join([*lines, *remainder(runs)])


def show_history(console: Console, history: History) -> None:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for title in ("version", "when", "who", "what", "why"):
        table.add_column(title, overflow="fold")
    for version in history.versions:
        table.add_row(
            str(version.version),
            iso(version.when),
            Text(version.who.rsplit(":", 1)[-1]),
            Text(version.change),
            Text(version.why),
            style=None if version.valid else "yellow",
        )
    console.print(table)
