"""What all commands share: their options, how they end, and what they print.

The exit codes are explained in `mwaactl.errors` and by `mwaactl --help`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.errors import ControlError, UsageError

if TYPE_CHECKING:
    from bluegreen.timeline import Colour
    from rich.console import Console

    from mwaactl.deployment import Deployment
    from mwaactl.json_model import Model

StackOption = Annotated[
    str | None, typer.Option("--stack", "-s", help="The stack; default: the selected one.", metavar="STACK")
]
CwdOption = Annotated[
    Path | None,
    typer.Option(
        "--cwd",
        "-C",
        help="Folder of the Pulumi project; default: found from the current one.",
        metavar="DIR",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Look and check, write nothing.")]
LeadOption = Annotated[
    float | None,
    typer.Option(
        "--lead",
        help="From now to the instant from which the target owns; default and least: the stack's "
        "switch_lead_seconds.",
        metavar="SECONDS",
        min=0,
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Kept in the history.", metavar="TEXT")]
ForceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        help="Go on although this check fails; may be repeated. Kept in the history.",
        metavar="CHECK",
    ),
]
YesOption = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Do not ask. (Without a terminal, and with --json, nothing is asked.)"),
]


def open_deployment(stack: str | None, cwd: Path | None) -> Deployment:
    from mwaactl.deployment import Deployment

    return Deployment.open(stack, cwd)


def colour_named(value: str) -> Colour:
    from bluegreen.timeline import COLOURS

    for colour in COLOURS:
        if colour == value:
            return colour
    raise UsageError(f"{value!r} is no environment: say {' or '.join(COLOURS)}")


@contextmanager
def session(as_json: bool) -> Iterator[None]:
    """End the command with the error's exit code and one line on stderr; with --json, an object on stdout."""
    try:
        yield
    except ControlError as error:
        if as_json:
            typer.echo(json.dumps({"error": str(error), "exit_code": error.exit_code}, indent=2))
        from rich.markup import escape

        console(stderr=True).print(
            f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False
        )
        raise typer.Exit(error.exit_code) from error


@contextmanager
def busy(text: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """Tell a person at a terminal what goes on, and how much of how much of it is done."""
    screen = console(stderr=True)
    if as_json or not screen.is_terminal:
        yield lambda _done, _of: None
        return
    with screen.status(text) as status:
        yield lambda done, of: status.update(f"{text}: {done} of {of}")


def print_json(model: Model, error: ControlError | None = None) -> None:
    value = model.model_dump(mode="json")
    if error is not None:
        value |= {"error": str(error), "exit_code": error.exit_code}
    typer.echo(json.dumps(value, indent=2))


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    found = Console(stderr=stderr)
    # In a log or a pipe there is no screen to fit: do not cut columns at 80.
    return found if found.is_terminal else Console(stderr=stderr, width=160)
