"""The audit: both sides' scheduled runs, joined by (DAG, due instant), against who owned each instant.

report = audit(deployment, since=now - timedelta(hours=24), until=now)
if report.findings:
    report = backfill(deployment, report)

It covers instants for which at least one side has a run; a run that neither side created is invisible to it.
With `lineage`, the lineage log stands in for a side that does not answer. It always stands in for an
environment that no longer exists.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.notes import was_rerun
from mwaactl.airflow.rerun import Progress, clear_run, create_run, created_run, was_taken_over
from mwaactl.checks.fenced import is_fenced
from mwaactl.checks.ungated import UngatedExecution, ungated_executions
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import aws_now
from mwaactl.recovery.completed_by_lineage import LineageLog
from mwaactl.recovery.completed_runs import Key
from mwaactl.recovery.evidence import begin, runs_of_former_lives, with_histories
from mwaactl.recovery.records import Records, SideRecords
from mwaactl.recovery.verdict import Finding, Verdict, abandoned_detail, judge


class UnknownRun(Model):
    """A run whose owner does not answer or is gone, and of which the lineage log has no record."""

    dag_id: str
    due: Instant


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
    unknown: tuple[UnknownRun, ...]  # of them: nothing shows whether they were executed
    passed_over: int  # of them: Airflow itself creates no run for them on their owner
    by_lineage: dict[Colour, str]  # sides whose runs are taken from the log, and why
    findings: tuple[Finding, ...]
    ungated: tuple[UngatedExecution, ...] = ()  # executions in the window that no gate judged
    fenced: tuple[Colour, ...] = ()  # sides with the fence of a failover
    backfilled: tuple[Finding, ...] = ()
    not_backfilled: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

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
    return audit_with_records(deployment, since=since, until=until, lineage=lineage, progress=progress)[0]


def audit_with_records(
    deployment: Deployment,
    *,
    since: datetime,
    until: datetime,
    lineage: bool = False,
    progress: Progress | None = None,
) -> tuple[Audit, Records]:
    """See `audit`; with what it judged by."""
    gathered = _gather(deployment, since, until, lineage=lineage, progress=progress)
    return _report(deployment, gathered, since, until), gathered.records


def backfill(deployment: Deployment, earlier: Audit, progress: Progress | None = None) -> Audit:
    """Execute the runs that neither side executed, on the environment that owns the DAG now.

    This covers the findings that `earlier` offers to backfill and that still hold: both sides are read again
    first. A run that an earlier backfill created or cleared is recognized and not started twice.
    """
    gathered = _gather(deployment, earlier.since, earlier.until)
    records, report = gathered.records, _report(deployment, gathered, earlier.since, earlier.until)
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
) -> _Gathered:
    """The ownership and both sides' records of the window, and the evidence that doubtful runs need."""
    snapshot = deployment.ownership.read()
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
    fenced, notes = fenced_sides(deployment)
    records = Records(
        timeline=snapshot.timeline,
        now=aws_now(snapshot, deployment.stack.lead),
        sides=sides,
        silent=silent,
        stopped=dict.fromkeys(fenced, "is fenced") | dict.fromkeys(silent, "does not answer"),
        begins={colour: begin(deployment, colour) for colour in apis},
    )
    records = with_histories(records, apis, since, until)
    if any(map(records.owner_is_gone, records.keys)):
        try:
            records = replace(records, former=runs_of_former_lives(deployment, records, since, progress))
        except Unreachable as error:
            notes = (*notes, f"what environments that no longer exist executed is unknown: {error}")
    try:
        ungated = ungated_executions(deployment, since)
    except Unreachable as error:
        ungated, notes = (), (*notes, f"whether anything was executed without a gate is unknown: {error}")
    return _Gathered(records, notes, ungated, fenced)


class _Gathered(NamedTuple):
    records: Records
    notes: tuple[str, ...]
    ungated: tuple[UngatedExecution, ...]
    fenced: tuple[Colour, ...]


