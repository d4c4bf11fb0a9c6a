"""The status: one look, or one after another until Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, JsonOption, StackOption, seconds
from mwaactl.cli.session import busy, console, error_fields, open_deployment, session
from mwaactl.errors import ControlError, UsageError

if TYPE_CHECKING:
    from mwaactl.deployment import Deployment
    from mwaactl.switching.status import Status

PERIOD = 30.0  # seconds between two looks, each of some 25 calls; InvokeRestApi allows an account 10 a second
SHORTEST = 5.0


def register(app: typer.Typer) -> None:
    """Add the command to `mwaactl`."""
    app.command(short_help="Show who owns the work, and the state of both sides.")(status)


def status(
    stack: StackOption = None,
    cwd: CwdOption = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C; with --json, a line each."),
    ] = False,
    every: Annotated[
        float | None,
        seconds(
            "--every",
            f"With --watch: time between two looks; default {PERIOD:g}, at least {SHORTEST:g}.",
            SHORTEST,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which environment owns the work, the state of both, and whether a switch would pass its checks."""
    with session(as_json):
        if every is not None and not watch:
            raise UsageError("--every is for --watch")
        with busy("Checking both environments", as_json):
            from mwaactl.switching.status import status as observe_all

            deployment = open_deployment(stack, cwd)
            first = None if watch else observe_all(deployment)
        from mwaactl.screens.status import show_status

        if first is not None:
            finish(first, show_status, as_json=as_json)
        else:
            _watch(deployment, every or PERIOD, as_json=as_json)


def _watch(deployment: Deployment, every: float, *, as_json: bool) -> None:
    """Look until Ctrl-C, which is how this ends when all is well."""
    from mwaactl.screens.watch import live_status

    screen = console()
    try:
        if as_json:
            _look_on(deployment, every, _print_line)
        elif screen.is_terminal:
            with live_status(screen, every) as show:
                _look_on(deployment, every, show)
        else:
            _look_on(deployment, every, _print_below)
    except KeyboardInterrupt:
        return


def _look_on(deployment: Deployment, every: float, show: Callable[[Status | ControlError], None]) -> None:
    """Look, show it, wait, for ever. An error is shown as well: the next look may succeed."""
    from mwaactl import clock
    from mwaactl.switching.status import status as observe_all

    while True:
        result: Status | ControlError
        try:
            result = observe_all(deployment)
        except ControlError as error:
            result = error
        show(result)
        clock.sleep(every)


def _print_line(result: Status | ControlError) -> None:
    from mwaactl import clock
    from mwaactl.json_model import iso

    if isinstance(result, ControlError):
        typer.echo(json.dumps({"at": iso(clock.now()), **error_fields(result)}))
    else:
        typer.echo(result.model_dump_json())


def _print_below(result: Status | ControlError) -> None:
    """Below the one before, for a log or a pipe."""
    from mwaactl import clock
    from mwaactl.json_model import iso
    from mwaactl.screens.status import show_status

    if isinstance(result, ControlError):
        typer.echo(f"--- {iso(clock.now())}: this look failed: {result}")
    else:
        typer.echo(f"--- {iso(result.at)}")
        show_status(console(), result)
