"""The DAG runs of the lineage log, which outlives the environments that executed them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from bluegreen.timeline import due_instant

from lineage_log.event import Event, UnreadableError
from lineage_log.log import Log, instant_of, key_at
from lineage_log.read_ahead import read_ahead
from mwaactl.airflow.models import Run
from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable

REPORTED = 500  # events between two progress reports

RunState = Literal["success", "failed", "running", "ended"]  # ended: without a task that succeeded


class _RunReport(NamedTuple):
    """What an event reports about a DAG run. `run` None: it does not identify the run."""

    lineage_id: str  # the lineage's id of the DAG run
    run: Run | None
    instant: datetime
    state: RunState

    @property
    def rank(self) -> tuple[datetime, bool]:
        """The sort key by time; of two events at the same instant, a success sorts first."""
        return self.instant, self.state != "success"


class LoggedRuns:
    """The DAG runs that the log records, each with its newest state. Each event is read once.

    A run has succeeded if its newest event is its DAG's own COMPLETE whose `airflowState` has the run's state
    `success`, and at least one task's. Newer events that undo it are a START, of the DAG or of a task (the
    run was cleared), and a FAIL of the DAG. Which run it is follows from `airflowDagRun`. The OpenLineage
    provider of Airflow 2.10 (1.13) does not put that into the COMPLETE. There it is taken from another event
    of the same run id: the `airflowDagRun` of the DAG's START, or the `airflow` of a task whose `parent` is
    the run. Without one of these the run is unknown.
    """

    def __init__(
        self,
        deployment: Deployment,
        counts: Callable[[str, datetime], bool],
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """`counts`: which events to take, by namespace and instant. `progress` is called with the number of
        events read and the total."""
        self.bucket = deployment.stack.lineage_log_bucket
        self._clients = deployment.clients
        self._counts, self._progress = counts, progress
        self._keys_read: set[str] = set()
        self._reports: list[_RunReport] = []

    def read(self, since: datetime) -> tuple[Run, ...]:
        """All runs that have an event since then. `due` decides which run a scheduled one is, in all others
        their id. Raises Unreachable if one event cannot be read: it might report a new start of a run.

        This takes one GET for each event since then that has not been read yet.
        """
        with aws_errors(f"read the lineage log s3://{self.bucket}"):
            self._read_new(since)
        identities = {report.lineage_id: report.run for report in self._reports if report.run is not None}
        newest: dict[tuple[str, object], tuple[_RunReport, Run]] = {}
        for report in self._reports:
            run = report.run or identities.get(report.lineage_id)
            if run is None:
                continue
            key = (run.dag_id, run.due if run.type == "scheduled" else run.run_id)
            if key not in newest or newest[key][0].rank <= report.rank:
                newest[key] = report, run
        return tuple(run.model_copy(update={"state": report.state}) for report, run in newest.values())

    def _read_new(self, since: datetime) -> None:
        source = Log(self._clients.s3, self.bucket)
        keys = [
            entry.key
            for page in source.pages(key_at(since))
            for entry in page
            if entry.key not in self._keys_read
        ]
        for count, (key, event) in enumerate(read_ahead(source, iter(keys)), 1):
            if not isinstance(event, Event):
                why = (
                    str(event)
                    if isinstance(event, UnreadableError)
                    else "it was removed while the log was read"
                )
                raise Unreachable(f"s3://{self.bucket}/{key} cannot be read: {why}")
            if (report := _run_report(event)) is not None and self._counts(event.namespace, _instant(event)):
                self._reports.append(report)
            self._keys_read.add(key)
            if self._progress is not None and (count % REPORTED == 0 or count == len(keys)):
                self._progress(count, len(keys))


def _instant(event: Event) -> datetime:
    return instant_of(event.key) or datetime.min.replace(tzinfo=UTC)


def _run_report(event: Event) -> _RunReport | None:
    """What an event reports about its DAG run; None if nothing."""
    instant, content = instant_of(event.key), json.loads(event.text)
    facets = _part(content, "run", "facets")
    of_task = _part(facets, "airflow")
    lineage_id = _part(facets, "parent", "run").get("runId") if of_task else event.run
    if instant is None or not isinstance(lineage_id, str):
        return None
    facet = _part(facets, "airflowState")
    if not (of_task or facet or _part(facets, "airflowDagRun")):
        return None  # not of Airflow's provider: anybody may write to the log by the intake
    state: RunState = "running"
    if not of_task and event.kind == "FAIL":
        state = "failed"
    elif not of_task and event.kind == "COMPLETE":
        # A run whose tasks were all skipped may not have been executed there.
        succeeded = facet.get("dagRunState") == "success"
        state = "success" if succeeded and "success" in _part(facet, "tasksState").values() else "ended"
    run = _run(_part(of_task or _part(facets, "airflowDagRun"), "dagRun"))
    if run is None and state == "running":
        return None
    if of_task and event.kind != "START":
        instant = datetime.min.replace(tzinfo=UTC)  # it identifies the run, but not its final state
    return _RunReport(lineage_id, run, instant, state)


def _run(dag_run: Mapping[str, Any]) -> Run | None:
    """The run of an `airflowDagRun` or `airflow` facet; None if that does not identify one."""
    dag_id, run_id, kind = (dag_run.get(name) for name in ("dag_id", "run_id", "run_type"))
    if not (isinstance(dag_id, str) and isinstance(run_id, str) and isinstance(kind, str)):
        return None
    begin, end = (_aware(dag_run.get(f"data_interval_{name}")) for name in ("start", "end"))
    after = _aware(dag_run.get("run_after"))
    due = None if dag_run.get("run_after") and after is None else due_instant(after, end)
    if kind == "scheduled" and due is None:
        return None
    logical = _aware(dag_run.get("logical_date") or dag_run.get("execution_date"))
    by = dag_run.get("triggered_by")
    return Run(
        dag_id=dag_id,
        run_id=run_id,
        type=kind,
        state="running",
        due=due,
        start=_aware(dag_run.get("start_date")),
        end=None,
        logical_date=logical or (begin if kind == "scheduled" else None),
        interval=(begin, end) if begin and end else None,
        conf=_part(dag_run, "conf"),
        triggered_by=by if isinstance(by, str) else None,
    )


def _aware(value: Any) -> datetime | None:
    try:
        instant = datetime.fromisoformat(value or "")
    except (TypeError, ValueError):
        return None
    return instant.astimezone(UTC) if instant.tzinfo else None


def _part(content: Any, *names: str) -> dict[str, Any]:
    """A nested object; an empty one if it is missing."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}
