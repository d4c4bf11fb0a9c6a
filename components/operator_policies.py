"""What the people of a stack need: an IAM document for each of four tasks, and for each role in Airflow.

The program attaches them to nobody: it exports them, and a person decides who gets which. Each stands alone.

    read     look: status, active, history, logs, open, report, audit, doctor, and lineage status
    switch   also decide who owns the work, and what runs: rehearse, switch, rollback, audit --backfill,
             dags push
    on_call  also in an emergency: failover --fence, unfence, and the events that Marquez refused
    airflow_cli  Airflow's own commands, `mwaactl airflow`, and only these: MWAA carries them out as its admin

    login_viewer, login_user, login_op, login_admin
             log in to Airflow's web pages, in that role
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bluegreen.audit import FOLDER as AUDITS
from bluegreen.proof import UNGATED

from components.airflow.definition import PLUGINS, REQUIREMENTS
from components.iam_policies import VERSION, Statement, statement
from components.lineage_log import CHECKPOINTS, EVENTS, OWNERSHIP, PUSHES, SET_ASIDE
from components.partition import Partition

Document = dict[str, Any]
READERS_ROLE = "Viewer"  # in Airflow: it may change nothing
WRITERS_ROLE = "Op"  # in Airflow: it may not change users and roles
LOGIN_ROLES = ("Viewer", "User", "Op", "Admin")  # Airflow's own, from little to everything


@dataclass(frozen=True, kw_only=True)
class Operated:
    """What operators work on. `environments`: as the stack exports them, by colour."""

    partition: Partition
    region: str
    environments: Mapping[str, Mapping[str, Any]]
    ownership_parameter: str
    active_environment_parameter: str
    lineage_log_bucket: str
    kms_key_arn: str | None

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource in the stack's account and region."""
        account = self._each("execution_role_arn")[0].split(":")[4]
        return f"arn:{self.partition.name}:{service}:{self.region}:{account}:{resource}"

    @property
    def parameters(self) -> list[str]:
        """The ownership's, then the one for other systems."""
        names = (self.ownership_parameter, self.active_environment_parameter)
        return [self.arn("ssm", f"parameter{name}") for name in names]

    def in_log(self, *prefixes: str) -> list[str]:
        """The objects below these prefixes of the lineage log."""
        return [f"{self._bucket(self.lineage_log_bucket)}/{prefix}*" for prefix in prefixes]

    @property
    def names(self) -> list[str]:
        return self._each("name")

    @property
    def airflow_environments(self) -> list[str]:
        """Their ARNs."""
        return [self.arn("airflow", f"environment/{name}") for name in self.names]

    @property
    def roles(self) -> list[str]:
        """The ARNs of the execution roles."""
        return self._each("execution_role_arn")

    @property
    def buckets(self) -> list[str]:
        """The ARNs of all buckets: the lineage log's and the environments'."""
        return [self._bucket(name) for name in (self.lineage_log_bucket, *self._each("bucket"))]

    def in_airflow(self, role: str) -> list[str]:
        """One of Airflow's own roles, in each environment."""
        return [self.arn("airflow", f"role/{name}/{role}") for name in self.names]

    @property
    def dags(self) -> list[str]:
        return [
            f"{self._bucket(each['bucket'])}/{each['dags_prefix']}*" for each in self.environments.values()
        ]

    @property
    def new_dags(self) -> list[str]:
        """Where a push stores new files before it changes any."""
        return [f"{self._bucket(name)}/{PUSHES}*" for name in self._each("bucket")]

    @property
    def requirements(self) -> list[str]:
        return [f"{self._bucket(name)}/{REQUIREMENTS}" for name in self._each("bucket")]

    @property
    def plugins(self) -> list[str]:
        return [f"{self._bucket(name)}/{PLUGINS}" for name in self._each("bucket")]

    def _each(self, key: str) -> list[str]:
        return [str(each[key]) for each in self.environments.values()]

    def _bucket(self, name: str) -> str:
        return f"arn:{self.partition.name}:s3:::{name}"


def operator_policies(stack: Operated) -> dict[str, Document]:
    """The documents by name."""
    look = _look(stack)
    switch = (
        *look,
        *_decide(stack),
        _call_airflow(stack, WRITERS_ROLE),
        *_use_key(stack, "kms:Decrypt", "kms:GenerateDataKey"),
    )
    return {
        "read": _document(*look, _call_airflow(stack, READERS_ROLE), *_use_key(stack, "kms:Decrypt")),
        "switch": _document(*switch),
        "on_call": _document(*switch, *_rescue(stack)),
        "airflow_cli": _document(
            statement(["airflow:CreateCliToken"], stack.airflow_environments, sid="RunAirflow")
        ),
        **{f"login_{role.lower()}": _document(_log_in(stack, role)) for role in LOGIN_ROLES},
    }


