"""A status that is drawn again and again in the same place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from mwaactl import clock
from mwaactl.errors import ControlError
from mwaactl.json_model import iso
from mwaactl.screens.status import show_status
from mwaactl.switching.status import Status


@contextmanager
def live_status(screen: Console, every: float) -> Iterator[Callable[[Status | ControlError], None]]:
    """Draw on the whole terminal while the block runs; the callback takes each look, every so many seconds.

    The last one that succeeded is left on the terminal.
    """
    picture = _Picture(screen, every)
    try:
        with Live(console=screen, get_renderable=picture.draw, refresh_per_second=1, screen=True):
            yield picture.take
    finally:
        picture.leave()


class _Picture:
    """The newest status, and above it when it was taken and what has failed since."""

    def __init__(self, screen: Console, every: float) -> None:
        self._screen, self._every = screen, every
        self._status: Status | None = None
        self._error: tuple[datetime, ControlError] | None = None
        self._looked: datetime | None = None

    def take(self, look: Status | ControlError) -> None:
        self._looked = clock.now()
        if isinstance(look, ControlError):
            self._error = self._looked, look
        else:
            self._status, self._error = look, None

    def draw(self) -> RenderableType:
        heading = self._heading()
        if self._status is None:
            return heading
        # the heading may take several lines, of which each takes one from the status
        room = self._screen.height - len(self._screen.render_lines(heading))
        lines = self._lines(self._status)
        if len(lines) > room:
            hidden = len(lines) - room + 1
            lines = [*lines[: room - 1], Text(f"{hidden} more lines: make the window higher", style="dim")]
        return Group(heading, *lines)

    def leave(self) -> None:
        """Print what was drawn last where the terminal keeps it."""
        if self._status is not None:
            self._screen.print(Text(f"As of {iso(self._status.at)}:", style="dim"))
            show_status(self._screen, self._status)

    def _heading(self) -> Text:
        if self._looked is None:
            return Text("Checking both environments", style="dim")
        wait = max(0.0, self._every - (clock.now() - self._looked).total_seconds())
        text = Text(f"{iso(self._looked)}; the next look in {wait:.0f} s; Ctrl-C ends this", style="dim")
        if self._error is not None:
            at, error = self._error
            what = "" if self._status is None else f" What is below is of {iso(self._status.at)}."
            text.append(f"\nThe look of {iso(at)} failed: {error}.{what}", style="red")
        return text

    def _lines(self, status: Status) -> list[Text]:
        """The status as this terminal shows it, line by line."""
        width = self._screen.width
        paper = Console(
            file=StringIO(),
            width=width,
            force_terminal=True,
            color_system=self._screen.color_system,  # type: ignore[arg-type] # its own names, as a plain str
        )
        with paper.capture() as capture:
            show_status(paper, status)
        return list(Text.from_ansi(capture.get()).wrap(paper, width))
