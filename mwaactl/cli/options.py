"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mwaactl.cli.times import LONGEST


def number(
    flag: str, text: str, metavar: str, least: float, most: float, named: str
) -> typer.models.OptionInfo:
    """An option that takes a number from `least` to `most`; `named`: what such a number is."""

    def check(given: float | None) -> float | None:
        """A range lets nan pass."""
        if given is not None and not given <= most:
            raise typer.BadParameter(f"{given:g} is not {named}")
        return given

    option: typer.models.OptionInfo = typer.Option(
        flag, help=text, metavar=metavar, min=least, callback=check
    )
    return option


def seconds(flag: str, text: str, least: float = 0) -> typer.models.OptionInfo:
    """An option that takes seconds, up to what a calendar has."""
    named = f"a number of seconds up to {LONGEST.days} days"
    return number(flag, text, "SECONDS", least, LONGEST.total_seconds(), named)


StackOption = Annotated[
    str | None, typer.Option("--stack", "-s", help="The stack; default: the selected one.", metavar="STACK")
]
CwdOption = Annotated[
    Path | None,
    typer.Option(
        "--cwd",
        "-C",
        help="Folder of the Pulumi project; default: the current folder or one above it.",
        metavar="DIR",
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="AWS profile for the stack, such as one that assumes a role; default: AWS_PROFILE. Pulumi reads "
        "its outputs with its own credentials.",
        metavar="NAME",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would happen; write nothing.")]
LeadOption = Annotated[
    float | None,
    seconds(
        "--lead",
        "Time from now until the target owns the work; default and minimum: the stack's switch_lead_seconds.",
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Recorded in the history.", metavar="TEXT")]
ForceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        help="Continue even if this check fails; may be repeated. Recorded in the history.",
        metavar="CHECK",
    ),
]
YesOption = Annotated[
    bool,
    typer.Option(
        "--yes", "-y", help="Do not ask for confirmation. Nothing is asked without a terminal or with --json."
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait until the other side is drained; copy the final states of what ends to the mirrored runs.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    seconds("--timeout", "With --wait: stop waiting after this long."),
]
CanaryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--canary",
        help="First move only this DAG and watch it there for --soak; may be repeated. If it does badly, it "
        "goes back by itself, and nothing else moves.",
        metavar="NAME",
    ),
]
CanaryPercentOption = Annotated[
    str | None,
    typer.Option(
        "--canary-percent",
        help="First move so many percent of the scheduled DAGs, those due next; 10,50 in two steps.",
        metavar="N[,N]",
    ),
]
SoakOption = Annotated[
    str, typer.Option("--soak", help="How long to watch the first DAGs, in each step.", metavar="30m|2h")
]
ColourArgument = Annotated[str, typer.Argument(help="blue or green", metavar="blue|green")]
