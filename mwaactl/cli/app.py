"""The command line: only options, questions and output. The other packages do the work."""

from __future__ import annotations

import typer

from mwaactl.cli import (
    acceptance,
    adopt,
    airflow,
    cost,
    dags,
    images,
    lineage,
    logs,
    maintenance,
    open,
    recovery,
    report,
    requirements,
    rollout,
    status,
    switch,
)
from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, JsonOption, ProfileOption, StackOption
from mwaactl.cli.session import aws_profile, busy, open_deployment, session
from mwaactl.errors import EXIT_CODES, Unusable

app = typer.Typer(
    help="Move a stack's scheduled work between its blue and green Airflow, and see which one owns it.",
    epilog=f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,  # Rich's help would triple the time of `mwaactl --help`
)


@app.callback()
def options(profile: ProfileOption = None) -> None:
    """The options of all commands; they stand before the command."""
    aws_profile.set(profile)


status.register(app)


@app.command(short_help="Print the colour of the present owner, for scripts.")
def active(stack: StackOption = None, cwd: CwdOption = None) -> None:
    """Print the colour of the environment that owns the runs due now: one word, for scripts."""
    from mwaactl.ownership.parameter import aws_now

    with session(False):
        ownership = open_deployment(stack, cwd).ownership
        snapshot = ownership.read()
        owner = snapshot.timeline.owner(aws_now(snapshot, ownership.lead))
        if owner is None:
            raise Unusable(
                "the environment that owns the work has been replaced or removed. To name the one that is to "
                "own it: mwaactl switch"
            )
        typer.echo(owner)


@app.command(short_help="Show who decided what, when and why.")
def history(stack: StackOption = None, cwd: CwdOption = None, as_json: JsonOption = False) -> None:
    """Show who decided what, when and why: newest first, including writes that lost a race."""
    with session(as_json):
        with busy("Reading the history", as_json):
            result = open_deployment(stack, cwd).ownership.history()
        from mwaactl.screens.status import show_history

        finish(result, show_history, as_json=as_json)


switch.register(app)
rollout.register(app)
acceptance.register(app)
dags.register(app)
requirements.register(app)
recovery.register(app)
lineage.register(app)
images.register(app)
cost.register(app)
logs.register(app)
open.register(app)
report.register(app)
airflow.register(app)
maintenance.register(app)
adopt.register(app)


def main() -> None:
    app()
