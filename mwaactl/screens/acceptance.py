"""How a rehearsal and the doctor's lines look in a terminal."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.text import Text

from mwaactl.acceptance.doctor import Diagnosis
from mwaactl.acceptance.rehearsal import Rehearsal, Step
from mwaactl.screens.common import MARKS, show_checks

STEP_MARKS = {"pass": MARKS["pass"], "fail": MARKS["fail"], "skipped": ("-", "yellow")}
WIDTH = 15  # of the longest name of a step
LINE_MARKS = {
    **{result: MARKS[result] for result in ("pass", "warn", "fail")},
    "unknown": MARKS["not checked"],
}
LINE_WIDTH = 19  # of the longest name of a line


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


def show_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """A line for each; below what is not well, the command that mends it."""
    for line in diagnosis.lines:
        mark, colour = LINE_MARKS[line.result]
        text = Text.assemble((mark, colour), f" {line.of or '':5} {line.name:{LINE_WIDTH}} ", line.detail)
        console.print(text, soft_wrap=True)
        if line.mend and line.result != "pass":
            console.print(Text(f"        {line.mend}", style="bold"), soft_wrap=True)
    counts = Counter(line.result for line in diagnosis.lines)
    console.print(
        f"\n{counts['pass']} well, {counts['fail']} wrong, {counts['warn']} to look at, "
        f"{counts['unknown']} unknown",
        highlight=False,
    )