def auditor(stack: Operated) -> Document:
    """What an execution role needs for the nightly audit, beside what it may do anyway."""
    by_sid = {each["Sid"]: each for each in _look(stack)}
    viewer = {**_call_airflow(stack, READERS_ROLE), "Action": ["airflow:InvokeRestApi"]}
    log = by_sid["ListBuckets"]["Resource"][:1]
    return _document(
        by_sid["SeeEnvironments"],
        viewer,
        statement(["s3:ListBucket"], log, sid="ListLineageLog"),
        statement(["s3:GetObject"], stack.in_log(EVENTS, UNGATED, AUDITS), sid="ReadLineageLog"),
        by_sid["SeeFence"],
    )


def _document(*statements: Statement) -> Document:
    return {"Version": VERSION, "Statement": list(statements)}


def _look(stack: Operated) -> Sequence[Statement]:
    return [
        statement(["airflow:GetEnvironment"], stack.airflow_environments, sid="SeeEnvironments"),
        statement(["ssm:GetParameter"], stack.parameters, sid="ReadParameters"),
        statement(["ssm:GetParameterHistory"], stack.parameters[:1], sid="ReadTimeline"),
        # Whole buckets: with prefixes only, S3 answers 403 instead of 404 for an object that is missing.
        statement(["s3:ListBucket"], stack.buckets, sid="ListBuckets"),
        statement(
            ["s3:GetObject"],
            stack.in_log(EVENTS, OWNERSHIP, UNGATED, CHECKPOINTS, SET_ASIDE, PUSHES),
            sid="ReadLineageLog",
        ),
        statement(["s3:GetObject"], stack.dags, sid="CompareDags"),
        statement(["s3:GetObjectVersion"], stack.plugins, sid="ComparePlugins"),
        statement(["iam:GetRolePolicy"], stack.roles, sid="SeeFence"),
        statement(
            ["logs:FilterLogEvents"],
            [stack.arn("logs", f"log-group:airflow-{name}-*") for name in stack.names],
            sid="ReadLogs",
        ),
        # The action has no resources and no condition keys.
        statement(["cloudwatch:GetMetricData"], ["*"], sid="ReadMetrics"),
        # Nor have these; the doctor compares the two.
        statement(["airflow:ListEnvironments", "servicequotas:ListServiceQuotas"], ["*"], sid="SeeQuotas"),
    ]


def _call_airflow(stack: Operated, role: str) -> Statement:
    """Airflow, in one of its own roles. Of a call of its REST API, IAM sees neither method nor path."""
    actions = ["airflow:InvokeRestApi", "airflow:CreateWebLoginToken"]
    return statement(actions, stack.in_airflow(role), sid="CallAirflow")


def _log_in(stack: Operated, role: str) -> Statement:
    return statement(["airflow:CreateWebLoginToken"], stack.in_airflow(role), sid="LogIn")


def _decide(stack: Operated) -> Sequence[Statement]:
    return [
        statement(["ssm:PutParameter"], stack.parameters, sid="DecideOwnership"),
        statement(["s3:PutObject"], stack.in_log(OWNERSHIP), sid="StoreOwnership"),
        statement(
            ["s3:PutObject", "s3:DeleteObject"],
            [*stack.dags, *stack.new_dags, *stack.in_log(PUSHES)],
            sid="PushDags",
        ),
        statement(["s3:GetObject"], [*stack.new_dags, *stack.requirements], sid="ReadForPush"),
    ]


def _rescue(stack: Operated) -> Sequence[Statement]:
    return [
        # IAM has no condition for an inline policy's name or content: whoever may fence a role may also grant
        # it anything. So this is in no other document.
        statement(["iam:PutRolePolicy", "iam:DeleteRolePolicy"], stack.roles, sid="Fence"),
        statement(["s3:DeleteObject"], stack.in_log(SET_ASIDE), sid="RemoveRetriedEvents"),
        statement(["s3:PutObject"], stack.in_log(CHECKPOINTS), sid="LeaveRunsToForwarder"),
    ]


def _use_key(stack: Operated, *actions: str) -> Sequence[Statement]:
    """The key of the buckets, if it is not Amazon's."""
    if stack.kms_key_arn is None:
        return ()
    services = stack.partition.via(stack.region, "s3")
    condition = {"StringEquals": {"kms:ViaService": services}}
    return (statement(actions, [stack.kms_key_arn], sid="UseKey", conditions=condition),)
