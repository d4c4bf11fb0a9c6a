"""`mwaactl dags`: the DAG files of all environments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, DryRunOption, JsonOption, StackOption
from mwaactl.cli.session import busy, open_deployment, session
from mwaactl.errors import Unfinished

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
        typer.Option(
            "--timeout", help="With --wait: stop waiting after this long.", metavar="SECONDS", min=0
        ),
    ] = 900,
    as_json: JsonOption = False,
) -> None:
    """Upload the new and changed files of one folder to all environments, after a syntax check.

    All get the same files, or none does. A push that dies half way is finished by the next.
    """
    from mwaactl.dags.folder import read_folder
    from mwaactl.dags.push import push_dags

    with session(as_json):
        source = _source(folder, cwd)
        with busy("Comparing" if dry_run else "Uploading", as_json):
            deployment = open_deployment(stack, cwd)
            files = read_folder(source)
            result = push_dags(deployment, files, delete=delete, dry_run=dry_run)
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


def _source(folder: Path | None, cwd: Path | None) -> Path:
    from mwaactl.stack import find_project

    return folder if folder is not None else find_project(cwd) / "dags"
