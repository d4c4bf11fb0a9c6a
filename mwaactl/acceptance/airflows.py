"""The doctor's lines about one Airflow environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from bluegreen.proof import PROBE
from bluegreen.timeline import Timeline

from mwaactl.acceptance.line import Line
from mwaactl.checks.evidence import proof_by_probe
from mwaactl.checks.fenced import is_fenced
from mwaactl.checks.observation import NO_WEBSERVER, Observation, describe
from mwaactl.checks.probe import ProbeRun, read_probe
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import iso

RUNS = 100  # of the probe, among which one is looked for that was executed
PROVIDER = "apache-airflow-providers-openlineage"
READABLE = "readable"  # what the probe says of secrets (plugins/bluegreen/software.py)


def lines_of(
    deployment: Deployment, side: Observation, timeline: Timeline | None, now: datetime
) -> list[Line]:
    """All lines about one environment."""
    lines = [*_state(deployment, side), _rest(deployment, side), _imports(side)]
    lines.append(_gate(deployment, side, timeline, now))
    lines += _software(deployment, side)
    lines.append(_fence(deployment, side))
    return [line.model_copy(update={"of": side.colour}) for line in lines]


def _state(deployment: Deployment, side: Observation) -> Iterator[Line]:
    look = f"aws mwaa get-environment --name {side.name} --region {deployment.stack.region}"
    if side.status is None:
        yield Line(name="environment", result="fail", detail=side.not_checked["status"], mend=look)
        return
    if side.status == "AVAILABLE":
        yield Line(
            name="environment",
            result="pass",
            detail=f"{side.name} is AVAILABLE, Airflow {side.airflow_version}, {side.environment_class}",
        )
    else:
        yield Line(name="environment", result="fail", detail=f"{side.name} is {side.status}", mend=look)
    expected = deployment.stack.require(side.colour).airflow_version
    if side.airflow_version != expected:
        yield Line(
            name="version",
            result="warn",
            detail=f"it runs Airflow {side.airflow_version}, and the stack's outputs say {expected}",
            mend=f"pulumi refresh -s {deployment.name}",
        )


def _rest(deployment: Deployment, side: Observation) -> Line:
    if side.status in NO_WEBSERVER:
        return Line(name="rest-api", result="unknown", detail=f"it is {side.status}: it has no web server")
    if reason := next((side.not_checked[f] for f in ("scheduler", "dags") if f in side.not_checked), None):
        if side.private:
            detail = f"its web server is private, and cannot be reached from here: {reason}"
            return Line(name="rest-api", result="unknown", detail=detail, mend="run mwaactl inside the VPC")
        mend = f"pulumi stack output operator_policies --json -s {deployment.name}"
        return Line(name="rest-api", result="fail", detail=reason, mend=mend)
    if side.scheduler != "healthy":
        detail = f"it answers, and reports its scheduler as {side.scheduler}"
        mend = f"aws logs tail airflow-{side.name}-Scheduler --since 1h --region {deployment.stack.region}"
        return Line(name="rest-api", result="fail", detail=detail, mend=mend)
    return Line(name="rest-api", result="pass", detail=f"it answers; {_path_form(deployment, side)}")


def _path_form(deployment: Deployment, side: Observation) -> str:
    """Which form of a path this environment takes, found out with the name of a run: it has `+` and `:`."""
    api = deployment.airflow(side.colour)
    try:
        newest = next(iter(api.newest_runs(PROBE, 1)), None)
        if newest is not None:
            api.run_like(newest, newest.run_id)
    except Unreachable as error:
        return f"which form of path it takes is not known: {error}"
    form = api.path_form
    return f"it takes {form} names in paths" if form else "which form of path it takes is not known yet"


def _imports(side: Observation) -> Line:
    if side.import_errors is None:
        return Line(name="import-errors", result="unknown", detail=side.not_checked["import_errors"])
    if side.import_errors:
        first = side.import_errors[0]
        detail = f"{len(side.import_errors)}, the first in {first.file}: {first.message}"
        return Line(name="import-errors", result="fail", detail=detail, mend="mwaactl dags push")
    return Line(name="import-errors", result="pass", detail="none")


def _gate(deployment: Deployment, side: Observation, timeline: Timeline | None, now: datetime) -> Line:
    if timeline is None:
        return Line(name="gate", result="unknown", detail="the ownership cannot be read")
    proof = proof_by_probe(side, timeline, now, deployment.stack.probe_period)
    region = deployment.stack.region
    mend = f"aws logs tail airflow-{side.name}-Task --filter-pattern bluegreen --since 1h --region {region}"
    if proof.wrong is not None or proof.at is None:
        detail = proof.wrong or f"not proven: {proof.missing}"
        return Line(name="gate", result="fail", detail=detail, mend=mend)
    shown = f"its probe due {iso(proof.at)} was {proof.how}"
    if proof.weak is not None:
        return Line(name="gate", result="warn", detail=f"{shown}; {proof.weak}", mend=mend)
    return Line(name="gate", result="pass", detail=shown)


# --- what the probe's task reports of its process ---


def _software(deployment: Deployment, side: Observation) -> Iterator[Line]:
    again = f"mwaactl rehearse -s {deployment.name}"
    if len(deployment.stack.airflow_environments) == 1:
        again = ""  # the only environment owns the work: its probe is executed in each period
    try:
        run, why = _newest_report(deployment, side)
    except Unreachable as error:
        run, why = None, str(error)
    if run is None or run.report is None:
        yield _provider(deployment, side, why, again)
        yield Line(name="requirements", result="unknown", detail=why, mend=again)
        yield Line(name="secrets", result="unknown", detail=why, mend=again)
        return
    report, when = run.report, f"by the probe due {iso(run.due)}"
    yield _openlineage(deployment, report, when)
    yield _requirements(deployment, side, report, when)
    yield _secrets(deployment, report, when)


def _newest_report(deployment: Deployment, side: Observation) -> tuple[ProbeRun | None, str]:
    """The newest run of the probe that was executed there since its last update; else None and why."""
    if side.status in NO_WEBSERVER:
        return None, f"it is {side.status}"
    runs = read_probe(deployment.airflow(side.colour), RUNS)
    executed = next((run for run in runs if run.report is not None), None)
    if executed is None:
        return None, f"none of the newest {len(runs)} runs of {PROBE} was executed there, so none reports it"
    update = describe(deployment.clients, deployment.stack.require(side.colour)).get("LastUpdate") or {}
    begun = update.get("CreatedAt")
    if begun is not None and (executed.started or executed.due) < begun:
        return None, f"no run of {PROBE} was executed there since the update of {iso(begun)}"
    if "installed" not in (executed.report or {}):
        return None, f"the probe due {iso(executed.due)} does not report it"
    return executed, ""


def _openlineage(deployment: Deployment, report: Mapping[str, Any], when: str) -> Line:
    versions = report["installed"]
    if absent := sorted(name for name, version in versions.items() if version is None):
        return Line(
            name="openlineage",
            result="fail",
            detail=f"not installed: {', '.join(absent)} ({when})",
            mend=f"pulumi up -s {deployment.name}",
        )
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Line(name="openlineage", result="pass", detail=f"{shown} ({when})")


def _provider(deployment: Deployment, side: Observation, why: str, mend: str) -> Line:
    """Where no probe reports: what the web server has, of the providers alone."""
    if side.scheduler is None:
        return Line(name="openlineage", result="unknown", detail=why, mend=mend)
    try:
        version = deployment.airflow(side.colour).providers().get(PROVIDER)
    except Unreachable as error:
        return Line(name="openlineage", result="unknown", detail=f"{why}; {error}", mend=mend)
    if version is None:
        detail = f"its web server has no {PROVIDER}"
        return Line(name="openlineage", result="fail", detail=detail, mend=f"pulumi up -s {deployment.name}")
    return Line(name="openlineage", result="pass", detail=f"{PROVIDER} {version}, by its web server")


def _requirements(deployment: Deployment, side: Observation, report: Mapping[str, Any], when: str) -> Line:
    found = report["requirements"]
    if found["failed"]:
        region = deployment.stack.region
        return Line(
            name="requirements",
            result="fail",
            detail=f"{found['failed']} of {found['checked']} are not fulfilled: {'; '.join(found['first'])} "
            f"({when}). MWAA only logs why",
            mend=f"aws logs tail airflow-{side.name}-WebServer --filter-pattern requirements --since 24h "
            f"--region {region}",
        )
    if not found["checked"]:
        detail = f"the probe's file names none ({when})"
        return Line(
            name="requirements", result="unknown", detail=detail, mend=f"pulumi up -s {deployment.name}"
        )
    return Line(name="requirements", result="pass", detail=f"all {found['checked']} are installed ({when})")


def _secrets(deployment: Deployment, report: Mapping[str, Any], when: str) -> Line:
    found = report.get("secrets")
    if found == READABLE:
        return Line(name="secrets", result="pass", detail=f"its tasks may read them ({when})")
    detail = f"its tasks cannot read connections and variables in Secrets Manager: {found} ({when})"
    return Line(name="secrets", result="fail", detail=detail, mend=f"pulumi up -s {deployment.name}")


def _fence(deployment: Deployment, side: Observation) -> Line:
    try:
        fenced = is_fenced(deployment.clients, deployment.stack.require(side.colour))
    except Unreachable as error:
        return Line(name="fence", result="unknown", detail=str(error))
    if fenced:
        detail = "fenced since a failover: its tasks are denied all access to AWS"
        return Line(name="fence", result="fail", detail=detail, mend=f"mwaactl unfence {side.colour}")
    return Line(name="fence", result="pass", detail="none")
