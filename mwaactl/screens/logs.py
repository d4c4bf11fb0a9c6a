"""How an environment's log looks in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mwaactl.json_model import iso
from mwaactl.logs import Attempt, LogEvent

STYLES = {"DEBUG": "dim", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


def show_event(console: Console, event: LogEvent) -> None:
    """One line, or more if the message has more: when, where, how bad, what."""
    console.print(
        Text.assemble(
            (iso(event.at), "dim"),
            " ",
            (_place(event.stream, event.task), "cyan"),
            f" {event.level or '-'} ",
            (event.message, STYLES.get(event.level or "", "")),
        ),
        soft_wrap=True,
    )


def _place(stream: str, task: Attempt | None) -> str:
    if task is None:
        return stream
    index = f"[{task.map_index}]" if task.map_index >= 0 else ""
    return f"{task.dag_id}.{task.task_id}{index} {task.run_id} #{task.attempt}"
