"""What all commands do: open the stack, ask the operator, report progress and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mwaactl.errors import ControlError, UsageError

if TYPE_CHECKING:
    from bluegreen.timeline import Colour
    from rich.console import Console

    from mwaactl.deployment import Deployment


# The option is the program's, before the command; None: boto3's own choice.
aws_profile: ContextVar[str | None] = ContextVar("aws_profile", default=None)


def open_deployment(stack: str | None, cwd: Path | None) -> Deployment:
    from mwaactl.deployment import Deployment

    return Deployment.open(stack, cwd, aws_profile.get())


def colour_named(value: str) -> Colour:
    from bluegreen.timeline import COLOURS

    for colour in COLOURS:
        if colour == value:
            return colour
    raise UsageError(f"{value!r} is not an environment: use {' or '.join(COLOURS)}")


@contextmanager
def session(as_json: bool) -> Iterator[None]:
    """Turn an error into its exit code and one line on stderr; with --json, an object on stdout."""
    try:
        yield
    except ControlError as error:
        if as_json:
            typer.echo(json.dumps(error_fields(error), indent=2))
        print_error(error)
        raise typer.Exit(error.exit_code) from error


def error_fields(error: ControlError) -> dict[str, Any]:
    """The fields with which `--json` reports an error."""
    return {"error": str(error), "exit_code": error.exit_code, **error.beside}


def print_error(error: ControlError) -> None:
    from rich.markup import escape

    console(stderr=True).print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)


def confirm(question: str, *, yes: bool, as_json: bool) -> None:
    """Ask the operator at a terminal, unless --yes is given; "no" ends the command with exit code 1."""
    if not (yes or as_json) and sys.stdin.isatty():
        typer.confirm(question, abort=True)


@contextmanager
def busy(text: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """Show the operator at a terminal what is happening; the callback takes the number done and the total."""
    screen = console(stderr=True)
    if as_json or not screen.is_terminal:
        yield lambda _done, _of: None
        return
    with screen.status(text) as status:
        yield lambda done, of: status.update(f"{text}: {done} of {of}")


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    screen = Console(stderr=stderr)
    # A log or a pipe has no screen width: do not cut columns at 80.
    return screen if screen.is_terminal else Console(stderr=stderr, width=160)
