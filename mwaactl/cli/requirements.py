"""`mwaactl requirements`: what requirements.txt would do on Amazon MWAA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, JsonOption, StackOption
from mwaactl.cli.session import busy, open_deployment, session
from mwaactl.errors import CheckFailed

requirements_app = typer.Typer(help="The requirements.txt of an environment.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(requirements_app, name="requirements")


@requirements_app.command("check", short_help="Install requirements as Amazon would, on this machine.")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="Lines for requirements.txt; default: the stack's.", metavar="[FILE]"),
    ] = None,
    stack: StackOption = None,
    cwd: CwdOption = None,
    airflow_version: Annotated[
        list[str] | None,
        typer.Option("--airflow-version", help="Default: the stack's; may be repeated.", metavar="VERSION"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Resolve and install requirements under the constraints of an Airflow version, in an environment of its
    own, as Amazon would. There, a line that does not fit only stands in a log, and nothing is installed."""
    from mwaactl.dag_check.airflows import Checkout
    from mwaactl.dag_check.requirements import check_requirements, given, of_stack

    with session(as_json):
        checkout = Checkout(cwd)
        if airflow_version:
            wanted = given(airflow_version, file)
        else:
            wanted = of_stack(open_deployment(stack, cwd), file)
        with busy(f"Installing with Airflow {' and '.join(each.version for each in wanted)}", as_json):
            result = check_requirements(checkout, wanted)
        refused = [each.version for each in result.versions if each.python is None]
        error = None
        if refused:
            error = CheckFailed(
                f"Airflow {' and '.join(refused)} would start without any of these requirements: "
                "Amazon installs all of them or none"
            )
        from mwaactl.screens.dags import show_requirements

        finish(result, show_requirements, as_json=as_json, error=error)


@requirements_app.command("package", short_help="Fetch requirements as wheels, for no internet access.")
def package(
    file: Annotated[
        Path | None,
        typer.Argument(help="Lines for requirements.txt; default: the stack's settings.", metavar="[FILE]"),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A folder for the wheels alone.", metavar="DIR")
    ] = Path("wheels"),
    stack: StackOption = None,
    cwd: CwdOption = None,
    airflow_version: Annotated[
        str | None,
        typer.Option("--airflow-version", help="Default: of the stack's settings.", metavar="VERSION"),
    ] = None,
    side: Annotated[
        str | None,
        typer.Option("--side", help="For this environment, where they differ.", metavar="blue|green"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch requirements as wheels for Amazon's image of an Airflow version, with all that they require and
    the image does not have. The setting `wheels_folder` delivers them in plugins.zip: no package index is
    needed then. The stack need not be deployed; with --airflow-version, there need not be one."""
    from mwaactl.dag_check.airflows import Checkout
    from mwaactl.dag_check.wheels import lines_of, of_settings
    from mwaactl.dag_check.wheels import package as package_all
    from mwaactl.images import StackConfig
    from mwaactl.screens.dags import show_package

    with session(as_json):
        checkout = Checkout(cwd)
        version, lines = airflow_version, list[str]()
        if version is None:
            version, lines = of_settings(StackConfig.of(stack, cwd), side)
        if file is not None:
            lines = lines_of(file)
        with busy(f"Fetching wheels for Airflow {version}", as_json):
            result = package_all(checkout, version, lines, output, side)
        finish(result, show_package, as_json=as_json)
