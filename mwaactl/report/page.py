"""The report as one HTML page: no script, nothing from elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mwaactl.report import drawing
from mwaactl.report.facts import Facts, Scene

FINDINGS = {
    "both": "executed by both",
    "nobody": "not executed",
    "wrong side": "executed by the wrong side",
    "left unfinished": "left unfinished",
}


def page(facts: Facts) -> str:
    """The page; everything that comes from the stack is escaped."""
    environment = Environment(
        loader=PackageLoader("mwaactl.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["utc"] = _utc
    return environment.get_template("report.html").render(
        facts=facts,
        ownership=Markup(drawing.ownership(facts.common, facts.single)),  # noqa: S704 - drawsvg escapes
        scenes=[_scene(scene) for scene in facts.scenes],
        legend=Markup(drawing.legend()),  # noqa: S704
        findings=FINDINGS,
    )


def _scene(scene: Scene) -> tuple[Scene, Markup, int]:
    picture, left_out = drawing.gantt(scene)
    return scene, Markup(picture), left_out  # noqa: S704


def _utc(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
