"""The audit: both sides' scheduled runs, joined by (DAG, due instant), against who owned each instant.

report = audit(deployment, since=now - timedelta(hours=24), until=now)
if report.findings:
    report = backfill(deployment, report)

It covers instants for which at least one side has a run; a run that neither side created is invisible to it.
With `lineage`, the lineage log stands in for a side that does not answer.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run
from mwaactl.airflow.notes import was_rerun
from mwaactl.airflow.rerun import Progress, clear_run, create_run, created_run
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import aws_now
from mwaactl.recovery.completed_by_lineage import LineageLog
from mwaactl.recovery.verdict import Finding, Records, SideRecords, Verdict, judge


class Failure(Model):
    """A run that could not be backfilled."""

    dag_id: str
    due: Instant
    reason: str


class Audit(Model):
    """The report on the runs due in [since, until)."""

    stack: str
    since: Instant
    until: Instant
    instants: int  # (DAG, due instant) pairs for which a side has a run
    unfinished: int  # of them: not executed yet, or still running
    failed: int  # of them: executed by their owner, and failed there
    unknown: int  # of them: their owner does not answer, and the lineage log has no record of them
    by_lineage: dict[Colour, str]  # sides whose runs are taken from the log, and why
    findings: tuple[Finding, ...]
    backfilled: tuple[Finding, ...] = ()
    not_backfilled: tuple[Failure, ...] = ()

    @property
    def open(self) -> tuple[Finding, ...]:
        """The findings that were not backfilled."""
        return tuple(finding for finding in self.findings if finding not in self.backfilled)


def audit(
    deployment: Deployment,
    *,
    since: datetime,
    until: datetime,
    lineage: bool = False,
    progress: Progress | None = None,
) -> Audit:
    """Find scheduled runs due in [since, until) that were not executed exactly once by their owner.

    Raises Unreachable if the REST API of either side does not answer: half an audit proves nothing. With
    `lineage`, the runs of one silent side are taken from the lineage log, whose reading `progress` follows.
    """
    records = _gather(deployment, since, until, lineage=lineage, progress=progress)
    return _report(deployment, records, since, until)


def backfill(deployment: Deployment, earlier: Audit, progress: Progress | None = None) -> Audit:
    """Execute the runs that neither side executed, on the environment that owns the DAG now.

    This covers the findings that `earlier` offers to backfill and that still hold: both sides are read again
    first. A run that an earlier backfill created or cleared is recognized and not started twice.
    """
    records = _gather(deployment, earlier.since, earlier.until)
    report = _report(deployment, records, earlier.since, earlier.until)
    offered = {finding.key for finding in earlier.findings if finding.backfill_on is not None}
    candidates = [finding for finding in report.findings if finding.backfill_on and finding.key in offered]
    backfilled: list[Finding] = []
    failures: list[Failure] = []
    for count, finding in enumerate(candidates, 1):
        try:
            _execute(deployment, records, finding)
        except Unreachable as error:
            failures.append(Failure(dag_id=finding.dag_id, due=finding.due, reason=str(error)))
        else:
            backfilled.append(finding)
        if progress is not None:
            progress(count, len(candidates))
    return report.model_copy(update={"backfilled": tuple(backfilled), "not_backfilled": tuple(failures)})


# --- gather ---


def _gather(
    deployment: Deployment,
    since: datetime,
    until: datetime,
    *,
    lineage: bool = False,
    progress: Progress | None = None,
) -> Records:
    """The ownership and both sides' records of the window."""
    snapshot = deployment.ownership.read()
    now = aws_now(snapshot, deployment.stack.lead)
    apis = deployment.airflows
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="audit") as pool:
        answers = {colour: pool.submit(_ask, api, since, until) for colour, api in apis.items()}
    errors = {colour: error for colour, answer in answers.items() if (error := answer.exception())}
    sides = {colour: answer.result() for colour, answer in answers.items() if colour not in errors}
    for colour, error in errors.items():
        if not (lineage and sides and isinstance(error, Unreachable)):
            raise error
        sides[colour] = _read_lineage(deployment, colour, since, until, progress)
    silent = {colour: str(error) for colour, error in errors.items()}
    return Records(timeline=snapshot.timeline, now=now, sides=sides, silent=silent)


def _ask(api: AirflowApi, since: datetime, until: datetime) -> SideRecords:
    busy = frozenset(run.dag_id for run in api.unfinished_runs())
    dags = api.dags()  # before the runs, which must include all that the scheduler has passed
    runs = api.scheduled_runs(since, until)
    tasks = api.task_instances([run for run in runs if run.finished])
    by_due = {(run.dag_id, run.due): run for run in runs if run.due is not None}
    return SideRecords(dags, by_due, tasks, busy)


def _read_lineage(
    deployment: Deployment, colour: Colour, since: datetime, until: datetime, progress: Progress | None
) -> SideRecords:
    """The lineage log's records of a side that does not answer."""
    environment, other = deployment.stack.require(colour), deployment.stack.other(colour)
    if other and other.lineage_namespace == environment.lineage_namespace:
        raise Unreachable(
            f"{environment.name} does not answer, and the lineage log cannot stand in for it: both "
            f"environments share the namespace {other.lineage_namespace}, so an event does not show which of "
            "them executed a run"
        )
    states = LineageLog(deployment, colour, progress).states(since, until)
    runs = {
        (dag_id, due): Run(
            dag_id=dag_id, run_id="", type="scheduled", state=state, due=due, start=None, end=None
        )
        for (dag_id, due), state in states.items()
    }
    return SideRecords({}, runs, {}, frozenset(), from_lineage=True)


# --- judge ---


def _report(deployment: Deployment, records: Records, since: datetime, until: datetime) -> Audit:
    """The verdicts on all runs of the window."""
    verdicts: list[Verdict] = []
    for key in records.keys:
        verdict = judge(records, key)
        if isinstance(verdict, Finding) and verdict.kind == "nobody":
            verdict = _recall_backfill(deployment, records, verdict)
        verdicts.append(verdict)
    counts = Counter(verdict for verdict in verdicts if not isinstance(verdict, Finding))
    return Audit(
        stack=deployment.name,
        since=since,
        until=until,
        instants=len(verdicts),
        unfinished=counts["unfinished"],
        failed=counts["failed"],
        unknown=counts["unknown"],
        by_lineage=dict(records.silent),
        findings=tuple(verdict for verdict in verdicts if isinstance(verdict, Finding)),
    )


def _recall_backfill(deployment: Deployment, records: Records, finding: Finding) -> Verdict:
    """The finding, unless an earlier backfill created a run in place of the one that was not executed."""
    for run in records.runs(finding.key).values():
        for colour, side in records.sides.items():
            if finding.dag_id not in side.dags:
                continue
            created = created_run(deployment.airflow(colour), run)
            if created is not None and was_rerun(created):
                return "executed" if created.finished else "unfinished"
    return finding


# --- execute ---


def _execute(deployment: Deployment, records: Records, finding: Finding) -> None:
    """Execute the run of a finding: the skipped mirror if there is one, else a new run."""
    if finding.backfill_on is None:
        return
    colour, api, reason = finding.backfill_on, deployment.airflow(finding.backfill_on), "it was not executed"
    runs = records.runs(finding.key)
    if colour in runs:
        clear_run(api, runs[colour], colour, reason)
    else:
        create_run(api, next(iter(runs.values())), colour, reason)
