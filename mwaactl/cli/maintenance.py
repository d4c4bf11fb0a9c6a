"""Amazon's maintenance windows, and the way out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, JsonOption, StackOption, TimeoutOption, YesOption
from mwaactl.cli.session import busy, open_deployment, session
from mwaactl.cli.switch import Execution, move
from mwaactl.cli.times import duration

if TYPE_CHECKING:
    from mwaactl.switching.plan import SwitchPlan


def register(app: typer.Typer) -> None:
    """Add the command to `mwaactl`."""
    app.command(short_help="Show Amazon's next maintenance windows, or move the work out of them.")(
        maintenance
    )


def maintenance(
    stack: StackOption = None,
    cwd: CwdOption = None,
    move_within: Annotated[
        str | None,
        typer.Option(
            help="If a window of the owner begins within this time, or is open, switch to the other side and "
            "wait for the drain. For a scheduler, such as cron.",
            metavar="90m|3h",
        ),
    ] = None,
    timeout: TimeoutOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show when Amazon may next interrupt each environment, for two hours a week, and who owns the work."""
    from bluegreen.timeline import other_colour

    from mwaactl.maintenance import maintenance as look
    from mwaactl.maintenance import reason_of, refuge, refuse_doubtful
    from mwaactl.screens.maintenance import show_maintenance
    from mwaactl.switching.plan import plan

    with session(as_json):
        within = None if move_within is None else duration(move_within, "--move-within")
        with busy("Reading the windows", as_json):
            deployment = open_deployment(stack, cwd)
            state = look(deployment)
        found = None if within is None else refuge(state, within)
        if found is not None:
            refuse_doubtful(deployment, found[0])
        if found is None:
            finish(state, show_maintenance, as_json=as_json)
            return
    target, window = found

    def planned() -> SwitchPlan:
        return plan(deployment, target)

    reason = reason_of(other_colour(target), window)
    move(planned, Execution(reason, dry_run=False, yes=yes, as_json=as_json, wait=True, timeout=timeout))
