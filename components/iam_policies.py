"""IAM policy documents: building them, and what each role of this program may do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from bluegreen.proof import UNGATED

from components.partition import Partition

VERSION = "2012-10-17"
BALANCER_LOGS = "logdelivery.elasticloadbalancing.amazonaws.com"

Statement = dict[str, Any]
"""One statement of an IAM document; its strings may be `pulumi.Output`."""


def statement(
    actions: Sequence[str],
    resources: Sequence[pulumi.Input[str]],
    *,
    sid: str,
    effect: str = "Allow",
    principals: Mapping[str, Any] | str | None = None,
    conditions: Mapping[str, Mapping[str, Any]] | None = None,
    all_but: bool = False,
) -> Statement:
    """`principals` is for resource policies only; `all_but`: all resources except these."""
    fields: Statement = {"Sid": sid, "Effect": effect, "Action": list(actions)}
    fields["NotResource" if all_but else "Resource"] = list(resources)
    if principals is not None:
        fields["Principal"] = principals
    if conditions is not None:
        fields["Condition"] = conditions
    return fields


def document(*statements: Statement) -> pulumi.Output[str]:
    """The statements as a JSON document, which is known as soon as its parts are."""
    return pulumi.Output.json_dumps({"Version": VERSION, "Statement": list(statements)})


def assume_role(*services: str) -> str:
    """The trust policy that lets these AWS services (`ec2.amazonaws.com`) assume a role."""
    trust = {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": VERSION, "Statement": [trust]})


def arn_beside(role_arn: pulumi.Output[str], service: str, region: str, resource: str) -> pulumi.Output[str]:
    """The ARN of a resource in a role's partition and account, without a call to AWS."""

    def beside(arn: str) -> str:
        _, partition, _, _, account, _ = arn.split(":", 5)
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"

    return role_arn.apply(beside)


def tls_only(bucket_arn: pulumi.Input[str]) -> Statement:
    """A statement of a bucket policy that denies every request without TLS."""
    return statement(
        ["s3:*"],
        [bucket_arn, pulumi.Output.concat(bucket_arn, "/*")],
        sid="RefuseWithoutTls",
        effect="Deny",
        principals="*",
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )


def deliver_logs(
    bucket_arn: pulumi.Output[str], account: str, *, buckets: str, balancer: str, flows: str
) -> list[Statement]:
    """Statements of a bucket policy: AWS's services deliver this account's logs below their prefixes."""

    def deliver(sid: str, service: str, below: str, conditions: dict[str, str] | None) -> Statement:
        return statement(
            ["s3:PutObject"],
            [pulumi.Output.concat(bucket_arn, "/", below)],
            sid=sid,
            principals={"Service": service},
            conditions=None if conditions is None else {"StringEquals": conditions},
        )

    of_account = {"aws:SourceAccount": account}
    delivery = "delivery.logs.amazonaws.com"
    return [
        deliver("BucketAccess", "logging.s3.amazonaws.com", f"{buckets}*", of_account),
        # Here the account is in the path only.
        deliver("BalancerAccess", BALANCER_LOGS, f"{balancer}/AWSLogs/{account}/*", None),
        deliver(
            "Flows",
            delivery,
            f"{flows}/AWSLogs/{account}/*",
            {**of_account, "s3:x-amz-acl": "bucket-owner-full-control"},
        ),
        statement(
            ["s3:GetBucketAcl", "s3:ListBucket"],
            [bucket_arn],
            sid="FlowsCheck",
            principals={"Service": delivery},
            conditions={"StringEquals": of_account},
        ),
    ]


def key_policy(partition: Partition, account: str, region: str) -> str:
    """The policy of a key for the stack: IAM decides in the account, and CloudWatch may encrypt its logs.

    Amazon MWAA needs no statement: it creates grants on behalf of whoever creates an environment.
    """
    root = {"AWS": f"arn:{partition.name}:iam::{account}:root"}
    logs = {"Service": f"logs.{region}.{partition.dns_suffix}"}
    log_groups = f"arn:{partition.name}:logs:{region}:{account}:log-group:*"
    statements = [
        statement(["kms:*"], ["*"], sid="IamDecides", principals=root),
        statement(
            ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
            ["*"],
            sid="EncryptLogs",
            principals=logs,
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": log_groups}},
        ),
    ]
    return json.dumps({"Version": VERSION, "Statement": statements})


