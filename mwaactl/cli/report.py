"""A page for a change ticket or an auditor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mwaactl.cli.options import CwdOption, StackOption
from mwaactl.cli.session import busy, open_deployment, session
from mwaactl.cli.times import past
from mwaactl.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to `mwaactl`."""
    app.command(short_help="Write a page about what happened, for a change ticket.")(report)


def report(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write.", metavar="FILE", dir_okay=False)
    ] = Path("report.html"),
    stack: StackOption = None,
    cwd: CwdOption = None,
    since: Annotated[
        str, typer.Option(help="Start: 24h or 7d ago, or an instant.", metavar="AGO|INSTANT")
    ] = "24h",
) -> None:
    """Write one self-contained HTML page: ownership, runs around each switch, audit, decisions, lineage.

    It needs no network and no script to be read, and prints well. What cannot be read is listed in it.
    """
    from mwaactl import clock

    with session(False):
        now = clock.now()
        begin = past(since, now, "--since")
        if begin >= now:
            raise UsageError("--since must be in the past")
        with busy("Comparing the runs of both environments", False) as progress:
            from mwaactl.report.facts import gather
            from mwaactl.report.page import page

            text = page(gather(open_deployment(stack, cwd), begin, now, progress))
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{output} cannot be written: {error.strerror}") from error
        typer.echo(f"Wrote {output}.")
