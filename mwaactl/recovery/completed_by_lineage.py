"""The runs that an environment completed, according to the lineage log: it outlives the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from bluegreen.timeline import Colour

from lineage_log.event import Event, UnreadableError
from lineage_log.log import Log, instant_of, key_at
from lineage_log.read_ahead import read_ahead
from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import iso
from mwaactl.recovery.completed_runs import Key

REPORTED = 500  # events between two progress reports

RunState = Literal["success", "failed", "running"]  # running: or unknown


class _RunReport(NamedTuple):
    """What an event reports about a DAG run. `key` None: it does not identify the scheduled run."""

    run_id: str  # the lineage's id of the DAG run
    key: Key | None
    instant: datetime
    state: RunState

    @property
    def rank(self) -> tuple[datetime, bool]:
        """The sort key by time; of two events at the same instant, a success sorts first."""
        return self.instant, self.state != "success"


class LineageLog:
    """The lineage log as a witness of one environment. Tasks write to it directly, so it never lags behind.

    A run is completed if its newest event is its DAG's own COMPLETE whose `airflowState` has the run's state
    `success`, and at least one task's. Newer events that undo it are a START, of the DAG or of a task (the
    run was cleared), and a FAIL of the DAG. Which run it is follows from its DAG id and due instant
    (`run_after`, in Airflow 2 `data_interval_end`) in `airflowDagRun`. The OpenLineage provider of Airflow
    2.10 (1.13) does not put that into the COMPLETE. There it is taken from another event of the same run id:
    the `airflowDagRun` of the DAG's START, or the `airflow` of a task whose `parent` is the run. Without one
    of these the run is unknown.

    Events of other namespaces than the environment's are ignored. If both environments share one
    (`lineage_namespace`), a run has the same id in both, and a COMPLETE does not say where it was executed;
    what the target itself executed is known from its own records first.

    The log is incomplete: it has no events where lineage is switched off, and an event that cannot be written
    is lost. So it never reports that a run was not completed.
    """

    exhaustive = False

    def __init__(
        self,
        deployment: Deployment,
        colour: Colour,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """`progress` is called with the number of events read and the total."""
        self.name = "the lineage log"
        self._namespace = deployment.stack.require(colour).lineage_namespace
        self._bucket, self._clients = deployment.stack.lineage_log_bucket, deployment.clients
        self._progress = progress
        self._keys_read: set[str] = set()  # each event is read once
        self._reports: list[_RunReport] = []

    def completed(self, since: datetime, until: datetime) -> Mapping[Key, bool]:
        """See Witness."""
        return {key: True for key, state in self.states(since, until).items() if state == "success"}

    def states(self, since: datetime, until: datetime) -> Mapping[Key, RunState]:
        """The states of the scheduled runs due in [since, until) that the log records. Raises Unreachable.

        This takes one GET for each event since `since`: a run is executed after it is due.
        """
        with aws_errors(f"read the lineage log s3://{self._bucket}"):
            self._read_new(since)
        if not self._reports:
            raise Unreachable(
                f"s3://{self._bucket} has no event of {self._namespace}'s runs since {iso(since)}"
            )
        keys = {report.run_id: report.key for report in self._reports if report.key is not None}
        newest: dict[Key, _RunReport] = {}
        for report in self._reports:
            key = report.key or keys.get(report.run_id)
            if key is not None and (key not in newest or newest[key].rank <= report.rank):
                newest[key] = report
        return {key: report.state for key, report in newest.items() if since <= key[1] < until}

    def _read_new(self, since: datetime) -> None:
        """Read the events since `since` that have not been read yet."""
        source = Log(self._clients.s3, self._bucket)
        keys = [
            entry.key
            for page in source.pages(key_at(since))
            for entry in page
            if entry.key not in self._keys_read
        ]
        for count, (key, event) in enumerate(read_ahead(source, iter(keys)), 1):
            if not isinstance(event, Event):
                # The missing event might report a new start of a run.
                why = (
                    str(event)
                    if isinstance(event, UnreadableError)
                    else "it was removed while the log was read"
                )
                raise Unreachable(f"s3://{self._bucket}/{key} cannot be read: {why}")
            if event.namespace == self._namespace and (report := _run_report(event)) is not None:
                self._reports.append(report)
            self._keys_read.add(key)
            if self._progress is not None and (count % REPORTED == 0 or count == len(keys)):
                self._progress(count, len(keys))


def _run_report(event: Event) -> _RunReport | None:
    """What an event reports about its DAG run; None if nothing."""
    instant, content = instant_of(event.key), json.loads(event.text)
    facets = _part(content, "run", "facets")
    of_task = _part(facets, "airflow")
    run_id = _part(facets, "parent", "run").get("runId") if of_task else event.run
    if instant is None or not isinstance(run_id, str):
        return None
    facet = _part(facets, "airflowState")
    state: RunState = "running"
    if not of_task and event.kind == "FAIL":
        state = "failed"
    elif not of_task and event.kind == "COMPLETE" and facet.get("dagRunState") == "success":
        # A run whose tasks were all skipped may not have been executed there.
        state = "success" if "success" in _part(facet, "tasksState").values() else "running"
    key = _key(_part(of_task or _part(facets, "airflowDagRun"), "dagRun"))
    if key is None and state == "running":
        return None
    if of_task and event.kind != "START":
        instant = datetime.min.replace(tzinfo=UTC)  # it identifies the run, but not its final state
    return _RunReport(run_id, key, instant, state)


def _key(dag_run: Mapping[str, Any]) -> Key | None:
    """DAG id and due instant of a scheduled run."""
    dag_id, due = dag_run.get("dag_id"), dag_run.get("run_after") or dag_run.get("data_interval_end")
    if dag_run.get("run_type") != "scheduled" or not isinstance(dag_id, str):
        return None
    try:
        instant = datetime.fromisoformat(due or "")
    except (TypeError, ValueError):
        return None
    return (dag_id, instant.astimezone(UTC)) if instant.tzinfo else None


def _part(content: Any, *names: str) -> dict[str, Any]:
    """A nested object; an empty one if it is missing."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}
