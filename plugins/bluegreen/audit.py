"""The nightly audit: a small DAG of the program's own, which runs `mwaactl audit` on the owner.

Its file in the DAGs folder calls `audit` (components/airflow/nightly_audit.py). What it runs, and the stack's
outputs, it fetches from the bucket of the lineage log each time: a newer `mwaactl` updates no environment. It
runs in a process of its own, so that neither sees the other's packages. On the other side it is skipped as
every other DAG.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bluegreen import settings
from bluegreen.proof import AUDIT, AUDITED, FENCE, FINDING

log = logging.getLogger("bluegreen")

TASK_ID = "audit"
SCHEDULE = "30 4 * * *"  # UTC
START = datetime(2026, 1, 1, tzinfo=UTC)
FOLDER = "deploy/audit/"  # of the bucket
ARCHIVE, STACK = "mwaactl.zip", "stack.json"
MODULE = "mwaactl.recovery.nightly"
LONGEST = timedelta(hours=2)


class AuditError(Exception):
    """The audit could not be made."""


def run() -> dict[str, Any]:
    """Audit the last night, and log what it says. Raises AuditError."""
    with tempfile.TemporaryDirectory(prefix="bluegreen-audit-") as folder:
        _fetch(settings.load().bucket, Path(folder))
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", MODULE, STACK],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
            capture_output=True,
            text=True,
            timeout=LONGEST.total_seconds(),
            check=False,
        )
    if done.returncode != 0:
        raise AuditError(done.stderr.strip()[-2000:] or f"{MODULE} ended with {done.returncode}")
    night: dict[str, Any] = json.loads(done.stdout)
    for text in night["findings"]:
        log.warning("%s: %s", FINDING, text)
    for text in night["fences"]:
        log.warning("%s: %s", FENCE, text)
    if night.get("error"):
        raise AuditError(night["error"])
    log.info("%s: %s", AUDITED, night["summary"])
    return night


def _fetch(bucket: str, folder: Path) -> None:
    import boto3

    s3 = boto3.client("s3")
    for name in (ARCHIVE, STACK):
        body = s3.get_object(Bucket=bucket, Key=f"{FOLDER}{name}")["Body"].read()
        (folder / name).write_bytes(body)
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        archive.extractall(folder)  # of the program's own


def audit() -> Any:
    """The DAG, due once a night."""
    try:  # Airflow 3
        from airflow.sdk import DAG, BaseOperator
    except ImportError:
        from airflow.models import DAG, BaseOperator

    class NightlyAudit(BaseOperator):  # type: ignore[misc]
        """Fails if there was no audit, and not for what it found."""

        def execute(self, context: Any) -> dict[str, Any]:  # noqa: ARG002 - Airflow's
            return run()

    with DAG(
        AUDIT,
        description="Runs `mwaactl audit`; see docs/recovery.md",
        schedule=SCHEDULE,
        start_date=START,
        catchup=False,
        is_paused_upon_creation=False,
        # an environment that is being updated does not answer for half an hour
        default_args={"owner": "bluegreen", "retries": 3, "retry_delay": timedelta(minutes=20)},
        tags=["bluegreen"],
    ) as dag:
        NightlyAudit(task_id=TASK_ID)
    return dag
