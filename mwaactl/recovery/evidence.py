"""The audit's evidence on doubtful runs: was a run lost, or did Airflow itself pass it over?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.rerun import Progress
from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.recovery.completed_runs import Key
from mwaactl.recovery.logged_runs import LoggedRuns
from mwaactl.recovery.records import DagHistory, Records, SideRecords, Span
from mwaactl.recovery.verdict import Finding, judge


def begin(deployment: Deployment, colour: Colour) -> datetime:
    """When the environment was created: it has no records from before. Raises Unreachable."""
    name = deployment.stack.require(colour).name
    with aws_errors(f"read when {name} was created (airflow:GetEnvironment)"):
        created: datetime = deployment.clients.mwaa.get_environment(Name=name)["Environment"]["CreatedAt"]
    return created


def with_histories(
    records: Records, apis: Mapping[Colour, AirflowApi], since: datetime, until: datetime
) -> Records:
    """The records with the histories of the DAGs that have a run which nobody seems to have executed."""
    dag_ids = {key[0] for key in records.keys if _is_doubtful(records, key)}
    if not dag_ids:
        return records
    sides = {
        colour: side
        if side.from_lineage
        else replace(side, histories=_histories(apis[colour], side, dag_ids, since, until))
        for colour, side in records.sides.items()
    }
    return replace(records, sides=sides)


def _is_doubtful(records: Records, key: Key) -> bool:
    verdict = judge(records, key)
    return verdict == "passed over" or (isinstance(verdict, Finding) and verdict.kind == "nobody")


def _histories(
    api: AirflowApi, side: SideRecords, dag_ids: Iterable[str], since: datetime, until: datetime
) -> dict[str, DagHistory]:
    here = [dag_id for dag_id in sorted(dag_ids) if dag_id in side.dags]
    at_work: dict[str, list[Span]] = {dag_id: [] for dag_id in here}
    for run in (*api.runs_at_work(here, since, until), *side.unfinished):
        # A run may be created late: what became due between its own instant and its start is passed over too.
        span_begin = run.due if run.type == "scheduled" else run.start or run.due
        if run.dag_id in at_work and span_begin is not None and run.type != "backfill":
            at_work[run.dag_id].append((span_begin, run.end if run.finished else None))
    return {dag_id: _history(api, dag_id, tuple(at_work[dag_id])) for dag_id in here}


def _history(api: AirflowApi, dag_id: str, at_work: tuple[Span, ...]) -> DagHistory:
    dag, first = api.dag(dag_id), api.first_scheduled_run(dag_id)
    return DagHistory(
        catchup=dag is None or dag.catchup is not False,
        max_active_runs=dag.max_active_runs if dag is not None else None,
        at_work=at_work,
        first_due=first.due if first is not None else None,
        mapped=frozenset(task.task_id for task in api.tasks(dag_id) if task.mapped),
    )


def runs_of_former_lives(
    deployment: Deployment, records: Records, since: datetime, progress: Progress | None
) -> dict[Key, str]:
    """The states of the scheduled runs of environments that no longer exist, by the lineage log.

    These are events from before the present environment of that namespace was created, and those of
    namespaces that no environment has. Raises Unreachable.
    """
    begins: dict[str, datetime] = {}
    for colour, environment in deployment.stack.airflow_environments.items():
        namespace, created = environment.lineage_namespace, records.begins[colour]
        begins[namespace] = min(created, begins.get(namespace, created))

    def counts(namespace: str, instant: datetime) -> bool:
        return namespace not in begins or instant < begins[namespace]

    return {
        (run.dag_id, run.due): run.state
        for run in LoggedRuns(deployment, counts, progress).read(since)
        if run.type == "scheduled" and run.due is not None
    }
