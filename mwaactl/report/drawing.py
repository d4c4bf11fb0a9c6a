"""The pictures of a report, as SVG without script.

Each outcome has a fill and a mark of its own, so that a black-and-white print tells them apart, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import drawsvg as draw  # type: ignore[import-untyped]
from bluegreen.timeline import COLOURS, Colour

from mwaactl.report.facts import Band, Bar, Outcome, Scene

WIDTH, LABELS, RIGHT = 1100, 230, 12  # pixels
ROW, BAR = 15, 11  # height of a line, and of a bar in it
AXIS = 22
FONT = "sans-serif"
MOST_DAGS = 40  # of a scene: those with findings first
SIDES: dict[Colour | None, str] = {"blue": "#2f6fd0", "green": "#2c8a4b", None: "#999999"}
STEPS = tuple(
    timedelta(minutes=m) for m in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200)
)


class Style(NamedTuple):
    """How an outcome is drawn: filled or hollow, and the mark in it."""

    filled: bool
    mark: str
    colour: str | None = None  # None: the side's own
    dashed: bool = False


STYLES: dict[Outcome, Style] = {
    "executed": Style(True, ""),
    "retried": Style(True, "↻"),
    "failed": Style(True, "✕", "#b3261e"),
    "skipped mirror": Style(False, "", None, dashed=True),
    "unfinished": Style(False, "…"),
}


def ownership(common: Sequence[Band], single: Mapping[str, Sequence[Band]]) -> str:
    """A band for all DAGs, and one for each DAG that was apart from them."""
    rows: list[tuple[str, Sequence[Band]]] = [("all DAGs", common), *single.items()]
    begin, end = common[0].begin, common[-1].end
    picture = _Picture(begin, end, len(rows) * (ROW + 6), "Who owned the runs due at a time")
    for row, (name, bands) in enumerate(rows):
        y = AXIS + row * (ROW + 6)
        picture.label(name, y + ROW - 3)
        for band in bands:
            picture.box(band.begin, band.end, y, ROW, SIDES[band.owner], f"{band.owner or 'nobody'}")
            picture.text_in(band.begin, band.end, y + ROW - 3, band.owner or "nobody")
    return picture.svg()


def gantt(scene: Scene) -> tuple[str, int]:
    """Each DAG's runs of both sides, one line a side; and how many DAGs there was no room for."""
    by_dag: dict[str, list[Bar]] = {}
    for bar in scene.bars:
        by_dag.setdefault(bar.dag_id, []).append(bar)
    order = sorted(by_dag, key=lambda dag: (all(bar.finding is None for bar in by_dag[dag]), dag))
    shown = sorted(order[:MOST_DAGS])
    height = len(shown) * (2 * ROW + 6)
    picture = _Picture(scene.begin, scene.end, height, "Runs of both sides around a switch")
    for row, dag_id in enumerate(shown):
        y = AXIS + row * (2 * ROW + 6)
        picture.label(dag_id, y + ROW + 3)
        for line, side in enumerate(COLOURS):
            picture.line(y + line * ROW + ROW / 2)
            for bar in by_dag[dag_id]:
                if bar.side == side:
                    picture.bar(bar, y + line * ROW)
    for at in scene.switches:
        picture.mark(at)
    return picture.svg(), len(order) - len(shown)


def legend() -> str:
    """The outcomes, as they are drawn."""
    picture = draw.Drawing(WIDTH, 20, font_family=FONT)
    x = 0
    for outcome in STYLES:
        _rectangle(picture, x, 4, 26, STYLES[outcome], "#2f6fd0", outcome)
        picture.append(draw.Text(outcome, 11, x + 32, 14))
        x += 130
    _ring(picture, x, 4, 26)
    picture.append(draw.Text("finding of the audit", 11, x + 36, 14))
    return _static(picture)


