"""An adoption on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from mwaactl.adopt.adopt import Adoption
from mwaactl.screens.common import print_note


def show_adoption(console: Console, result: Adoption) -> None:
    """What would happen next, or how far it has come."""

    def line(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    if result.settings:
        line(f"Settings of {result.environment}, for stack {result.stack}:")
        for path, value in result.settings.items():
            line(f"  {path}: {value}")
        for file in result.files:
            line(f"  file {file}")
    if result.differs:
        line("What stands in the project does not all stay:")
        for each in result.differs:
            line(f"  {each}")
    if result.update:
        line("The one update, which brings in the gate and lineage, also changes:")
        for change in result.update:
            line(f"  {change}")
    for note in result.notes:
        print_note(console, note)
    if result.stage == "updated":
        copied = "" if result.dags is None else f", with its {result.dags} DAG files"
        line(
            f"{result.environment} is blue of {result.stack}{copied}. Look: mwaactl status -s {result.stack}"
        )
    elif result.dry_run:
        line(f"Nothing was touched. To do it: {result.command}")
    elif result.stage == "imported" and not result.update:
        line(f"{result.environment} is imported and runs as before. For the one update: {result.command}")


def show_question(console: Console, result: Adoption) -> None:
    """What is asked about: the import, or the update."""
    show_adoption(console, result)
    if result.stage == "imported":
        console.print(
            "An update takes 20-30 minutes, in which the environment starts no task, and ends those that "
            "run. It begins when you answer yes.",
            highlight=False,
            soft_wrap=True,
        )
