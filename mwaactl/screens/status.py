"""How the status, the history and a push of DAGs look in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl import clock
from mwaactl.airflow.models import Run
from mwaactl.checks.observation import Observation
from mwaactl.dag_files import EnvironmentPush, PushResult
from mwaactl.json_model import iso
from mwaactl.ownership.history import History
from mwaactl.screens.common import SHOWN, print_note, remainder, show_checks, since_text
from mwaactl.switching.status import Line, Status

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
        print_note(
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
        print_note(
            console,
            f"the plain parameter says {status.active_environment}, the ownership {expected}: "
            f"`mwaactl switch {expected}` puts it right.",
        )


def _owns(line: Line, what: str) -> Text:
    text = Text.assemble((line.owner, f"bold {line.owner}"), f" owns {what} ", since_text(line.since))
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


def show_push(console: Console, push: PushResult) -> None:
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
        print_note(console, "files that are only in a bucket stay there; --delete removes them.")


def _listed(names: Sequence[str]) -> Text:
    return Text("\n".join([*names[:SHOWN], *remainder(names)]) or "-")


def _push_state(one: EnvironmentPush, dry_run: bool) -> Text:
    if one.error is not None:
        return Text(one.error, style="red")
    if dry_run and (one.uploaded or one.deleted):
        return Text("behind", style="yellow")
    return Text("up to date", style="green")
