"""The recovery commands: audit, failover, unfence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.finish import finish, stop
from mwaactl.cli.options import (
    ColourArgument,
    CwdOption,
    DryRunOption,
    ForceOption,
    JsonOption,
    ReasonOption,
    StackOption,
    YesOption,
)
from mwaactl.cli.session import busy, colour_named, confirm, console, open_deployment, session
from mwaactl.cli.times import past
from mwaactl.errors import CheckFailed, Unfinished, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from mwaactl.recovery.failover import FailoverResult
    from mwaactl.recovery.fence import UnfenceResult


def register(app: typer.Typer) -> None:
    """Add these commands to `mwaactl`."""
    app.command(short_help="Find runs that were not executed exactly once.")(audit)
    app.command(short_help="Emergency: take the work from a side that may be dead.")(failover)
    app.command(short_help="Remove the fence of a failover.")(unfence)


def audit(
    stack: StackOption = None,
    cwd: CwdOption = None,
    since: Annotated[
        str, typer.Option(help="Start of the window: 24h or 7d ago, or an instant.", metavar="AGO|INSTANT")
    ] = "24h",
    until: Annotated[
        str | None, typer.Option(help="End of the window; default: now.", metavar="AGO|INSTANT")
    ] = None,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Execute on the current owner what neither side executed.")
    ] = False,
    lineage: Annotated[
        bool,
        typer.Option("--lineage", help="If one side does not answer, take its runs from the lineage log."),
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find runs that both sides, neither side or the wrong side executed, or that were left unfinished.

    The exit code is 0 without findings, and 1 if findings remain that were not backfilled, or if anything was
    executed without the gate.
    """
    from mwaactl import clock
    from mwaactl.recovery import audit as operation
    from mwaactl.screens.recovery import show_audit

    with session(as_json):
        now = clock.now()
        begin = past(since, now, "--since")
        end = past(until, now, "--until") if until is not None else now
        if begin >= end:
            raise UsageError("--since must be before --until")
        with busy("Comparing the runs of both environments", as_json) as progress:
            deployment = open_deployment(stack, cwd)
            result = operation.audit(deployment, since=begin, until=end, lineage=lineage, progress=progress)
        count = sum(finding.backfill_on is not None for finding in result.findings)
        if backfill and count:
            if not as_json:
                show_audit(console(), result)
            confirm(f"Execute {count} runs now?", yes=yes, as_json=as_json)
            with busy("Starting the missed runs", as_json):
                result = operation.backfill(deployment, result)
        open_findings = CheckFailed.exit_code if result.open or result.ungated else 0
        exit_code = Unfinished.exit_code if result.not_backfilled else open_findings
        finish(result, show_audit, as_json=as_json, exit_code=exit_code)


def failover(
    target: ColourArgument,
    stack: StackOption = None,
    cwd: CwdOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="When the old side may have begun to fail; default: 15m ago, or that of an interrupted "
            "failover.",
            metavar="AGO|INSTANT",
        ),
    ] = None,
    fence: Annotated[
        bool, typer.Option("--fence", help="Deny the old side's execution role all access to AWS.")
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait for processes that may still act on an older ownership: what they start on the "
            "old side runs twice, and what they skip on the target does not run.",
        ),
    ] = False,
    look_back: Annotated[
        str,
        typer.Option(
            help="How long before --since to look for runs that were still at work, if the old side does not "
            "answer: the lineage log is read from then on.",
            metavar="TIME",
        ),
    ] = "24h",
    reason: ReasonOption = "",
    force: ForceOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Emergency: take the work, and what was due recently, from an environment that may be dead.

    What is not known to be completed runs again on the target: at least once. The command can be repeated at
    any time; it continues where it was interrupted.
    """
    from mwaactl import clock
    from mwaactl.checks.outcome import checks_failed
    from mwaactl.recovery.failover import carry_out_failover, dry_run_failover, plan_failover
    from mwaactl.screens.recovery import show_failover, show_plan

    with session(as_json):
        colour = colour_named(target)
        now = clock.now()
        begin = past(since, now, "--since") if since is not None else None
        back = now - past(look_back, now, "--look-back")
        with busy("Reading what was due, at work and completed", as_json) as progress:
            deployment = open_deployment(stack, cwd)
            plan = plan_failover(
                deployment, colour, since=begin, force=force or (), look_back=back, progress=progress
            )
        if not as_json:
            show_plan(console(), plan)
        if error := checks_failed(plan.checks):
            stop(error, lambda: dry_run_failover(plan), as_json=as_json)
        if dry_run:
            result = dry_run_failover(plan)
        else:
            confirm(f"Give all work of {deployment.name} to {colour}?", yes=yes, as_json=as_json)
            with _countdown(as_json) as on_wait:
                result = carry_out_failover(
                    plan, with_fence=fence, wait=not no_wait, reason=reason, on_wait=on_wait
                )
        show = partial(show_failover, stack=deployment.name)
        finish(result, show, as_json=as_json, error=_unfinished(result, deployment.name))


def unfence(
    target: ColourArgument,
    stack: StackOption = None,
    cwd: CwdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the fence of `failover --fence`, so that an environment can reach AWS again."""
    from mwaactl.recovery.fence import unfence as remove_fence

    with session(as_json):
        colour = colour_named(target)
        with busy("Looking for the fence", as_json):
            deployment = open_deployment(stack, cwd)
            result = remove_fence(deployment.clients, deployment.stack.require(colour))
        finish(result, _show_unfence, as_json=as_json)


def _show_unfence(screen: Console, result: UnfenceResult) -> None:
    text = "can reach AWS again" if result.changed else "has no fence: nothing changed"
    screen.print(f"{result.environment} {text}.", highlight=False, soft_wrap=True)


@contextmanager
def _countdown(as_json: bool) -> Iterator[Callable[[float], None]]:
    """A countdown on the screen; in a log, a line a minute."""
    screen = console(stderr=True)
    text = "Waiting until no process acts on an older ownership: {:.0f} s"
    if as_json:
        yield lambda _: None
    elif screen.is_terminal:
        with screen.status("Writing") as status:
            yield lambda remaining: status.update(text.format(remaining))
    else:
        printed: set[int] = set()

        def report(remaining: float) -> None:
            minute = int(remaining // 60)
            if minute not in printed:
                printed.add(minute)
                screen.print(text.format(remaining), highlight=False, soft_wrap=True)

        yield report


def _unfinished(result: FailoverResult, stack: str) -> Unfinished | None:
    if not result.left:
        return None
    first = result.left[0]
    return Unfinished(
        f"{len(result.left)} runs are still open; the first is {first.dag_id} {first.run_id}: "
        f"{first.reason.rstrip('.')}. Repeat: mwaactl failover {result.target} -s {stack}"
    )