# Marquez


def marquez_node(
    *,
    partition: Partition,
    region: str,
    log_bucket_arn: pulumi.Input[str],
    secret_arn: pulumi.Input[str],
    metrics_namespace: str,
    repositories: Sequence[str] = (),
    kms_key_arn: pulumi.Input[str] | None = None,
    group_name: str | None = None,
    secrets: Sequence[str] = (),
    domains: Sequence[str] = (),
    intake: bool = False,
) -> pulumi.Output[str]:
    """What a Marquez node may do; with `group_name`, also report readiness to its Auto Scaling group.

    `repositories`: those of its images that lie in Amazon ECR; `secrets` (ARNs) and `domains` (DataZone's
    ids): of further sinks; `intake`: it writes what producers post to the log.
    """

    def below(*prefixes: str) -> list[pulumi.Input[str]]:
        return [pulumi.Output.concat(log_bucket_arn, "/", prefix, "*") for prefix in prefixes]

    statements = [
        # The whole bucket: with prefixes only, S3 answers 403 instead of 404 for a missing checkpoint.
        statement(["s3:ListBucket"], [log_bucket_arn], sid="ListLineageLog"),
        statement(["s3:GetObject"], below("events/", "deploy/"), sid="ReadLineageLog"),
        statement(
            ["s3:GetObject", "s3:PutObject"], below("forwarder/", "set-aside/"), sid="KeepForwardersPlace"
        ),
        statement(["secretsmanager:GetSecretValue"], [secret_arn], sid="ReadDatabasePassword"),
        statement(
            ["cloudwatch:PutMetricData"],
            ["*"],  # the action has no resources; the condition narrows it
            sid="ReportMetrics",
            conditions={"StringEquals": {"cloudwatch:namespace": metrics_namespace}},
        ),
    ]
    if intake:
        statements.append(statement(["s3:PutObject"], below("events/"), sid="WriteLineageLog"))
    if kms_key_arn is not None:
        services = partition.via(region, "s3", "secretsmanager")
        statements.append(
            statement(
                ["kms:Decrypt", "kms:GenerateDataKey"],
                [kms_key_arn],
                sid="UseKey",
                conditions={"StringEquals": {"kms:ViaService": services}},
            )
        )
    if secrets or domains:
        statements.append(statement(["s3:PutObject"], below("sinks/"), sid="SetAsideForSinks"))
    if secrets:
        statements.append(
            statement(["secretsmanager:GetSecretValue"], [*sorted(set(secrets))], sid="ReadSinkSecrets")
        )
    if domains:
        arns = [f"arn:{partition.name}:datazone:{region}:*:domain/{each}" for each in sorted(set(domains))]
        statements.append(statement(["datazone:PostLineageEvent"], arns, sid="PostToDomains"))
    if repositories:
        statements += [
            statement(["ecr:GetAuthorizationToken"], ["*"], sid="LogInToRegistry"),  # it has no resources
            statement(
                ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], list(repositories), sid="PullImages"
            ),
        ]
    if group_name is not None:
        groups = f"arn:{partition.name}:autoscaling:{region}:*:autoScalingGroup:*"
        statements.append(
            statement(
                ["autoscaling:CompleteLifecycleAction"],
                [f"{groups}:autoScalingGroupName/{group_name}"],
                sid="ReportReadiness",
            )
        )
    return document(*statements)


# Airflow


@dataclass(frozen=True, kw_only=True)
class AirflowExecution:
    """What one Airflow environment's execution role needs to access; prefixes and names without ARN parts."""

    role_arn: pulumi.Output[str]
    partition: Partition
    region: str
    environment: str
    bucket_arn: pulumi.Input[str]
    lineage_log_arn: pulumi.Input[str]
    ownership_parameter: str
    secret_prefixes: Sequence[str]
    kms_key_arn: pulumi.Input[str] | None

    def arn(self, service: str, resource: str) -> pulumi.Output[str]:
        """The ARN of a resource in the role's account and region."""
        return arn_beside(self.role_arn, service, self.region, resource)


