"""`python -m local up|env|down`: what `make local`, `make -s local-env` and `make local-down` call."""

from __future__ import annotations

import shlex
import sys
import time
from typing import Annotated

import typer

from local.home import Home
from local.processes import LocalError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


class Progress:
    """Lines with the time since the start, so that a person and a CI log can both follow."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        typer.echo(f"[{time.monotonic() - self._started:4.0f} s] {text}")


@app.command()
def up(
    mode: Annotated[str, typer.Option(help="standard, bluegreen, hamarquez or fullha")] = "fullha",
) -> None:
    """Deploy a mode on this machine and wait until its Airflows have really worked."""
    from local import cloud

    try:
        cloud.up(Home.find(), mode, Progress())
    except KeyboardInterrupt:
        typer.echo(
            "\ninterrupted: `make local` goes on from here, `make local-down` ends what runs", err=True
        )
        raise typer.Exit(130) from None


@app.command()
def env() -> None:
    """Shell exports with which the plain pulumi and mwaactl work on the local cloud."""
    from local import pulumi_cli
    from local.processes import find

    home = Home.find()
    if find(home, "mwaa") is None:
        raise LocalError("the local cloud does not run; start it with `make local`")
    for key, value in pulumi_cli.environ(home).items():
        typer.echo(f"export {key}={shlex.quote(value)}")


@app.command()
def down() -> None:
    """End every process of the local cloud; its state stays."""
    from local import cloud

    cloud.down(Home.find(), Progress())


def main() -> None:
    try:
        app()
    except LocalError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
