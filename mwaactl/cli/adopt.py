"""The command that makes an environment that exists blue of a stack: adopt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, DryRunOption, JsonOption, StackOption, YesOption
from mwaactl.cli.session import aws_profile, confirm, console, session

if TYPE_CHECKING:
    from mwaactl.adopt.adopt import Adoption
    from mwaactl.aws import Clients
    from mwaactl.rollout.engine import Engine


def register(app: typer.Typer) -> None:
    """Add this command to `mwaactl`."""
    app.command(short_help="Make an MWAA environment that exists blue of the stack.")(adopt)


def adopt(
    name: Annotated[str, typer.Argument(help="The environment's name.", metavar="NAME")],
    stack: StackOption = None,
    cwd: CwdOption = None,
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", help="An option to do without; may be repeated.", metavar="OPTION"),
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option("--requirements", help="Instead of its requirements.txt.", metavar="FILE")
    ] = None,
    plugins: Annotated[
        Path | None, typer.Option("--plugins", help="Instead of its plugins.zip.", metavar="FOLDER")
    ] = None,
    script: Annotated[
        Path | None, typer.Option("--script", help="Instead of its startup script.", metavar="FILE")
    ] = None,
    later: Annotated[
        bool, typer.Option("--later", help="End before the update; the same command goes on with it.")
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make an MWAA environment that exists blue of the stack, without replacing it.

    Its settings are written into the stack's file, and it is imported as it is. Its DAGs are copied, and one
    update brings in the gate. It asks before each. After an interruption, the same command goes on.
    """
    from mwaactl.adopt.adopt import Adopter, How
    from mwaactl.adopt.stack_file import StackFile
    from mwaactl.screens.adopt import show_adoption, show_question
    from mwaactl.stack import find_project, selected

    def ask(result: Adoption) -> None:
        if not as_json:
            show_question(console(), result)
        what = "Update it now?" if result.stage == "imported" else f"Import {name} into {result.stack}?"
        confirm(what, yes=yes, as_json=as_json)

    with session(as_json):
        folder = find_project(cwd)
        chosen = stack or selected(folder)
        adopter = Adopter(
            name,
            StackFile(folder, chosen),
            clients=_clients,
            engine=lambda file, variables: _engine(folder, chosen, file, variables),
            say=lambda text: None if as_json else typer.echo(text, err=True),
            ask=ask,
            how=How(tuple(drop or ()), requirements, plugins, script, later=later, dry_run=dry_run),
        )
        finish(adopter.run(), show_adoption, as_json=as_json)


def _clients(region: str) -> Clients:
    from mwaactl.aws import Clients

    return Clients(region, aws_profile.get())


def _engine(folder: Path, stack: str, file: Path | None, variables: Mapping[str, str]) -> Engine:
    from mwaactl.rollout.engine import Engine

    return Engine(folder, stack, file, variables)
