"""What an operator types. Only options, questions and printing: the work is in the modules beside this one.

The exit codes are explained in `mwaactl.errors` and by `mwaactl --help`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mwaactl.cli import lineage as lineage_cli
from mwaactl.cli import recovery as recovery_cli
from mwaactl.cli.session import (
    CwdOption,
    DryRunOption,
    ForceOption,
    JsonOption,
    LeadOption,
    ReasonOption,
    StackOption,
    YesOption,
    busy,
    colour_named,
    console,
    open_deployment,
    print_json,
    session,
)
from mwaactl.errors import CheckFailed, Unfinished

if TYPE_CHECKING:
    from mwaactl.switching.write import SwitchPlan, SwitchResult

WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait", help="Then wait until the other side is drained, and make the target's mirrored runs true."
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", help="With --wait: at most so long.", metavar="SECONDS", min=0),
]


class Waiting(NamedTuple):
    """Whether to wait for the drain, and at most how many seconds."""

    wanted: bool
    timeout: float | None


EXIT_CODES = (
    "Exit codes: 0 done or nothing to do; 1 a check failed or you said no, nothing was written (audit: "
    "it found something); 2 wrong usage; 3 another writer was first; 4 Pulumi or AWS cannot be reached or "
    "refused; 5 only partly done, or not known; 6 stack or parameter unusable."
)

app = typer.Typer(
    help="Move the scheduled work of a stack between its blue and green Airflow, and see who has it.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
dags_app = typer.Typer(help="The DAG files of all environments.", no_args_is_help=True)
app.add_typer(dags_app, name="dags")


@app.command()
def status(stack: StackOption = None, cwd: CwdOption = None, as_json: JsonOption = False) -> None:
    """Who owns the work since when, how both environments are, and what a switch would say."""
    from mwaactl.switching.status import status as look

    with session(as_json), busy("Looking at both environments", as_json):
        deployment = open_deployment(stack, cwd)
        seen = look(deployment)
    if as_json:
        print_json(seen)
    else:
        from mwaactl.screens.status import show_status

        show_status(console(), seen)


@app.command()
def switch(
    target: Annotated[str, typer.Argument(help="blue or green", metavar="blue|green")],
    stack: StackOption = None,
    cwd: CwdOption = None,
    dag: Annotated[
        list[str] | None,
        typer.Option(
            help="Move only this DAG; may be repeated. All others stay where they are.", metavar="NAME"
        ),
    ] = None,
    lead: LeadOption = None,
    reason: ReasonOption = "",
    force: ForceOption = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="First copy pause state and pools to the target.")
    ] = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let the target execute every scheduled run due from an instant on; earlier ones drain where they are.

    Checks first; a check that fails stops it before anything is written. DAGs that must not overlap
    themselves stay until they are idle: with --wait, or the same command later, they follow. If the target
    owns the work already, nothing changes and the exit code is 0.
    """
    from mwaactl.switching.write import plan

    def look() -> SwitchPlan:
        colour = colour_named(target)
        deployment = open_deployment(stack, cwd)
        return plan(
            deployment,
            colour,
            dags=dag or None,
            lead=lead,
            force=force or (),
            sync=sync and not dry_run,
        )

    if sync and dry_run and not as_json:
        typer.echo("A dry run copies nothing (--sync): the checks show what differs now.", err=True)
    waiting = Waiting(wait, timeout)
    _move(look, reason=reason, dry_run=dry_run, yes=yes, as_json=as_json, waiting=waiting)


