"""What a run of the probe shows of both sides: executed by its owner, skipped by the other side."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bluegreen.proof import PROBE, problem
from bluegreen.timeline import Colour, Timeline

from mwaactl.checks.probe import ProbeRun, read_probe
from mwaactl.deployment import Deployment
from mwaactl.json_model import Instant, Model, iso


class Execution(Model):
    """A run of the probe that its owner executed, and how the gate there judged it."""

    on: Colour
    due: Instant
    layer: str
    routes: tuple[str, ...]
    version: int | None  # of the ownership parameter, by which it was judged
    skipped_on: Colour

    def __str__(self) -> str:
        routes = ", ".join(self.routes) or "an unknown route"
        return (
            f"the run due {iso(self.due)} was executed on {self.on}, judged by {self.layer} ({routes}) by "
            f"version {self.version}, and skipped on {self.skipped_on}"
        )


class WrongRun(Exception):  # noqa: N818 - reads as what happened
    """A run of the probe that shows a gate which does not work; the message says how."""


def execution_since(
    deployment: Deployment, owner: Colour, other: Colour, since: datetime, timeline: Timeline
) -> tuple[Execution | None, str]:
    """The first run due at `since` or later that both sides have finished as they should.

    Else None and what is missing. Raises WrongRun, Unreachable.
    """
    runs = {colour: _due_since(deployment, colour, since) for colour in (owner, other)}
    dues = sorted(due for due in {**runs[owner], **runs[other]} if timeline.owner(due, PROBE) == owner)
    missing = f"no run of {PROBE} due since {iso(since)} is there yet"
    for due in dues:
        here, there = runs[owner].get(due), runs[other].get(due)
        if (pending := _pending_here(here, owner) or _pending_there(there, other)) is not None:
            missing = f"the run due {iso(due)} {pending}"
        elif here is not None and here.report is not None:
            routes = tuple(here.report.get("routes") or ())
            version = here.report.get("version")
            layer = str(here.report["layer"])
            return Execution(
                on=owner, due=due, layer=layer, routes=routes, version=version, skipped_on=other
            ), ""
    return None, missing


def _due_since(deployment: Deployment, colour: Colour, since: datetime) -> dict[datetime, ProbeRun]:
    runs: Iterable[ProbeRun] = read_probe(deployment.airflow(colour))
    return {run.due: run for run in runs if run.due >= since}


def _pending_here(run: ProbeRun | None, owner: Colour) -> str | None:
    """What is still missing of a run on its owner; None if it was executed rightly. Raises WrongRun."""
    if run is None:
        return f"is not on {owner} yet"
    wrong = _wrong(run, owner)
    if wrong is not None:
        raise WrongRun(f"the run due {iso(run.due)} {wrong}")
    return None if run.report is not None and run.state == "success" else f"is {run.state} on {owner}"


def _wrong(run: ProbeRun, owner: Colour) -> str | None:
    if run.report is not None:
        why = problem(run.report)
        return f"failed on {owner}: {why}" if why else None
    if run.skipped:
        return f"was skipped on {owner}, which owns it"
    return f"failed on {owner} before it could report" if run.state == "failed" else None


def _pending_there(run: ProbeRun | None, other: Colour) -> str | None:
    """What is still missing of a run on the side that must skip it. Raises WrongRun."""
    if run is None:
        return f"is not on {other} yet"
    if run.report is not None or (run.state == "failed" and not run.skipped):
        raise WrongRun(f"the run due {iso(run.due)} was also worked on on {other}, which does not own it")
    return None if run.skipped else f"is {run.state} on {other}"