class _Picture:
    """A drawing with a time axis at its top and labels on its left."""

    def __init__(self, begin: datetime, end: datetime, height: int, title: str) -> None:
        self._begin, self._end, self._height = begin, max(end, begin + timedelta(seconds=1)), height
        self._drawing = draw.Drawing(WIDTH, AXIS + height + 4, font_family=FONT)
        self._drawing.append_title(title)
        self._axis()

    def _x(self, at: datetime) -> float:
        share = (min(max(at, self._begin), self._end) - self._begin) / (self._end - self._begin)
        return LABELS + share * (WIDTH - LABELS - RIGHT)

    def _axis(self) -> None:
        step = next((each for each in STEPS if (self._end - self._begin) / each <= 10), STEPS[-1])
        form = "%H:%M" if step < timedelta(days=1) else "%m-%d"
        day = self._begin.replace(hour=0, minute=0, second=0, microsecond=0)
        at = day + ((self._begin - day) // step + 1) * step
        while at < self._end:
            x = self._x(at)
            self._drawing.append(draw.Line(x, AXIS - 6, x, AXIS + self._height, stroke="#dddddd"))
            midnight = step < timedelta(days=1) and (at.hour, at.minute) == (0, 0)
            text = f"{at:%m-%d}" if midnight else f"{at:{form}}"
            self._drawing.append(draw.Text(text, 10, x, AXIS - 10, text_anchor="middle", fill="#555555"))
            at += step

    def label(self, text: str, y: float) -> None:
        short = text if len(text) <= 36 else f"{text[:17]}…{text[-18:]}"
        label = draw.Text(short, 11, LABELS - 8, y, text_anchor="end")
        label.append_title(text)
        self._drawing.append(label)

    def line(self, y: float) -> None:
        self._drawing.append(draw.Line(LABELS, y, WIDTH - RIGHT, y, stroke="#eeeeee"))

    def box(self, begin: datetime, end: datetime, y: float, height: float, fill: str, what: str) -> None:
        x, right = self._x(begin), self._x(end)
        box = draw.Rectangle(x, y, max(1.0, right - x), height, fill=fill)
        box.append_title(f"{what}, {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC")
        self._drawing.append(box)

    def text_in(self, begin: datetime, end: datetime, y: float, text: str) -> None:
        """If there is room."""
        x, right = self._x(begin), self._x(end)
        if right - x > 8 * len(text):
            self._drawing.append(draw.Text(text, 11, (x + right) / 2, y, text_anchor="middle", fill="white"))

    def bar(self, bar: Bar, y: float) -> None:
        x = self._x(bar.begin)
        width = max(4.0, self._x(bar.end) - x)
        style = STYLES[bar.outcome]
        what = (
            f"{bar.dag_id} on {bar.side}, due {bar.due:%Y-%m-%d %H:%M:%S} UTC: {bar.outcome}, "
            f"{bar.begin:%H:%M:%S} to {bar.end:%H:%M:%S}"
        )
        _rectangle(self._drawing, x, y + 2, width, style, SIDES[bar.side], what)
        if bar.finding is not None:
            _ring(self._drawing, x, y + 2, width)

    def mark(self, at: datetime) -> None:
        """A switch."""
        x = self._x(at)
        line = draw.Line(
            x, AXIS - 8, x, AXIS + self._height, stroke="#000000", stroke_width=1.5, stroke_dasharray="4 2"
        )
        line.append_title(f"switch at {at:%Y-%m-%d %H:%M:%S} UTC")
        self._drawing.append(line)

    def svg(self) -> str:
        return _static(self._drawing)


def _rectangle(
    drawing: draw.Drawing, x: float, y: float, width: float, style: Style, side: str, what: str
) -> None:
    colour = style.colour or side
    box = draw.Rectangle(
        x,
        y,
        width,
        BAR,
        fill=colour if style.filled else "white",
        stroke=colour,
        **({"stroke_dasharray": "2 2"} if style.dashed else {}),
    )
    box.append_title(what)
    drawing.append(box)
    if style.mark:
        middle = x + width / 2
        fill = "white" if style.filled and width > 9 else "black"
        drawing.append(draw.Text(style.mark, 10, middle, y + 9, text_anchor="middle", fill=fill))


def _ring(drawing: draw.Drawing, x: float, y: float, width: float) -> None:
    drawing.append(
        draw.Rectangle(x - 3, y - 2, width + 6, BAR + 4, fill="none", stroke="#b3261e", stroke_width=2)
    )


def _static(drawing: draw.Drawing) -> str:
    """SVG for the inside of a page, as wide as the page allows."""
    text: str = drawing.as_svg(header="")
    return text[text.index("<svg") :].replace("<svg", '<svg class="drawing" role="img"', 1)
