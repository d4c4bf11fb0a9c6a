"""The lineage commands: the log's status, its replay, and the events that are set aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, DryRunOption, JsonOption, StackOption, YesOption
from mwaactl.cli.session import busy, confirm, console, open_deployment, session
from mwaactl.cli.times import past
from mwaactl.errors import Unfinished, UsageError

if TYPE_CHECKING:
    from mwaactl.lineage.replay import Report

lineage_app = typer.Typer(
    help="The lineage log: its status, its replay, and refused events.", no_args_is_help=True
)
aside_app = typer.Typer(help="Events that the back end refused for good.", no_args_is_help=True)
lineage_app.add_typer(aside_app, name="set-aside")

ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        help="Root URL of the back end; default: the stack's own, inside the VPC.",
        metavar="URL",
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands to `mwaactl`."""
    app.add_typer(lineage_app, name="lineage")


@lineage_app.command(short_help="Show the log, and how far each back end has come.")
def status(
    stack: StackOption = None,
    cwd: CwdOption = None,
    hours: Annotated[int, typer.Option("--hours", help="Number of hours to count.", min=1, max=24 * 31)] = 24,
    to: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show events by hour, the checkpoints and their lag, what is set aside, and the back end's health."""
    from mwaactl.lineage.status import status as look
    from mwaactl.screens.lineage import show_status

    with session(as_json):
        with busy("Reading the lineage log", as_json):
            result = look(open_deployment(stack, cwd), hours=hours, to=to)
        finish(result, show_status, as_json=as_json)


@lineage_app.command()
def replay(
    since: Annotated[
        str,
        typer.Option("--since", help="Start of the window: 15m, 24h or 7d ago, or a time.", metavar="TIME"),
    ],
    until: Annotated[
        str | None, typer.Option("--until", help="End of the window; default: now.", metavar="TIME")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="Only events of this namespace.", metavar="NAME")
    ] = None,
    to: ToOption = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over, even if an interrupted replay can be resumed.")
    ] = False,
    stack: StackOption = None,
    cwd: CwdOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Post a window of the log again, in order. An interrupted replay prints the command that resumes it.

    The forwarders' checkpoints do not change, and runs that the back end knows keep their newest state.
    """
    from mwaactl import clock
    from mwaactl.lineage.replay import Window
    from mwaactl.lineage.replay import replay as post
    from mwaactl.screens.lineage import show_replay

    with session(as_json):
        now = clock.now()
        start = past(since, now, "--since")
        end = now if until is None else past(until, now, "--until")
        deployment = open_deployment(stack, cwd)
        window = Window(
            stack=deployment.name,
            bucket=deployment.stack.lineage_log_bucket,
            to=deployment.stack.marquez(to),
            since=start,
            until=end,
            namespace=namespace,
        )
        with _progress(as_json) as report:
            result = post(deployment.clients, window, dry_run=dry_run, restart=restart, report=report)
        error = None
        if result.refused:
            error = Unfinished(
                f"the back end refused {result.refused} of {result.events} events, for the reasons above"
            )
        finish(result, show_replay, as_json=as_json, error=error)


@aside_app.command("list")
def aside_list(
    stack: StackOption = None,
    cwd: CwdOption = None,
    limit: Annotated[int, typer.Option("--limit", help="List at most this many, oldest first.", min=1)] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the refused events: when, why, and their keys."""
    from mwaactl.lineage.set_aside import set_aside
    from mwaactl.screens.lineage import show_set_aside

    with session(as_json):
        with busy("Reading what is set aside", as_json):
            result = set_aside(open_deployment(stack, cwd), limit=limit)
        finish(result, show_set_aside, as_json=as_json)


@aside_app.command("retry")
def aside_retry(
    keys: Annotated[
        list[str] | None, typer.Argument(help="The keys, as `list` prints them.", metavar="[KEY]...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry everything that is set aside.")] = False,
    to: ToOption = None,
    stack: StackOption = None,
    cwd: CwdOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Post refused events again, oldest first. What the back end accepts is no longer set aside."""
    from mwaactl.lineage.set_aside import retry
    from mwaactl.screens.lineage import show_retry

    with session(as_json):
        if bool(keys) == everything:
            raise UsageError("name the keys to retry, or use --all")
        deployment = open_deployment(stack, cwd)
        server = deployment.stack.marquez(to)
        if everything and not dry_run:
            confirm(f"Post everything that is set aside to {server}?", yes=yes, as_json=as_json)
        with busy("Posting", as_json):
            result = retry(deployment, keys or (), to=server, dry_run=dry_run)
        error = None
        if result.refusals:
            error = Unfinished(f"{len(result.refusals)} events are still refused, for the reasons above")
        finish(result, show_retry, as_json=as_json, error=error)


@contextmanager
def _progress(as_json: bool) -> Iterator[Report]:
    """A bar on a terminal; nothing in a pipe."""
    from mwaactl.lineage.replay import silent

    screen = console(stderr=True)
    if as_json or not screen.is_terminal:
        yield silent
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        "Replaying", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=screen
    ) as bar:
        task = bar.add_task("", total=None)

        def report(count: int, total: int) -> None:
            bar.update(task, completed=count, total=total)

        yield report
