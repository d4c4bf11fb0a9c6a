"""Airflow's own commands."""

from __future__ import annotations

from typing import Annotated

import typer

from mwaactl.cli.options import ColourArgument, CwdOption, JsonOption, StackOption
from mwaactl.cli.session import busy, colour_named, open_deployment, session
from mwaactl.errors import CheckFailed


def register(app: typer.Typer) -> None:
    """Add the command to `mwaactl`."""
    app.command(short_help="Run one of Airflow's own commands in an environment.")(airflow)


def airflow(
    side: ColourArgument,
    words: Annotated[list[str], typer.Argument(help="The command, after --.", metavar="-- COMMAND...")],
    stack: StackOption = None,
    cwd: CwdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one of Airflow's own commands in an environment, as in: mwaactl airflow blue -- dags list

    Amazon MWAA allows some of Airflow's commands; its guide lists them. The exit code is 1 if the command
    failed.
    """
    from mwaactl.airflow_command import run

    with session(as_json):
        colour = colour_named(side)
        with busy("Running it", as_json):
            printed = run(open_deployment(stack, cwd), colour, words)
        if as_json:
            typer.echo(printed.model_dump_json(indent=2))
        else:
            typer.echo(printed.stdout, nl=False)
            typer.echo(printed.stderr, nl=False, err=True)
        if not printed.ok:
            raise typer.Exit(CheckFailed.exit_code)
