"""The commands that move work between the environments: switch and rollback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mwaactl.cli.finish import finish, stop
from mwaactl.cli.options import (
    CanaryOption,
    CanaryPercentOption,
    ColourArgument,
    CwdOption,
    DryRunOption,
    ForceOption,
    JsonOption,
    LeadOption,
    ReasonOption,
    SoakOption,
    StackOption,
    TimeoutOption,
    WaitOption,
    YesOption,
)
from mwaactl.cli.session import busy, colour_named, confirm, console, open_deployment, session
from mwaactl.cli.times import duration
from mwaactl.errors import ControlError, LostRace, Unfinished, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from bluegreen.timeline import Colour

    from mwaactl.canary.away import Step
    from mwaactl.canary.progressive import Canary
    from mwaactl.canary.soak import Soak
    from mwaactl.deployment import Deployment
    from mwaactl.switching.drain import DrainProgress
    from mwaactl.switching.plan import SwitchPlan
    from mwaactl.switching.write import SwitchResult


def register(app: typer.Typer) -> None:
    """Add these commands to `mwaactl`."""
    app.command(short_help="Move the scheduled work to the other environment.")(switch)
    app.command(short_help="Move the work back to its previous owner.")(rollback)


class First(NamedTuple):
    """The DAGs that have moved before the rest, step by step."""

    deployment: Deployment
    target: Colour
    steps: tuple[Step, ...]
    force: Sequence[str]


class Execution(NamedTuple):
    """How to carry out a planned switch. `timeout` of the wait in seconds; None: no limit."""

    reason: str
    dry_run: bool
    yes: bool
    as_json: bool
    wait: bool
    timeout: float | None
    first: First | None = None

    @property
    def beside(self) -> dict[str, Any]:
        """What the JSON has of the first DAGs."""
        from mwaactl.canary.away import beside

        return beside(self.first.steps) if self.first is not None else {}

    @contextmanager
    def before_the_rest(self) -> Iterator[None]:
        """What ends the command here says that the first DAGs have moved, and how to take them back."""
        if self.first is None:
            yield
            return
        from mwaactl.canary.away import Away

        try:
            yield
        except (LostRace, Unfinished) as error:  # these say how to go on
            error.beside |= self.beside
            raise
        except (ControlError, KeyboardInterrupt, typer.Abort) as error:
            raise Away(str(error) or "interrupted", *self.first) from error


def switch(
    target: ColourArgument,
    stack: StackOption = None,
    cwd: CwdOption = None,
    dag: Annotated[
        list[str] | None,
        typer.Option(help="Move only this DAG; may be repeated. All others stay.", metavar="NAME"),
    ] = None,
    lead: LeadOption = None,
    reason: ReasonOption = "",
    force: ForceOption = None,
    hold: Annotated[
        list[str] | None,
        typer.Option(
            help="This DAG must not overlap itself: it moves once it is idle; may be repeated.",
            metavar="NAME",
        ),
    ] = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="First copy pause state and pools to the target.")
    ] = False,
    canary: CanaryOption = None,
    canary_percent: CanaryPercentOption = None,
    soak: SoakOption = "30m",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give the target every scheduled run that is due after the switch; earlier runs finish where they are.

    Checks run first; a failed check stops the switch before anything is written. DAGs that must not overlap
    themselves stay until they are idle: with --wait, or by repeating the command later, they move too. If the
    target already owns the work, nothing changes and the exit code is 0.
    """
    from mwaactl.switching.plan import plan

    def look() -> SwitchPlan:
        colour = colour_named(target)
        deployment = open_deployment(stack, cwd)
        copying = sync and not dry_run
        chosen = dag or None
        return plan(
            deployment, colour, dags=chosen, lead=lead, force=force or (), hold=hold or (), sync=copying
        )

    if sync and dry_run and not as_json:
        typer.echo("A dry run copies nothing (--sync): the checks show the present differences.", err=True)
    how = Execution(reason, dry_run, yes, as_json, wait, timeout)
    first = CanaryOptions(canary or (), canary_percent, soak, force or (), bool(dag), hold or (), lead)
    if first.given:
        how = how._replace(first=_move_first(look, how, first))
    move(look, how)


