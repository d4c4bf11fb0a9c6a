"""The command that applies a change without an interruption: rollout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.options import (
    CanaryOption,
    CanaryPercentOption,
    CwdOption,
    DryRunOption,
    ForceOption,
    ReasonOption,
    SoakOption,
    StackOption,
    YesOption,
    seconds,
)
from mwaactl.cli.session import confirm, console, error_fields, open_deployment, print_error
from mwaactl.cli.switch import CanaryOptions
from mwaactl.errors import ControlError

if TYPE_CHECKING:
    from mwaactl.rollout.plan import Plan
    from mwaactl.rollout.rollout import Event


def register(app: typer.Typer) -> None:
    """Add this command to `mwaactl`."""
    app.command(short_help="Apply a change of the stack without interrupting the work.")(rollout)


def rollout(
    stack: StackOption = None,
    cwd: CwdOption = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config-file",
            help="As for pulumi: settings to use instead of the stack's file.",
            metavar="FILE",
        ),
    ] = None,
    back: Annotated[
        bool, typer.Option("--return", help="At the end, switch back to the side that owned the work.")
    ] = False,
    canary: CanaryOption = None,
    canary_percent: CanaryPercentOption = None,
    soak: SoakOption = "30m",
    reason: ReasonOption = "",
    force: ForceOption = None,
    timeout: Annotated[
        float,
        seconds("--timeout", "Limit of each wait for Amazon, and until the other side is ready."),
    ] = 3600,
    drain_timeout: Annotated[
        float | None,
        seconds("--drain-timeout", "Limit of each drain; default: none."),
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each event, a line each.")
    ] = False,
) -> None:
    """Apply what the stack's settings, the program, plugins and requirements ask for, without interrupting.

    The side that does not own the work is updated first, with what both share. Once it is proven to work, it
    takes the work over, the other side drains, and is updated then. A side that owns work is never touched.
    With --canary, some DAGs go first; if they do badly there, they go back, and the rollout ends.
    After an interruption, or if a step fails, the same command goes on, with the same options.
    """
    from mwaactl.rollout import rollout as rolling
    from mwaactl.rollout.engine import Engine
    from mwaactl.rollout.how import How
    from mwaactl.screens.rollout import show_event, show_plan
    from mwaactl.stack import find_project, selected

    def report(event: Event) -> None:
        if as_json:
            typer.echo(json.dumps(event.model_dump(mode="json")))
        elif event.stage == "plan":
            show_plan(console(), event)
        else:
            show_event(console(), event)

    def ask(planned: Plan) -> None:
        if planned.steps or back:
            confirm(f"Roll this out to {name}?", yes=yes, as_json=as_json)

    first = CanaryOptions(canary or (), canary_percent, soak, force or (), alone=False)
    with _ended(as_json):
        folder = find_project(cwd)
        name = stack or selected(folder)
        engine = Engine(folder, name, config_file)
        how = How(
            back=back,
            force=frozenset(force or ()),
            limit=timedelta(seconds=timeout),
            drain=None if drain_timeout is None else timedelta(seconds=drain_timeout),
            reason=reason,
            canary=first.parsed() if first.given else None,
        )
        if dry_run:
            report(rolling.event_of(rolling.look(open_deployment(name, cwd), engine, how)))
            return
        rolling.roll_out(lambda: open_deployment(name, cwd), engine, how, on_event=report, on_plan=ask)


@contextmanager
def _ended(as_json: bool) -> Iterator[None]:
    """Turn an error into its exit code; with --json, the last line is an object with it."""
    try:
        yield
    except ControlError as error:
        if as_json:
            typer.echo(json.dumps(error_fields(error)))
        print_error(error)
        raise typer.Exit(error.exit_code) from error
