"""What an environment has logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.options import ColourArgument, CwdOption, StackOption
from mwaactl.cli.session import busy, colour_named, console, open_deployment, print_error, session
from mwaactl.cli.times import past
from mwaactl.errors import Unreachable

if TYPE_CHECKING:
    from mwaactl.logs import Tail

PERIOD = 5.0  # seconds between two looks with --follow


def register(app: typer.Typer) -> None:
    """Add the command to `mwaactl`."""
    app.command(short_help="Show what an environment has logged.")(logs)


def logs(
    side: ColourArgument,
    stack: StackOption = None,
    cwd: CwdOption = None,
    dag: Annotated[str | None, typer.Option(help="Only tasks of this DAG.", metavar="NAME")] = None,
    task: Annotated[str | None, typer.Option(help="Only this task of the DAG.", metavar="NAME")] = None,
    of: Annotated[
        str,
        typer.Option(
            help="Whose log: task, scheduler (with the triggerer), worker, dag-processing, web-server.",
            metavar="LOG",
        ),
    ] = "task",
    since: Annotated[
        str, typer.Option(help="Start: 15m, 24h or 7d ago, or an instant.", metavar="AGO|INSTANT")
    ] = "1h",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is logged from now on, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each event.")] = False,
) -> None:
    """Show an environment's logs, oldest first, from CloudWatch.

    A task that is skipped without a process, as on the side that does not own its run, logs nothing.
    """
    from mwaactl import clock
    from mwaactl.logs import Query, Tail

    with session(False):
        colour = colour_named(side)
        query = Query(since=past(since, clock.now(), "--since"), kind=of, dag_id=dag, task_id=task)
        with busy("Looking for the log group", as_json):
            tail = Tail(open_deployment(stack, cwd), colour, query)
            _ = tail.group
        count = _print(tail, as_json=as_json)
        if not count and not follow:
            console(stderr=True).print(
                f"Nothing was logged there since {since}. To look further back: --since", highlight=False
            )
        if follow:
            _follow(tail, as_json=as_json)


def _print(tail: Tail, *, as_json: bool) -> int:
    """Print what is new; return the number of events."""
    from mwaactl.screens.logs import show_event

    screen, count = console(), 0
    for count, event in enumerate(tail.read(), 1):  # noqa: B007 - the last one is the result
        if as_json:
            typer.echo(event.model_dump_json())
        else:
            show_event(screen, event)
    return count


def _follow(tail: Tail, *, as_json: bool) -> None:
    """Print until Ctrl-C, which is how this ends when all is well. What does not answer is asked again."""
    from mwaactl import clock

    try:
        while True:
            clock.sleep(PERIOD)
            try:
                _print(tail, as_json=as_json)
            except Unreachable as error:
                print_error(error)
    except KeyboardInterrupt:
        return