class CanaryOptions(NamedTuple):
    """The options about the first DAGs, as they were typed. `alone`: with --dag."""

    names: Sequence[str]
    percent: str | None
    soak: str
    force: Sequence[str]
    alone: bool = False
    hold: Sequence[str] = ()
    lead: float | None = None

    @property
    def given(self) -> bool:
        """Whether some go first. An empty percentage is one that cannot be meant."""
        return bool(self.names) or self.percent is not None

    def parsed(self) -> Canary:
        """Raises UsageError."""
        from mwaactl.canary.progressive import Canary

        if self.alone:
            raise UsageError("--dag moves single DAGs and nothing else: leave it out with --canary")
        try:
            percents = () if self.percent is None else tuple(map(int, self.percent.split(",")))
        except ValueError as error:
            raise UsageError(f"--canary-percent must be like 10 or 10,50, not {self.percent!r}") from error
        names = tuple(dict.fromkeys(self.names))
        return Canary(
            dags=names,
            percents=percents,
            soak=duration(self.soak, "--soak"),
            hold=tuple(self.hold),
            lead=self.lead,
        )


def _move_first(look: Callable[[], SwitchPlan], how: Execution, options: CanaryOptions) -> First | None:
    """Move the first DAGs and watch them; None if nothing is to move, or in a dry run."""
    from mwaactl.canary.progressive import moved_before, progress
    from mwaactl.screens.switch import soak_line

    with session(how.as_json):
        canary = options.parsed()
        if how.dry_run:
            return None
        with busy("Checking", how.as_json):
            whole = look()  # what would stop the whole switch is to stop it before
        if whole.continues:  # the rest is there
            return None
        deployment, target = whole.deployment, whole.target
        if there := moved_before(whole.before.timeline, target, canary):
            how = how._replace(first=First(deployment, target, (there,), options.force))
        with how.before_the_rest():
            _stop_if_failed(whole, how)
            question = f"Move the first DAGs of {deployment.name} to {target}?"
            confirm(question, yes=how.yes, as_json=how.as_json)

        def report(seen: Soak, left: timedelta) -> None:
            if not how.as_json:
                console().print(soak_line(seen, left), markup=False, highlight=False, soft_wrap=True)

        steps = progress(deployment, target, canary, force=options.force, reason=how.reason, on_look=report)
        return First(deployment, target, steps, options.force)


def _stop_if_failed(plan: SwitchPlan, how: Execution) -> None:
    """Exit if a check stops the switch; with --json, also print what the switch would do."""
    from mwaactl.canary.away import stands
    from mwaactl.checks.outcome import checks_failed
    from mwaactl.switching.write import dry_run

    if error := checks_failed(plan.checks, stands(how.first.steps if how.first is not None else ())):
        try:
            with how.before_the_rest():
                raise error
        except ControlError as explained:
            stop(explained, lambda: dry_run(plan), as_json=how.as_json)


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
    """Switch back to the environment that owned the work before the current owner.

    A switch like any other, with the same checks. A second rollback switches forward again: to repeat an
    interrupted one, use `mwaactl switch` with the target.
    """
    from mwaactl.switching.plan import plan_rollback

    def look() -> SwitchPlan:
        return plan_rollback(open_deployment(stack, cwd), lead=lead, force=force or ())

    move(look, Execution(reason, dry_run, yes, as_json, wait, timeout))