def airflow_execution(args: AirflowExecution) -> pulumi.Output[str]:
    """What Amazon MWAA requires of an execution role, and what the gate, lineage and the secrets need."""
    return document(
        statement(
            ["airflow:PublishMetrics"],
            [args.arn("airflow", f"environment/{args.environment}")],
            sid="Metrics",
        ),
        *_read_the_bucket(args),
        *_write_logs(args),
        statement(["cloudwatch:PutMetricData"], ["*"], sid="CloudWatchMetrics"),
        _use_the_queues(args),
        _use_the_key(args),
        *_gate_secrets_and_lineage(args),
    )


def _read_the_bucket(args: AirflowExecution) -> list[Statement]:
    return [
        statement(
            ["s3:GetBucket*", "s3:ListBucket", "s3:ListBucketVersions"], [args.bucket_arn], sid="OwnBucket"
        ),
        statement(
            ["s3:GetObject", "s3:GetObjectVersion"],
            [pulumi.Output.concat(args.bucket_arn, "/*")],
            sid="DagsPluginsRequirements",
        ),
        statement(["s3:GetAccountPublicAccessBlock"], ["*"], sid="CheckThatBucketsAreClosed"),
    ]


def _write_logs(args: AirflowExecution) -> list[Statement]:
    groups = args.arn("logs", f"log-group:airflow-{args.environment}-*")
    return [
        statement(
            [
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:GetLogEvents",
                "logs:GetLogGroupFields",
                "logs:GetLogRecord",
                "logs:GetQueryResults",
                "logs:PutLogEvents",
            ],
            [groups, pulumi.Output.concat(groups, ":*")],
            sid="Logs",
        ),
        statement(["logs:DescribeLogGroups"], ["*"], sid="FindLogGroups"),
    ]


def _use_the_queues(args: AirflowExecution) -> Statement:
    return statement(
        [
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
        ],
        [f"arn:{args.partition.name}:sqs:{args.region}:*:airflow-celery-*"],
        sid="TaskQueues",
    )


def _use_the_key(args: AirflowExecution) -> Statement:
    actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*"]
    # Of the stack's data, and of connections and variables that somebody encrypted with the same key.
    services = args.partition.via(args.region, "sqs", "s3", "secretsmanager")
    if args.kms_key_arn is None:
        # The queues are in Amazon's account, encrypted with a key of its own.
        return statement(
            actions,
            [args.role_arn.apply(lambda role: f"arn:{args.partition.name}:kms:*:{role.split(':')[4]}:key/*")],
            sid="AmazonsKeyOfTheQueues",
            all_but=True,
            conditions={"StringLike": {"kms:ViaService": services[:1]}},
        )
    return statement(
        actions,
        [args.kms_key_arn],
        sid="CustomerKey",
        conditions={"StringLike": {"kms:ViaService": services}},
    )


def _gate_secrets_and_lineage(args: AirflowExecution) -> list[Statement]:
    return [
        statement(
            ["ssm:GetParameter", "ssm:GetParameterHistory"],
            [args.arn("ssm", f"parameter{args.ownership_parameter}")],
            sid="OwnershipTimeline",
        ),
        statement(
            ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
            [args.arn("secretsmanager", f"secret:{prefix}/*") for prefix in args.secret_prefixes],
            sid="ConnectionsAndVariables",
        ),
        statement(
            ["s3:GetObject"],
            [pulumi.Output.concat(args.lineage_log_arn, "/ownership/*")],
            sid="OwnershipObjects",
        ),
        statement(
            ["s3:PutObject"],
            [pulumi.Output.concat(args.lineage_log_arn, f"/{prefix}*") for prefix in ("events/", UNGATED)],
            sid="LineageEvents",
        ),
    ]
