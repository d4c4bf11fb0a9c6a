"""IAM documents: the builders, and what each role of this program may do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

VERSION = "2012-10-17"

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
    """One statement. `principals` is for resource policies only; `all_but` means every other resource."""
    made: Statement = {"Sid": sid, "Effect": effect, "Action": list(actions)}
    made["NotResource" if all_but else "Resource"] = list(resources)
    if principals is not None:
        made["Principal"] = principals
    if conditions is not None:
        made["Condition"] = conditions
    return made


def document(*statements: Statement) -> pulumi.Output[str]:
    """The statements as a JSON document, known as soon as its parts are."""
    return pulumi.Output.json_dumps({"Version": VERSION, "Statement": list(statements)})


def assume_role(*services: str) -> str:
    """The trust policy that lets these AWS services (`ec2.amazonaws.com`) assume a role."""
    trust = {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": VERSION, "Statement": [trust]})


def arn_beside(role_arn: pulumi.Output[str], service: str, region: str, resource: str) -> pulumi.Output[str]:
    """The ARN of a resource in the partition and account of a role: known without asking AWS who we are."""

    def beside(arn: str) -> str:
        _, partition, _, _, account, _ = arn.split(":", 5)
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"

    return role_arn.apply(beside)


def tls_only(bucket_arn: pulumi.Input[str]) -> pulumi.Output[str]:
    """A bucket policy that refuses every request without TLS."""
    return document(
        statement(
            ["s3:*"],
            [bucket_arn, pulumi.Output.concat(bucket_arn, "/*")],
            sid="RefuseWithoutTls",
            effect="Deny",
            principals="*",
            conditions={"Bool": {"aws:SecureTransport": "false"}},
        )
    )


# Marquez


def marquez_node(
    *,
    region: str,
    log_bucket_arn: pulumi.Input[str],
    secret_arn: pulumi.Input[str],
    metrics_namespace: str,
    kms_key_arn: str | None = None,
    group_name: str | None = None,
) -> pulumi.Output[str]:
    """What a Marquez node may do; with `group_name`, also tell its Auto Scaling group that it is ready."""

    def below(*prefixes: str) -> list[pulumi.Input[str]]:
        return [pulumi.Output.concat(log_bucket_arn, "/", prefix, "*") for prefix in prefixes]

    statements = [
        # The whole bucket, not prefixes: else S3 answers 403 instead of 404 for a checkpoint not yet written.
        statement(["s3:ListBucket"], [log_bucket_arn], sid="ListLineageLog"),
        statement(["s3:GetObject"], below("events/", "deploy/"), sid="ReadLineageLog"),
        statement(
            ["s3:GetObject", "s3:PutObject"], below("forwarder/", "set-aside/"), sid="SaveForwarderCheckpoint"
        ),
        statement(["secretsmanager:GetSecretValue"], [secret_arn], sid="ReadDatabasePassword"),
        statement(
            ["cloudwatch:PutMetricData"],
            ["*"],  # the action knows no resources; the condition narrows it
            sid="ReportMetrics",
            conditions={"StringEquals": {"cloudwatch:namespace": metrics_namespace}},
        ),
    ]
    if kms_key_arn is not None:
        services = [f"{service}.{region}.amazonaws.com" for service in ("s3", "secretsmanager")]
        statements.append(
            statement(
                ["kms:Decrypt", "kms:GenerateDataKey"],
                [kms_key_arn],
                sid="UseKey",
                conditions={"StringEquals": {"kms:ViaService": services}},
            )
        )
    if group_name is not None:
        group = f"arn:aws:autoscaling:{region}:*:autoScalingGroup:*:autoScalingGroupName/{group_name}"
        statements.append(statement(["autoscaling:CompleteLifecycleAction"], [group], sid="ReportReadiness"))
    return document(*statements)


@dataclass(frozen=True, kw_only=True)
class AirflowExecution:
    """What the execution role of one Airflow environment is about; prefixes and names without ARN parts."""

    role_arn: pulumi.Output[str]
    region: str
    environment: str
    bucket_arn: pulumi.Input[str]
    lineage_log_arn: pulumi.Input[str]
    ownership_parameter: str
    secret_prefixes: Sequence[str]
    kms_key_arn: str | None


def airflow_execution(args: AirflowExecution) -> pulumi.Output[str]:
    """What Amazon MWAA demands of an execution role, and what the gate, lineage and the secrets need."""

    def arn(service: str, resource: str) -> pulumi.Output[str]:
        return arn_beside(args.role_arn, service, args.region, resource)

    queues = args.role_arn.apply(
        lambda role: f"arn:{role.split(':')[1]}:sqs:{args.region}:*:airflow-celery-*"
    )
    log_groups = arn("logs", f"log-group:airflow-{args.environment}-*")
    use_key = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*"]
    services = [f"sqs.{args.region}.amazonaws.com", f"s3.{args.region}.amazonaws.com"]
    if args.kms_key_arn is None:
        # The queues lie in Amazon's account, under a key of its own.
        key = statement(
            use_key,
            [args.role_arn.apply(lambda role: f"arn:{role.split(':')[1]}:kms:*:{role.split(':')[4]}:key/*")],
            sid="AmazonsKeyOfTheQueues",
            all_but=True,
            conditions={"StringLike": {"kms:ViaService": services[:1]}},
        )
    else:
        key = statement(
            use_key,
            [args.kms_key_arn],
            sid="CustomerKey",
            conditions={"StringLike": {"kms:ViaService": services}},
        )
    return document(
        statement(
            ["airflow:PublishMetrics"], [arn("airflow", f"environment/{args.environment}")], sid="Metrics"
        ),
        statement(
            ["s3:GetBucket*", "s3:ListBucket", "s3:ListBucketVersions"], [args.bucket_arn], sid="OwnBucket"
        ),
        statement(
            ["s3:GetObject", "s3:GetObjectVersion"],
            [pulumi.Output.concat(args.bucket_arn, "/*")],
            sid="DagsPluginsRequirements",
        ),
        statement(["s3:GetAccountPublicAccessBlock"], ["*"], sid="CheckThatBucketsAreClosed"),
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
            [log_groups, pulumi.Output.concat(log_groups, ":*")],
            sid="Logs",
        ),
        statement(["logs:DescribeLogGroups"], ["*"], sid="FindLogGroups"),
        statement(["cloudwatch:PutMetricData"], ["*"], sid="CloudWatchMetrics"),
        statement(
            [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:GetQueueUrl",
                "sqs:ReceiveMessage",
                "sqs:SendMessage",
            ],
            [queues],
            sid="TaskQueues",
        ),
        key,
        statement(
            ["ssm:GetParameter", "ssm:GetParameterHistory"],
            [arn("ssm", f"parameter{args.ownership_parameter}")],
            sid="OwnershipTimeline",
        ),
        statement(
            ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
            [arn("secretsmanager", f"secret:{prefix}/*") for prefix in args.secret_prefixes],
            sid="ConnectionsAndVariables",
        ),
        statement(
            ["s3:PutObject"], [pulumi.Output.concat(args.lineage_log_arn, "/events/*")], sid="LineageEvents"
        ),
    )
