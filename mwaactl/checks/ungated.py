"""Executions that no layer of the gate judged: the transport writes their events apart."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bluegreen.proof import FACET, UNGATED

from lineage_log.event import UnreadableError, parsed_instant, unpacked
from lineage_log.log import EVENTS, key_at
from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MOST = 100  # that are read: one is enough to stop a switch


class UngatedExecution(Model):
    """A task that was executed although no layer of the gate judged it."""

    dag_id: str
    run_id: str
    task_id: str
    at: Instant
    environment: str  # its colour; "" if that was unknown there
    namespace: str  # of its lineage

    def __str__(self) -> str:
        return f"{self.dag_id}.{self.task_id} of {self.run_id} on {self.environment or self.namespace}"


def ungated_executions(deployment: Deployment, since: datetime) -> tuple[UngatedExecution, ...]:
    """Those of a stack. Raises Unreachable, also where no events would show them."""
    stack = deployment.stack
    if stack.lineage == "none":
        raise Unreachable(f"{stack.lacks}, which alone would show executions other than the probe's")
    return read_ungated(deployment.clients.s3, stack.lineage_log_bucket, since)


def read_ungated(s3: S3Client, bucket: str, since: datetime) -> tuple[UngatedExecution, ...]:
    """The ungated executions since then, oldest first, at most MOST. Raises Unreachable.

    One call where there is none, as there should be.
    """
    after = UNGATED + key_at(since).removeprefix(EVENTS)
    with aws_errors(f"look for ungated executions in s3://{bucket}/{UNGATED}"):
        page = s3.list_objects_v2(Bucket=bucket, Prefix=UNGATED, StartAfter=after, MaxKeys=MOST)
        bodies = {
            entry["Key"]: s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            for entry in page.get("Contents", [])
        }
    found: dict[tuple[str, str, str], UngatedExecution] = {}
    for key, body in bodies.items():
        try:
            execution = _execution(json.loads(unpacked(body)))
        except (UnreadableError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unreachable(f"s3://{bucket}/{key} cannot be read: {error}") from error
        found.setdefault((execution.dag_id, execution.run_id, execution.task_id), execution)
    return tuple(found.values())


def _execution(event: dict[str, Any]) -> UngatedExecution:
    facets, at = event["run"]["facets"], parsed_instant(event["eventTime"])
    dag_run, task = facets["airflow"]["dagRun"], facets["airflow"].get("task") or {}
    if at is None:
        raise ValueError("it has no time")
    return UngatedExecution(
        dag_id=dag_run["dag_id"],
        run_id=dag_run["run_id"],
        task_id=str(task.get("task_id") or event["job"]["name"]),
        at=at,
        environment=str((facets.get(FACET) or {}).get("environment") or ""),
        namespace=str(event["job"]["namespace"]),
    )
