"""`mwaactl dags`: the DAG files of all environments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, DryRunOption, JsonOption, StackOption, seconds
from mwaactl.cli.session import busy, open_deployment, session
from mwaactl.errors import CheckFailed, Unfinished, Unreachable, UsageError

if TYPE_CHECKING:
    from mwaactl.dags.folder import Folder
    from mwaactl.deployment import Deployment

dags_app = typer.Typer(help="The DAG files of all environments.", no_args_is_help=True)

FolderArgument = Annotated[
    Path | None,
    typer.Argument(help="The folder of DAGs; default: dags/ in the project.", metavar="[DIR]"),
]
DeleteOption = Annotated[
    bool, typer.Option("--delete", help="Also delete files in the buckets that are not in the folder.")
]


def register(app: typer.Typer) -> None:
    app.add_typer(dags_app, name="dags")


@dags_app.command("push", short_help="Upload a folder of DAGs to all environments.")
def push(
    folder: FolderArgument = None,
    stack: StackOption = None,
    cwd: CwdOption = None,
    delete: DeleteOption = False,
    dry_run: DryRunOption = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every Airflow has parsed exactly these files.")
    ] = False,
    timeout: Annotated[
        float,
        seconds("--timeout", "With --wait: stop waiting after this long."),
    ] = 900,
    no_check: Annotated[
        bool,
        typer.Option("--no-check", help="Do not import the files first with the Airflows of `dags check`."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Upload the new and changed files of one folder to all environments, after a syntax check.

    All get the same files, or none does. A push that dies half way is finished by the next.
    """
    from mwaactl.dags.beside import not_pushed
    from mwaactl.dags.folder import read_folder
    from mwaactl.dags.push import push_dags
    from mwaactl.stack import find_project

    with session(as_json):
        source = _source(folder, cwd)
        with busy("Comparing" if dry_run else "Uploading", as_json):
            deployment = open_deployment(stack, cwd)
            files = read_folder(source)
            if no_check or dry_run:
                unchecked: str | None = "--no-check" if no_check else "--dry-run"
            else:
                unchecked = _checked(deployment, files, cwd)
            result = push_dags(deployment, files, delete=delete, dry_run=dry_run)
            beside = not_pushed(deployment, files, find_project(cwd))
            result = result.model_copy(update={"unchecked": unchecked, "not_pushed": beside})
        error = None
        if result.behind:
            error = Unfinished(
                f"{', '.join(result.behind)} has only a part of the new DAGs, and both sides must have the "
                f"same. The next push finishes this one: mwaactl dags push {source} -s {deployment.name}"
                + (" --delete" if delete else "")
            )
        elif wait and not dry_run:
            from mwaactl.dags.parsed import wait_until_parsed

            with busy("Waiting until Airflow has parsed the files", as_json) as progress:
                parsed = wait_until_parsed(deployment, files, result, timeout=timeout, progress=progress)
            result = result.model_copy(update={"parsed": parsed})
        from mwaactl.screens.dags import show_push

        finish(result, show_push, as_json=as_json, error=error)


@dags_app.command("diff", short_help="Show how the environments' DAGs differ from a folder.")
def diff(
    folder: FolderArgument = None,
    stack: StackOption = None,
    cwd: CwdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a push would change on each side, line by line. Nothing is written."""
    from mwaactl.dags.diff import diff_dags

    with session(as_json):
        source = _source(folder, cwd)
        with busy("Comparing", as_json):
            result = diff_dags(open_deployment(stack, cwd), source)
        from mwaactl.screens.dags import show_diff

        finish(result, show_diff, as_json=as_json)


@dags_app.command("check", short_help="Import a folder of DAGs with a real Airflow, without AWS.")
def check(
    folder: FolderArgument = None,
    stack: StackOption = None,
    cwd: CwdOption = None,
    airflow_version: Annotated[
        list[str] | None,
        typer.Option(
            "--airflow-version",
            help="Airflow's version; may be repeated: what changes from the oldest to the newest is shown. "
            "Default: the stack's.",
            metavar="VERSION",
        ),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--requirements",
            help="The requirements.txt; default: the stack's, with --airflow-version OpenLineage alone.",
            metavar="FILE",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import a folder with a real Airflow on this machine: import errors, what changes between versions, what
    Ruff says about the next major version, and the DAGs that a switch treats unlike others.

    The first time, Airflow is installed as `make local` does it, which takes minutes.
    """
    from mwaactl.dag_check.airflows import Checkout
    from mwaactl.dag_check.check import check_dags, failed
    from mwaactl.dag_check.requirements import given, of_stack
    from mwaactl.dags.beside import plugins_of_stack
    from mwaactl.dags.folder import read_folder

    with session(as_json):
        checkout = Checkout(cwd)
        files = read_folder(_source(folder, cwd))
        plugins = None
        if airflow_version:
            wanted = given(airflow_version, requirements)
        else:
            deployment = open_deployment(stack, cwd)
            wanted, plugins = of_stack(deployment, requirements), plugins_of_stack(deployment)
        with busy(f"Importing with Airflow {' and '.join(each.version for each in wanted)}", as_json):
            result = check_dags(checkout, files, wanted, plugins)
        assert result is not None  # noqa: S101 - only if told to look for what is installed
        from mwaactl.screens.dags import show_check

        finish(result, show_check, as_json=as_json, error=failed(result))


def _checked(deployment: Deployment, files: Folder, cwd: Path | None) -> str | None:
    """Import what is to be pushed if an Airflow is there; return why not. Raises CheckFailed."""
    from mwaactl.dag_check.airflows import Checkout
    from mwaactl.dag_check.check import check_dags, failed
    from mwaactl.dag_check.requirements import of_stack
    from mwaactl.dags.beside import plugins_of_stack

    try:
        checkout = Checkout(cwd)
        plugins = plugins_of_stack(deployment)
        result = check_dags(checkout, files, of_stack(deployment), plugins, installed_only=True)
    except (UsageError, Unreachable) as error:
        return str(error)
    if result is None:
        return "no Airflow with the stack's requirements is installed here"
    if broken := failed(result):
        raise CheckFailed(f"nothing was uploaded; {broken}. To push them all the same: --no-check")
    return None


def _source(folder: Path | None, cwd: Path | None) -> Path:
    from mwaactl.stack import find_project

    return folder if folder is not None else find_project(cwd) / "dags"
