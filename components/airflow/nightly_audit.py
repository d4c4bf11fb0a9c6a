"""The audit of every night: what its DAG needs in each environment, and the alarms on what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
from bluegreen.audit import ARCHIVE, FOLDER, STACK
from bluegreen.proof import AUDIT_FILE, AUDITED, FENCE, FINDING
from bluegreen.timeline import Colour

from components.airflow.log_metrics import count, own_metric
from components.airflow.mwaa import Mwaa
from components.config.settings import Settings
from components.lineage_log import LineageLog
from components.monitoring.alarm import Alarm
from components.python_archive import CHECKOUT, built, runnable_files

OURS = ("mwaactl", "lineage_log", "plugins/bluegreen")
SERVICES = ("iam", "mwaa", "s3", "ssm", "sts")
# The DAG itself is in plugins.zip (plugins/bluegreen/audit.py). Both sides have the same file.
DAG_FILE = '''"""An Airflow DAG that audits both environments every night. `pulumi up` writes it."""

from bluegreen.audit import audit

dag = audit()
'''
A_DAY, A_NIGHT_AND_MORE = 24, 27  # hours; the last try may begin an hour late, and an audit takes a while


@dataclass(frozen=True, kw_only=True)
class NightlyAuditArgs:
    """`stack`: the outputs that the audit reads; `permissions`: the IAM document for it, as JSON.

    `topics`: ARNs of whom the alarms tell.
    """

    settings: Settings
    environments: Mapping[Colour, Mwaa]
    lineage_log: LineageLog
    stack: pulumi.Input[Mapping[str, Any]]
    permissions: pulumi.Input[str]
    topics: Sequence[pulumi.Input[str]]


class NightlyAudit(pulumi.ComponentResource):
    """A DAG in each environment, of which the owner's runs `mwaactl audit`, once a night.

    It says what it found in its log, where CloudWatch counts it. The execution roles may read for it what an
    operator with the document `read` may read.
    """

    def __init__(self, name: str, args: NightlyAuditArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:NightlyAudit", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        program = self._program()
        for colour, environment in args.environments.items():
            self._equip(colour, environment, program)
        for role, (metric_name, line, alarm) in _ALARMS.items():
            metric = own_metric(args.settings, metric_name)
            for colour, environment in args.environments.items():
                count(f"{name}-{colour}-{role}", line, environment.task_log, metric, self._child)
            alarm([metric]).create(f"{name}-{role}", args.topics, self._child)
        self.register_outputs({})

    def _program(self) -> list[pulumi.Resource]:
        """What the DAGs fetch: `mwaactl`, and the outputs that it reads."""
        log = self._args.lineage_log
        # The bucket must be private and encrypted before it contains anything.
        in_log = pulumi.ResourceOptions(parent=self, depends_on=[log])
        archive = aws.s3.BucketObjectv2(
            f"{self._name}-archive",
            bucket=log.bucket,
            key=f"{FOLDER}{ARCHIVE}",
            source=pulumi.FileAsset(str(audit_archive())),  # the state keeps its hash, not the megabytes
            content_type="application/zip",
            opts=in_log,
        )
        stack = aws.s3.BucketObjectv2(
            f"{self._name}-stack",
            bucket=log.bucket,
            key=f"{FOLDER}{STACK}",
            content=pulumi.Output.json_dumps(self._args.stack),
            content_type="application/json",
            opts=in_log,
        )
        return [archive, stack]

    def _equip(self, colour: Colour, environment: Mwaa, program: Sequence[pulumi.Resource]) -> None:
        """The permissions, then the DAG."""
        name = f"{self._name}-{colour}"
        allowed = aws.iam.RolePolicy(
            name, role=environment.role_name, policy=self._args.permissions, opts=self._child
        )
        aws.s3.BucketObjectv2(
            f"{name}-dag",
            bucket=environment.bucket,
            key=f"{self._args.settings.environment(colour).dags_folder}{AUDIT_FILE}",
            content=DAG_FILE,
            content_type="text/x-python",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[allowed, *program]),
        )


@cache
def audit_archive() -> Path:
    """The file of the archive with `mwaactl`. Pydantic is not in it: it is not pure, and Airflow has it."""
    return built("audit", audit_files())


def audit_files() -> dict[str, bytes]:
    """`{path inside: content}`."""
    return runnable_files([CHECKOUT / name for name in OURS], SERVICES)


# By role: the metric, the line that it counts, and the alarm on it.
_ALARMS: Mapping[str, tuple[str, str, Any]] = {
    "finding": (
        "AuditFindings",
        FINDING,
        lambda metrics: Alarm(
            description="The nightly audit found runs that were not executed exactly once by their owner: "
            "mwaactl audit --since 26h lists them, --backfill executes what nobody executed",
            metrics=metrics,
            threshold=0,
            minutes=60,
            periods=A_DAY,
            at_least=1,
        ),
    ),
    "fence": (
        "AuditFences",
        FENCE,
        lambda metrics: Alarm(
            description="An environment is still fenced since a failover, so no work can move to it. When it "
            "may work again: mwaactl unfence",
            metrics=metrics,
            threshold=0,
            minutes=60,
            periods=A_DAY,
            at_least=1,
        ),
    ),
    "missing": (
        "Audits",
        AUDITED,
        lambda metrics: Alarm(
            description="There was no audit last night. To see why: mwaactl logs SIDE --dag bluegreen_audit; "
            "to make it now: mwaactl audit --since 26h",
            metrics=metrics,
            threshold=1,
            compared="LessThanThreshold",
            minutes=60,
            periods=A_NIGHT_AND_MORE,
            missing="breaching",
        ),
    ),
}
