"""The commands for when something went wrong: audit, failover, unfence."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.session import (
    CwdOption,
    DryRunOption,
    ForceOption,
    JsonOption,
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
from mwaactl.errors import CheckFailed, Unfinished, UsageError

if TYPE_CHECKING:
    from mwaactl.recovery.failover import FailoverPlan, FailoverResult

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def register(app: typer.Typer) -> None:
    """Give `mwaactl` these commands."""
    for command in (audit, failover, unfence):
        app.command()(command)


def past(text: str, now: datetime, option: str) -> datetime:
    """`15m`, `24h`, `7d` before now, or a time such as 2026-11-23T10:00:00Z; UsageError for anything else."""
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(f"{option} must be like 15m, 24h, 7d or 2026-11-23T10:00:00Z, not {text!r}")
    return found.astimezone(UTC)


def audit(
    stack: StackOption = None,
    cwd: CwdOption = None,
    since: Annotated[
        str, typer.Option(help="How far to look back: 24h, 7d or an instant.", metavar="AGO|INSTANT")
    ] = "24h",
    until: Annotated[
        str | None, typer.Option(help="Only what was due before; default: now.", metavar="AGO|INSTANT")
    ] = None,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Let the owner of now execute what nobody executed.")
    ] = False,
    lineage: Annotated[
        bool,
        typer.Option("--lineage", help="If one side does not answer, take its runs from the lineage log."),
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find scheduled runs that both sides executed, that nobody executed, or that the wrong side did.

    The exit code is 0 if there is nothing to report, 1 if there are findings that nothing was done about.
    """
    from mwaactl import clock
    from mwaactl.recovery import audit as operation
    from mwaactl.screens import recovery as recovery_screens

    with session(as_json):
        now = clock.now()
        begin = past(since, now, "--since")
        end = past(until, now, "--until") if until is not None else now
        if begin >= end:
            raise UsageError("--since must be before --until")
        with busy("Comparing the runs of both environments", as_json) as progress:
            deployment = open_deployment(stack, cwd)
            seen = operation.audit(deployment, since=begin, until=end, lineage=lineage, progress=progress)
        chosen = [one for one in seen.findings if one.backfill_on is not None]
        if backfill and chosen:
            if not as_json:
                recovery_screens.show_audit(console(), seen)
            if not (yes or as_json) and sys.stdin.isatty():
                typer.confirm(f"Execute {len(chosen)} runs now?", abort=True)
            with busy("Starting what nobody executed", as_json):
                seen = operation.backfill(deployment, seen)
    if as_json:
        print_json(seen)
    else:
        recovery_screens.show_audit(console(), seen)
    if seen.not_backfilled:
        raise typer.Exit(Unfinished.exit_code)
    if seen.open:
        raise typer.Exit(CheckFailed.exit_code)


def failover(
    target: Annotated[str, typer.Argument(help="blue or green", metavar="blue|green")],
    stack: StackOption = None,
    cwd: CwdOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="From when on the old side may have failed; default: 15m, or as an interrupted failover.",
            metavar="AGO|INSTANT",
        ),
    ] = None,
    fence: Annotated[
        bool, typer.Option("--fence", help="Deny everything to the old side's execution role.")
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait (5 minutes) for processes that still judge by what they read before: what they "
            "start on the old side is executed twice, what they skip on the target not at all.",
        ),
    ] = False,
    reason: ReasonOption = "",
    force: ForceOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Emergency: take the work, and what was due lately, from an environment that may be dead.

    What is not known as completed is executed again on the target: at least once. To repeat the command is
    safe at any time; it goes on where it was interrupted.
    """
    from mwaactl import clock
    from mwaactl.recovery import failover as operation
    from mwaactl.screens import recovery as recovery_screens

    with session(as_json):
        colour = colour_named(target)
        begin = past(since, clock.now(), "--since") if since is not None else None
        with busy("Looking at what was due and what was completed", as_json) as progress:
            deployment = open_deployment(stack, cwd)
            made = operation.plan(deployment, colour, since=begin, force=force or (), progress=progress)
        if not as_json:
            recovery_screens.show_plan(console(), made)
        if not made.ok:
            _check_failed(made, as_json)
        if dry_run:
            done = operation.dry_run(made)
        else:
            if not (yes or as_json) and sys.stdin.isatty():
                typer.confirm(f"Give all work of {deployment.name} to {colour}?", abort=True)
            with _counting(as_json) as on_wait:
                done = operation.carry_out(
                    made, with_fence=fence, wait=not no_wait, reason=reason, on_wait=on_wait
                )
    _show(done, as_json, deployment.name)


def unfence(
    target: Annotated[str, typer.Argument(help="blue or green", metavar="blue|green")],
    stack: StackOption = None,
    cwd: CwdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let an environment reach AWS again that `failover --fence` has fenced."""
    from mwaactl.recovery import fence as operation

    with session(as_json):
        colour = colour_named(target)
        with busy("Looking for the fence", as_json):
            deployment = open_deployment(stack, cwd)
            done = operation.unfence(deployment.clients, deployment.stack.require(colour))
    if as_json:
        print_json(done)
    elif done.changed:
        console().print(f"{done.environment} may reach AWS again.", highlight=False, soft_wrap=True)
    else:
        console().print(f"{done.environment} has no fence: nothing changed.", highlight=False, soft_wrap=True)


@contextmanager
def _counting(as_json: bool) -> Iterator[Callable[[float], None]]:
    """A countdown on the screen; in a log, a line a minute."""
    screen = console(stderr=True)
    text = "Waiting until no process judges by what it read before: {:.0f} s"
    if as_json:
        yield lambda _: None
    elif screen.is_terminal:
        with screen.status("Writing") as status:
            yield lambda remaining: status.update(text.format(remaining))
    else:
        said: set[int] = set()

        def say(remaining: float) -> None:
            if int(remaining // 60) not in said:
                said.add(int(remaining // 60))
                screen.print(text.format(remaining), highlight=False, soft_wrap=True)

        yield say


def _check_failed(made: FailoverPlan, as_json: bool) -> None:
    from mwaactl.recovery.failover import dry_run

    failed = [check.name for check in made.checks if check.stops]
    error = CheckFailed(
        f"nothing was written: {', '.join(failed)} failed. Put it right, or go on in spite of it with "
        + " ".join(f"--force {name}" for name in failed)
    )
    if not as_json:
        raise error
    print_json(dry_run(made), error=error)
    raise typer.Exit(error.exit_code)


def _show(done: FailoverResult, as_json: bool, stack: str) -> None:
    from mwaactl.screens import recovery as recovery_screens

    error = None
    if done.left:
        error = Unfinished(
            f"{len(done.left)} runs were not brought to an end, first {done.left[0].dag_id} "
            f"{done.left[0].run_id}: {done.left[0].reason.rstrip('.')}. "
            f"Repeat: mwaactl failover {done.target} -s {stack}"
        )
    if as_json:
        print_json(done, error=error)
    else:
        recovery_screens.show_failover(console(), done, stack)
    if error is not None:
        if not as_json:
            with session(False):
                raise error
        raise typer.Exit(error.exit_code)