@app.command()
def rollback(
    stack: StackOption = None,
    cwd: CwdOption = None,
    lead: LeadOption = None,
    reason: ReasonOption = "",
    force: ForceOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Switch back to the environment that owned the work before the one that owns it now.

    A switch like any other, with the same checks. A second rollback leads forward again: to repeat one
    that was interrupted, name the target (mwaactl switch).
    """
    from mwaactl.switching.write import plan_rollback

    def look() -> SwitchPlan:
        deployment = open_deployment(stack, cwd)
        return plan_rollback(deployment, lead=lead, force=force or ())

    waiting = Waiting(wait, timeout)
    _move(look, reason=reason, dry_run=dry_run, yes=yes, as_json=as_json, waiting=waiting)


@app.command()
def active(stack: StackOption = None, cwd: CwdOption = None) -> None:
    """Print the colour that owns the runs due now: one word, for scripts."""
    from mwaactl.ownership.parameter import aws_now

    with session(False):
        deployment = open_deployment(stack, cwd)
        ownership = deployment.ownership
        snapshot = ownership.read()
        typer.echo(snapshot.timeline.owner(aws_now(snapshot, ownership.lead)))


@app.command()
def history(stack: StackOption = None, cwd: CwdOption = None, as_json: JsonOption = False) -> None:
    """Who decided what, when and why, newest first; writes that lost a race included."""
    with session(as_json), busy("Reading the history", as_json):
        deployment = open_deployment(stack, cwd)
        seen = deployment.ownership.history()
    if as_json:
        print_json(seen)
    else:
        from mwaactl.screens.status import show_history

        show_history(console(), seen)


@dags_app.command("push")
def dags_push(
    folder: Annotated[
        Path | None,
        typer.Argument(help="The folder of DAGs; default: dags/ of the project.", metavar="[DIR]"),
    ] = None,
    stack: StackOption = None,
    cwd: CwdOption = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Also remove from the buckets what is not in the folder.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upload one folder to the buckets of all environments: new and changed files, after a syntax check."""
    from mwaactl.dag_files import push
    from mwaactl.stack import find_project

    with session(as_json):
        source = folder if folder is not None else find_project(cwd) / "dags"
        with busy("Comparing" if dry_run else "Uploading", as_json):
            deployment = open_deployment(stack, cwd)
            done = push(deployment, source, delete=delete, dry_run=dry_run)
        if not as_json:
            from mwaactl.screens.status import show_push

            show_push(console(), done)
        if done.behind:
            raise_behind = Unfinished(
                f"{', '.join(done.behind)} is behind. Both sides must have the same DAGs; repeat: "
                f"mwaactl dags push {source} -s {deployment.name}" + (" --delete" if delete else "")
            )
            if as_json:
                print_json(done, error=raise_behind)
                raise typer.Exit(raise_behind.exit_code)
            raise raise_behind
    if as_json:
        print_json(done)


recovery_cli.register(app)
lineage_cli.register(app)


def main() -> None:
    app()


def _move(
    look: Callable[[], SwitchPlan], *, reason: str, dry_run: bool, yes: bool, as_json: bool, waiting: Waiting
) -> None:
    """Plan, show the checks, ask, write, show the result; with --wait, follow the drain to its end."""
    from mwaactl.switching import write as operation

    with session(as_json):
        with busy("Checking", as_json):
            made = look()
        if not as_json:
            from mwaactl.screens import switch as screens
            from mwaactl.screens.common import show_checks

            show_checks(console(), made.checks)
        if not made.ok:
            _check_failed(made, as_json)
        if dry_run:
            done = operation.dry_run(made)
        else:
            if not (made.already or yes or as_json) and sys.stdin.isatty():
                typer.confirm(_question(made), abort=True)
            done = _written(made, reason, as_json)
        if not as_json:
            screens.show_switch(console(), done, made.deployment.stack, waiting=waiting.wanted)
        if waiting.wanted and not dry_run:
            _wait(made, done, waiting.timeout, as_json)
        elif as_json:
            print_json(done)


def _written(made: SwitchPlan, reason: str, as_json: bool) -> SwitchResult:
    from mwaactl.switching import write as operation

    try:
        with busy("Writing", as_json):
            return operation.carry_out(made, reason=reason)
    except KeyboardInterrupt as error:
        raise Unfinished(
            f"interrupted while writing: see `mwaactl status -s {made.deployment.name}` for what stands. "
            f"It is safe to say again: mwaactl switch {made.target} -s {made.deployment.name}"
        ) from error


def _wait(made: SwitchPlan, done: SwitchResult, timeout: float | None, as_json: bool) -> None:
    """Follow until the other side is drained; ends with exit code 5 if it is not."""
    from mwaactl.screens import switch as screens
    from mwaactl.switching.drain import DrainProgress, SwitchAndDrainResult, wait_until_drained

    screen = console()
    state, told = DrainProgress(target=made.target, source=made.source, dags=made.dags), ""

    def changed(now: DrainProgress) -> None:
        nonlocal state, told
        state = now
        if not (as_json or screen.is_terminal) and (line := screens.following(now)) != told:
            screen.print(line, markup=False, highlight=False, soft_wrap=True)
            told = line

    error = None
    try:
        with screens.drawn(screen, lambda: state, on=screen.is_terminal and not as_json):
            state = wait_until_drained(
                made.deployment, made.target, dags=made.dags, timeout=timeout, on_change=changed
            )
    except KeyboardInterrupt:
        error = "interrupted"
    if error is None and not state.finished:
        error = f"not within {timeout:g} s" if timeout is not None else "not finished"
    unfinished = error and Unfinished(
        f"{error}: {screens.following(state)}. What was written stands; go on with: "
        f"{screens.go_on(made.deployment.stack, made.target, made.dags)}"
    )
    if as_json:
        print_json(SwitchAndDrainResult(**dict(done), followed=state), error=unfinished or None)
        if unfinished:
            raise typer.Exit(unfinished.exit_code)
        return
    if unfinished:
        raise unfinished
    screens.show_drain(screen, state)


def _question(made: SwitchPlan) -> str:
    what = ", ".join(made.moving) or "the work"
    return f"Move {what} of {made.deployment.name} from {made.current.owner} to {made.target}?"


def _check_failed(made: SwitchPlan, as_json: bool) -> None:
    from mwaactl.switching.write import dry_run

    failed = [check.name for check in made.checks if check.stops]
    error = CheckFailed(
        f"nothing was written: {', '.join(failed)} failed. Put it right, or go on in spite of it with "
        + " ".join(f"--force {name}" for name in failed)
    )
    if not as_json:
        raise error
    print_json(dry_run(made), error=error)
    raise typer.Exit(error.exit_code)