def move(look: Callable[[], SwitchPlan], how: Execution) -> None:
    """Plan, show the checks, ask, write and show the result; with --wait, follow the drain to its end."""
    from mwaactl.screens.common import show_checks
    from mwaactl.screens.switch import show_switch
    from mwaactl.switching.write import dry_run

    with session(how.as_json):
        with how.before_the_rest(), busy("Checking", how.as_json):
            plan = look()
        if not how.as_json:
            show_checks(console(), plan.checks)
        _stop_if_failed(plan, how)
        result = dry_run(plan) if how.dry_run else _write(plan, how)
        alone = plan.source not in plan.deployment.stack.airflow_environments
        waiting = how.wait and not how.dry_run and not alone  # with one environment there is no drain
        show = partial(show_switch, deployment=plan.deployment, waiting=waiting)
        if not waiting:
            finish(result, show, as_json=how.as_json, beside=how.beside)
            return
        if not how.as_json:
            show(console(), result)
        _wait(plan, result, how)


def _write(plan: SwitchPlan, how: Execution) -> SwitchResult:
    from mwaactl.switching.known import complete
    from mwaactl.switching.write import carry_out

    name = plan.deployment.name
    with how.before_the_rest():
        if not plan.already:
            work = ", ".join(plan.moving) or "the work"
            from mwaactl.ownership.reading import named

            question = f"Move {work} of {name} from {named(plan.current.owner)} to {plan.target}?"
            confirm(question, yes=how.yes, as_json=how.as_json)
        try:
            with busy("Writing", how.as_json):
                result = carry_out(plan, reason=how.reason)
        except KeyboardInterrupt as error:
            raise Unfinished(
                f"interrupted while writing: `mwaactl status -s {name}` shows the outcome. It is safe to "
                f"repeat: mwaactl switch {plan.target} -s {name}"
            ) from error
    if how.wait or not result.changed or plan.dags or plan.watch is None:
        return result  # the drain does it, or there is nothing to know
    with busy("Looking for DAGs that appeared meanwhile", how.as_json):
        notes = complete(plan.deployment, plan.deployment.airflow(plan.source), result.version)
    return result.model_copy(update={"notes": (*result.notes, *notes)})


def _wait(plan: SwitchPlan, result: SwitchResult, how: Execution) -> None:
    """Wait until the other side is drained; exit with code 5 if it is not."""
    from mwaactl.screens.switch import continue_command, progress_line, show_drain
    from mwaactl.switching.drain import SwitchAndDrainResult

    progress, interrupted = _follow_drain(plan, how)
    both = SwitchAndDrainResult(**dict(result), drain=progress)
    if interrupted or not progress.finished:
        limit = "" if how.timeout is None else f" within {how.timeout:g} s"
        why = "interrupted" if interrupted else f"not drained{limit}"
        error = Unfinished(
            f"{why}: {progress_line(progress)}. The switch itself stands. To continue: "
            f"{continue_command(plan.deployment, result)}"
        )
        stop(error, lambda: both, as_json=how.as_json, beside=how.beside)
    show = lambda screen, ended: show_drain(screen, ended.drain)  # noqa: E731
    finish(both, show, as_json=how.as_json, beside=how.beside)


def _follow_drain(plan: SwitchPlan, how: Execution) -> tuple[DrainProgress, bool]:
    """Wait and show the progress; return it, and whether the operator interrupted the wait."""
    from mwaactl.screens.switch import live_progress, progress_line
    from mwaactl.switching.drain import DrainProgress, wait_until_drained

    screen = console()
    progress, printed = DrainProgress(target=plan.target, source=plan.source, dags=plan.dags), ""

    def report(now: DrainProgress) -> None:
        nonlocal progress, printed
        progress = now
        if not (how.as_json or screen.is_terminal) and (line := progress_line(now)) != printed:
            screen.print(line, markup=False, highlight=False, soft_wrap=True)
            printed = line

    drawn = screen.is_terminal and not how.as_json
    try:
        with live_progress(screen, lambda: progress, on=drawn):
            final = wait_until_drained(
                plan.deployment,
                plan.target,
                dags=plan.dags,
                hold=plan.hold,
                force=plan.forced,
                timeout=how.timeout,
                on_change=report,
            )
    except KeyboardInterrupt:
        return progress, True
    return final, False
