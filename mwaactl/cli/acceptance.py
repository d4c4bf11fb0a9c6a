"""The commands that show whether a deployed stack works: rehearse and doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.lineage import ToOption
from mwaactl.cli.options import (
    CwdOption,
    DryRunOption,
    ForceOption,
    JsonOption,
    ReasonOption,
    StackOption,
    seconds,
)
from mwaactl.cli.session import busy, console, open_deployment, session
from mwaactl.errors import CheckFailed

if TYPE_CHECKING:
    from mwaactl.acceptance.rehearsal import Rehearsal


def register(app: typer.Typer) -> None:
    """Add these commands to `mwaactl`."""
    app.command(short_help="Rehearse a switch with the gate probe alone.")(rehearse)
    app.command(short_help="Look whether everything about the deployed stack works.")(doctor)


def rehearse(
    stack: StackOption = None,
    cwd: CwdOption = None,
    reason: ReasonOption = "",
    force: ForceOption = None,
    timeout: Annotated[
        float | None,
        seconds("--timeout", "Limit of each wait; default: two periods of the probe and two minutes."),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Move the gate probe to the other side and back with all checks, then audit it. No DAG of yours moves.

    It takes up to two periods of the probe (gate_probe_minutes). The probe comes home whatever fails. After
    an interruption, the same command goes on or brings it home. The exit code is 1 if a check or a proof
    failed.
    """
    from mwaactl.acceptance import rehearsal
    from mwaactl.screens.acceptance import show_rehearsal, show_step

    with session(as_json):
        screen, progress = console(), console(stderr=True)
        quiet = as_json or not progress.is_terminal
        with progress.status("Rehearsing") as spinner:
            if quiet:
                spinner.stop()
            result = rehearsal.rehearse(
                open_deployment(stack, cwd),
                reason=reason,
                force=tuple(force or ()),
                dry_run=dry_run,
                timeout=timeout,
                on_step=(lambda _: None) if as_json else lambda step: show_step(screen, step),
                on_wait=lambda text: spinner.update(f"Waiting for {text}"),
            )
        finish(result, show_rehearsal, as_json=as_json, error=_error(result))


def doctor(
    stack: StackOption = None,
    cwd: CwdOption = None,
    to: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at everything about the deployed stack that only AWS can show; name the command that mends it.

    ✓ is well, ✗ is wrong, ! is worth a look, ? could not be known. It changes nothing. The exit code is 1 if
    anything is ✗.
    """
    from mwaactl.acceptance.doctor import examine
    from mwaactl.screens.acceptance import show_diagnosis

    with session(as_json):
        with busy("Looking at everything", as_json):
            result = examine(open_deployment(stack, cwd), to=to)
        finish(
            result, show_diagnosis, as_json=as_json, exit_code=CheckFailed.exit_code if result.wrong else 0
        )


def _error(result: Rehearsal) -> CheckFailed | None:
    """What a rehearsal that did not pass exits with."""
    from mwaactl.checks.outcome import checks_failed

    if error := checks_failed(result.checks):
        return error
    failed = [step for step in result.steps if step.result == "fail"]
    if not failed:
        return None
    named = "; ".join(f"{step.name}: {step.detail}" for step in failed)
    return CheckFailed(f"the rehearsal failed, and the probe is on {result.home} again. {named}")