def _ask(api: AirflowApi, since: datetime, until: datetime) -> SideRecords:
    unfinished = api.unfinished_runs()
    dags = api.dags()  # before the runs, which must include all that the scheduler has passed
    runs = api.scheduled_runs(since, until)
    tasks = api.task_instances([run for run in runs if run.finished])
    by_due = {(run.dag_id, run.due): run for run in runs if run.due is not None}
    return SideRecords(dags, by_due, tasks, unfinished)


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
    logged = LineageLog(deployment, colour, progress).runs(since)
    runs = {
        (run.dag_id, run.due): run
        for run in logged
        if run.type == "scheduled" and run.state != "ended" and run.due and since <= run.due < until
    }
    unfinished = tuple(run for run in logged if run.state == "running")
    return SideRecords({}, runs, {}, unfinished, from_lineage=True)


def fenced_sides(deployment: Deployment) -> tuple[tuple[Colour, ...], tuple[str, ...]]:
    """The sides that a failover has fenced, and notes; one that is unknown counts as able to work."""
    fenced: list[Colour] = []
    notes: list[str] = []
    for colour, environment in deployment.stack.airflow_environments.items():
        try:
            if is_fenced(deployment.clients, environment):
                fenced.append(colour)
        except Unreachable as error:
            notes.append(f"whether {colour} is fenced is unknown: {error}")
    return tuple(fenced), tuple(notes)


# --- judge ---


def _report(deployment: Deployment, gathered: _Gathered, since: datetime, until: datetime) -> Audit:
    """The verdicts on all runs of the window."""
    records = gathered.records
    verdicts: dict[Key, Verdict] = {}
    for key in records.keys:
        verdict = judge(records, key)
        if isinstance(verdict, Finding) and verdict.kind in ("nobody", "left unfinished"):
            verdict = _recall_rerun(deployment, records, verdict)
        verdicts[key] = verdict
    counts = Counter(verdict for verdict in verdicts.values() if not isinstance(verdict, Finding))
    findings = [verdict for verdict in verdicts.values() if isinstance(verdict, Finding)]
    unknown = [key for key, verdict in verdicts.items() if verdict == "unknown"]
    return Audit(
        stack=deployment.name,
        since=since,
        until=until,
        instants=len(verdicts),
        unfinished=counts["unfinished"],
        failed=counts["failed"],
        unknown=tuple(UnknownRun(dag_id=dag_id, due=due) for dag_id, due in unknown),
        passed_over=counts["passed over"],
        by_lineage=dict(records.silent),
        findings=(*findings, *_left_unfinished(deployment, records)),
        ungated=gathered.ungated,
        fenced=gathered.fenced,
        notes=gathered.notes,
    )


def _left_unfinished(deployment: Deployment, records: Records) -> list[Finding]:
    """The runs outside the window, or that no schedule made, that are at work on a side that cannot finish
    them, and that no other side has run again."""
    findings: list[Finding] = []
    for colour in records.stopped:
        for run in records.sides[colour].unfinished:
            due = run.due or run.start or records.now
            if (run.dag_id, due) in records.sides[colour].runs and run.type == "scheduled":
                continue  # judged with the window
            if run.type == "scheduled" and records.owner((run.dag_id, due)) not in (colour, None):
                continue  # a mirror
            if not any(
                was_taken_over(deployment.airflow(other), run) for other in records.sides if other != colour
            ):
                detail = abandoned_detail({colour: run}, records.stopped)
                findings.append(
                    Finding(
                        kind="left unfinished",
                        dag_id=run.dag_id,
                        run_id=run.run_id,
                        due=due,
                        owner=colour,
                        runs={colour: run.state},
                        detail=f"{run.run_id} ({run.type}): {detail}",
                    )
                )
    return findings


def _recall_rerun(deployment: Deployment, records: Records, finding: Finding) -> Verdict:
    """The finding, unless a backfill or a failover created a run in place of the missing one."""
    for run in records.runs(finding.key).values():
        for colour, side in records.sides.items():
            if finding.dag_id not in side.dags:  # nothing is, on a side that is known by the lineage log
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
