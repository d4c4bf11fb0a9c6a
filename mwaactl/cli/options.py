"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StackOption = Annotated[
    str | None, typer.Option("--stack", "-s", help="The stack; default: the selected one.", metavar="STACK")
]
CwdOption = Annotated[
    Path | None,
    typer.Option(
        "--cwd",
        "-C",
        help="Folder of the Pulumi project; default: found from the current one.",
        metavar="DIR",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Look and check, write nothing.")]
LeadOption = Annotated[
    float | None,
    typer.Option(
        "--lead",
        help="From now to the instant from which the target owns; default and minimum: the stack's "
        "switch_lead_seconds.",
        metavar="SECONDS",
        min=0,
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Kept in the history.", metavar="TEXT")]
ForceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        help="Go on although this check fails; may be repeated. Kept in the history.",
        metavar="CHECK",
    ),
]
YesOption = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Do not ask. (Without a terminal, and with --json, nothing is asked.)"),
]
WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Then wait until the other side is drained, and copy its final states to the target's mirrored "
        "runs.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", help="With --wait: stop waiting after this long.", metavar="SECONDS", min=0),
]
ColourArgument = Annotated[str, typer.Argument(help="blue or green", metavar="blue|green")]
