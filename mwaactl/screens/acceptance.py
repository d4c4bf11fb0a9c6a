"""How a rehearsal looks in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mwaactl.acceptance.rehearsal import Rehearsal, Step
from mwaactl.screens.common import MARKS, show_checks

STEP_MARKS = {"pass": MARKS["pass"], "fail": MARKS["fail"], "skipped": ("-", "yellow")}
WIDTH = 15  # of the longest name of a step


def show_step(console: Console, step: Step) -> None:
    """One line, as soon as the step is taken."""
    mark, colour = STEP_MARKS[step.result]
    line = Text.assemble((mark, colour), f" {step.name:{WIDTH}} ", step.detail)
    console.print(line, soft_wrap=True)


def show_rehearsal(console: Console, result: Rehearsal) -> None:
    """The end of a rehearsal, whose steps have been shown."""
    show_checks(
        console, [check for check in (*result.checks, *result.checks_back) if check.stops or check.forced]
    )
    if result.dry_run:
        show_checks(console, [check for check in result.checks if not check.stops])
        console.print("Nothing was written: a rehearsal would make these checks first.", soft_wrap=True)
    elif result.ok:
        console.print(
            f"A switch to {result.other} and back works here. Only the probe has moved, and it is on "
            f"{result.home} again.",
            highlight=False,
            soft_wrap=True,
        )
