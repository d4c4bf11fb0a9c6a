"""`python -m local up|env|down`, for `make local`, `make -s local-env` and `make local-down`."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from local.home import Home
from local.processes import LOOPBACK, LocalError, find

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


class Progress:
    """Prints lines with the time since the start, for terminals and CI logs alike."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        typer.echo(f"[{time.monotonic() - self._started:4.0f} s] {text}")


@app.command("up")
def deploy(
    mode: Annotated[str, typer.Option(help="standard, bluegreen, hamarquez or fullha")] = "fullha",
    dags: Annotated[str, typer.Option(help="folder of your DAGs; default: the last one, or examples")] = "",
    airflow: Annotated[str, typer.Option(help="Airflow version, kept in the stack's configuration")] = "",
    requirements: Annotated[str, typer.Option(help="requirements.txt, kept there as well")] = "",
    plugins: Annotated[str, typer.Option(help="folder of plugins, kept there as well")] = "",
    startup: Annotated[str, typer.Option(help="startup script, kept there as well")] = "",
    variables: Annotated[str, typer.Option(help="file of variables for the shared secrets")] = "",
    connections: Annotated[str, typer.Option(help="file of connections for the shared secrets")] = "",
) -> None:
    """Deploy a mode on this machine and wait until its Airflows have run their first tasks."""
    from local import up

    try:
        own = up.Own(dags, airflow, requirements, plugins, startup, variables, connections)
        up.up(Home.find(), mode, Progress(), own)
    except KeyboardInterrupt:
        typer.echo(
            "\ninterrupted: `make local` resumes from here, `make local-down` stops what is running", err=True
        )
        raise typer.Exit(130) from None


@app.command()
def env() -> None:
    """Print shell exports that point pulumi and mwaactl at the local cloud, as an operator."""
    from local.aws import callers
    from local.marquez import back_end
    from local.pulumi import cli as pulumi_cli

    home = Home.find()
    if find(home, "mwaa") is None:
        raise LocalError("the local cloud is not running. To start it: make local")
    operator = pulumi_cli.environ(home) | callers.of_operator(home) | back_end.addresses(home)
    for key, value in operator.items():
        typer.echo(f"export {key}={shlex.quote(value)}")


@app.command("down")
def end() -> None:
    """Stop every process of the local cloud; its state stays."""
    from local import up

    up.down(Home.find(), Progress())


@app.command()
def follow(folder: Path, stack: Annotated[str, typer.Option()]) -> None:
    """Push each change of a folder of DAGs; `up` starts this in the background."""
    from local.dags import push_changes

    push_changes(folder, stack, lambda text: print(f"{time.strftime('%X')} {text}", flush=True))


@app.command("mwaa")
def serve_mwaa(
    port: Annotated[int, typer.Option(help=f"port on {LOOPBACK}")],
    no_airflow: Annotated[
        bool, typer.Option("--no-airflow", help="environments without processes, AVAILABLE at once")
    ] = False,
) -> None:
    """Serve Amazon MWAA's API; `up` starts this in the background."""
    from local.airflow.process import RealAirflow
    from local.mwaa.api import serve
    from local.mwaa.lifecycle import NoAirflow

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stdout)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    home = Home.find()
    serve(home, NoAirflow() if no_airflow else RealAirflow(home), port)


@app.command("airflow")
def airflow(
    version: Annotated[str, typer.Argument(help="of Airflow")],
    requirements: Annotated[Path, typer.Argument(help="a requirements.txt")],
    find_only: Annotated[bool, typer.Option("--find", help="do not install it")] = False,
) -> None:
    """Install an Airflow that only imports DAGs, for `mwaactl dags check`; print where, as JSON."""
    from local.airflow import checks

    home = Home.find()
    if find_only:
        installed = checks.find(home, version, requirements.read_text())
    else:
        installed = checks.install(home, version, requirements)
    typer.echo(json.dumps(installed.fields()))


@app.command()
def wheels(
    version: Annotated[str, typer.Argument(help="of Airflow")],
    requirements: Annotated[Path, typer.Argument(help="a requirements.txt")],
    folder: Annotated[Path, typer.Argument(help="an empty folder")],
    python: Annotated[str, typer.Option(help="the version of Amazon's image")],
) -> None:
    """Fetch the wheels of requirements, for `mwaactl requirements package`; print which, as JSON."""
    from local.airflow.wheels import package

    typer.echo(json.dumps(package(Home.find(), version, python, requirements, folder).fields()))


def main() -> None:
    try:
        app()
    except LocalError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
