"""The stack's web pages, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.options import CwdOption, StackOption
from mwaactl.cli.session import aws_profile, busy, colour_named, open_deployment, session
from mwaactl.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from bluegreen.timeline import Colour

    from mwaactl.deployment import Deployment

open_app = typer.Typer(help="Open Airflow, Marquez or the dashboard in the browser.", no_args_is_help=True)

PrintOption = Annotated[
    bool, typer.Option("--print", help="Print the address instead of opening a browser here.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to `mwaactl`."""
    app.add_typer(open_app, name="open")


@open_app.command(short_help="Airflow's web page, logged in.")
def airflow(
    side: Annotated[
        str | None, typer.Argument(help="blue or green; default: the present owner.", metavar="[blue|green]")
    ] = None,
    stack: StackOption = None,
    cwd: CwdOption = None,
    only_print: PrintOption = False,
) -> None:
    """Open Airflow's web page, logged in with your AWS credentials.

    The address contains a token: within 60 s, whoever has it logs in as you. Only --print shows it.
    """
    from mwaactl.pages import airflow_url

    with session(False):
        colour = colour_named(side) if side else None
        with busy("Logging in", only_print):
            deployment = open_deployment(stack, cwd)
            colour = colour or _owner(deployment)
            url = airflow_url(deployment, colour)
        _open(url, only_print)
        if not only_print:
            typer.echo(f"Opened Airflow of {deployment.stack.require(colour).name}.")


@open_app.command(short_help="Marquez's web page.")
def marquez(stack: StackOption = None, cwd: CwdOption = None, only_print: PrintOption = False) -> None:
    """Open Marquez's web page. Outside the VPC, a tunnel is opened first, and ends with Ctrl-C."""
    from mwaactl import clock
    from mwaactl.pages import marquez_url

    with session(False):
        deployment = open_deployment(stack, cwd)
        try:
            with marquez_url(deployment, aws_profile.get()) as (url, by_tunnel):
                _open(url, only_print)
                if not only_print:
                    typer.echo(f"Opened {url}.")
                if by_tunnel:
                    typer.echo("The tunnel is open until Ctrl-C.", err=True)
                while by_tunnel:
                    clock.sleep(3600)
        except KeyboardInterrupt:
            return


@open_app.command(short_help="The stack's dashboard in CloudWatch.")
def dashboard(stack: StackOption = None, cwd: CwdOption = None, only_print: PrintOption = False) -> None:
    """Open the stack's dashboard. CloudWatch asks for a login to AWS's console."""
    from mwaactl.pages import dashboard_url

    with session(False):
        url = dashboard_url(open_deployment(stack, cwd))
        _open(url, only_print)
        if not only_print:
            typer.echo(f"Opened {url}.")


def _owner(deployment: Deployment) -> Colour:
    from mwaactl.ownership.parameter import aws_now

    ownership = deployment.ownership
    snapshot = ownership.read()
    owner = snapshot.timeline.owner(aws_now(snapshot, ownership.lead))
    if owner is None:
        raise UsageError("nobody owns the work now: name the side, blue or green")
    return owner


def _open(url: str, only_print: bool) -> None:
    """Raises Unreachable if there is no browser here."""
    import webbrowser

    if only_print:
        typer.echo(url)
    elif not webbrowser.open(url):
        raise Unreachable("there is no browser on this machine. To get the address: --print")
