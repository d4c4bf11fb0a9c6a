"""What the probe shows of the gate on one side (the DAG: plugins/bluegreen/probe.py)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bluegreen.proof import PERIODS, PROBE, is_ungated, problem
from bluegreen.timeline import Colour, Timeline

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run, TaskInstance
from mwaactl.airflow.notes import has_copied_states
from mwaactl.airflow.rest import NotFound
from mwaactl.json_model import Instant, Model, iso

RUNS = 6  # that are read of each side
LAYERS = ("dag_policy", "task_policy")  # that live in a task's process
WAITING = timedelta(seconds=10)  # a task that has not rendered anything after this waits for its verdict


class ProbeRun(Model):
    """A scheduled run of the probe."""

    due: Instant
    state: str
    skipped: bool = False  # here; it may have the other side's states since
    waiting_since: Instant | None = None  # begin of a task that has a process and rendered nothing
    started: Instant | None = None  # begin of its task, if that has had a process
    report: dict[str, Any] | None = None  # of a task that was executed


class SideProof(Model):
    """What shows that the gate of a side works: the newest run of its probe that does, or what is wrong."""

    at: Instant | None = None  # when that run was due
    how: str = ""  # it was skipped, executed by which layers and routes, or waits for an owner
    wrong: str | None = None  # an execution that should not have taken place
    weak: str | None = None  # a layer that is missing
    missing: str | None = None  # why nothing is proven

    @property
    def proven(self) -> bool:
        return self.at is not None and self.wrong is None


def read_probe(api: AirflowApi, count: int = RUNS) -> tuple[ProbeRun, ...]:
    """The newest scheduled runs of the probe (of `count`), newest first; none if that Airflow has no probe.

    Two calls, one more for every 50 runs. Raises Unreachable.
    """
    try:
        runs = api.newest_runs(PROBE, count)
    except NotFound:
        return ()
    tasks: Mapping[tuple[str, str], Sequence[TaskInstance]] = api.task_instances(runs) if runs else {}
    return tuple(_probe_run(run, run.due, tasks[run.key]) for run in runs if run.due is not None)


def _probe_run(run: Run, due: datetime, tasks: Sequence[TaskInstance]) -> ProbeRun:
    report = next((_report(task) for task in tasks if task.rendered), None)
    copied = has_copied_states(run)  # to a run that was skipped: never to one that was worked on
    states = {task.state for task in tasks}
    at_work = next((task.start for task in tasks if task.started and task.start), None)
    return ProbeRun(
        due=due,
        state=run.state,
        skipped=report is None and (copied or states == {"skipped"}),
        waiting_since=at_work if report is None and not copied and states <= {"running", "failed"} else None,
        started=at_work,
        report=report,
    )


def _report(task: TaskInstance) -> dict[str, Any]:
    text = next(iter(task.rendered.values()))
    try:
        report = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        report = None
    return report if isinstance(report, dict) else {"error": f"unreadable report {text!r}"}


def proof_of(
    colour: Colour, runs: Iterable[ProbeRun], timeline: Timeline, now: datetime, period: timedelta
) -> SideProof:
    """What the runs of the probe on one side prove, by the ownership as it is now."""
    recent = [run for run in runs if now - run.due <= PERIODS * period]
    wrong = next((f"{text} (due {iso(run.due)})" for run in recent if (text := _wrong(run))), None)
    for run in recent:
        if how := _proves(run, colour, timeline, now):
            return SideProof(at=run.due, how=how, wrong=wrong, weak=_weak(run))
    return SideProof(wrong=wrong, missing=_why_not(runs, recent, period))


def _wrong(run: ProbeRun) -> str | None:
    if run.report is None or not is_ungated(run.report):
        return None
    return f"an execution of its probe: {problem(run.report)}"


def _proves(run: ProbeRun, colour: Colour, timeline: Timeline, now: datetime) -> str | None:
    """How a run shows that the gate works; None if it does not."""
    if run.report is not None:
        if problem(run.report) or run.state != "success":
            return None
        routes = ", ".join(run.report.get("routes") or ()) or "an unknown route"
        return f"executed by {run.report['layer']} ({routes}), version {run.report.get('version')}"
    owner = timeline.owner(run.due, PROBE)
    if run.skipped:
        return "skipped" if owner != colour else None
    waits = run.waiting_since is not None and (run.state == "failed" or now - run.waiting_since > WAITING)
    return "not executed, since nobody owns it" if waits and owner is None else None


def _weak(run: ProbeRun) -> str | None:
    if run.report is None:
        return None
    gone = [layer for layer in LAYERS if layer not in (run.report.get("layers") or ())]
    return f"{', '.join(gone)} does not live in the process of its task" if gone else None


def _why_not(runs: Iterable[ProbeRun], recent: Sequence[ProbeRun], period: timedelta) -> str:
    newest = next(iter(runs), None)
    if newest is None:
        return f"it has no run of the DAG {PROBE}"
    if not recent:
        minutes = PERIODS * period.total_seconds() / 60
        return f"its newest run of {PROBE} was due at {iso(newest.due)}, more than {minutes:g} minutes ago"
    detail = ", ".join(f"{run.state}, due {iso(run.due)}" for run in recent)
    if failed := next((text for run in recent if run.report and (text := problem(run.report))), None):
        detail += f"; {failed}"
    return f"no run of {PROBE} shows it yet ({detail})"
