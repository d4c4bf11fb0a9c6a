"""The execution role of an Airflow environment: the program's, or one that exists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.config.settings import EnvironmentSettings, Settings
from components.iam_policies import AirflowExecution, airflow_execution
from components.partition import Partition
from components.role import Added, RoleArgs, create_role

SERVICES = ("airflow.amazonaws.com", "airflow-env.amazonaws.com")
# IAM simulates no action with a wildcard: one that it stands for.
SIMULATED = {"s3:GetBucket*": "s3:GetBucketLocation"}
NOT_ALLOWED_TO_ASK = ("AccessDenied", "not authorized to perform")


@dataclass(frozen=True, kw_only=True)
class ExecutionRoleArgs:
    """What the role needs to access; `environment`: the name of the environment; `used`: this run gives the
    role to it; `adopting`: in the one update of its adoption. Others as in `AirflowExecution`."""

    settings: Settings
    own: EnvironmentSettings
    environment: str
    bucket_arn: pulumi.Input[str]
    lineage_log_arn: pulumi.Input[str]
    ownership_parameter: str
    secret_prefixes: Sequence[str]
    kms_key_arn: pulumi.Input[str] | None
    used: bool = True
    adopting: bool = False


@dataclass(frozen=True)
class ExecutionRole:
    """`document`: what the role must allow; `permissions`: what must exist before the role is used."""

    arn: pulumi.Output[str]
    name: pulumi.Output[str]
    document: pulumi.Output[str]
    permissions: list[pulumi.Resource]


def execution_role(name: str, args: ExecutionRoleArgs, opts: pulumi.ResourceOptions) -> ExecutionRole:
    """The role of an environment. Raises pulumi.RunError if an existing one is not as it must be."""
    existing = args.own.execution_role_arn
    if existing is not None:
        arn = pulumi.Output.from_input(existing)
        document = _document(args, arn)
        if args.used:
            _check_trust(existing, args)
            arn = _checked(existing, document, args)
        name = existing.rpartition("/")[2]
        return ExecutionRole(arn, pulumi.Output.from_input(name), document, [])
    made = create_role(
        name,
        RoleArgs(
            settings=args.settings,
            description=f"Execution role of the Airflow environment {args.environment}",
            services=SERVICES,
            policy=lambda arn: _document(args, arn),
            added=Added(policy=args.own.execution_policy, policy_arns=args.own.execution_policy_arns),
            force_detach_policies=True,  # `mwaactl failover --fence` adds one, which must not stop a destroy
        ),
        opts,
    )
    return ExecutionRole(made.role.arn, made.role.name, _document(args, made.role.arn), made.permissions)


def _document(args: ExecutionRoleArgs, arn: pulumi.Output[str]) -> pulumi.Output[str]:
    return airflow_execution(
        AirflowExecution(
            role_arn=arn,
            partition=Partition.current(),
            region=args.settings.region,
            environment=args.environment,
            bucket_arn=args.bucket_arn,
            lineage_log_arn=args.lineage_log_arn,
            ownership_parameter=args.ownership_parameter,
            secret_prefixes=args.secret_prefixes,
            kms_key_arn=args.kms_key_arn,
        )
    )


def _check_trust(arn: str, args: ExecutionRoleArgs) -> None:
    name = arn.rpartition("/")[2]
    try:
        role = aws.iam.get_role(name=name)
    except Exception as error:  # an invoke raises nothing narrower
        if _may_not_ask(error, arn, "iam:GetRole"):
            return
        raise pulumi.RunError(
            f"The execution role {arn} of {args.environment} cannot be used: {error}"
        ) from error
    if role.arn != arn:
        raise pulumi.RunError(
            f"The execution role {arn} of {args.environment} does not exist: IAM has {role.arn}."
        )
    trusted = set(_trusted(json.loads(role.assume_role_policy)))
    if missing := [service for service in SERVICES if service not in trusted]:
        raise pulumi.RunError(
            f"The execution role {arn} of {args.environment} must be one that {' and '.join(missing)} may "
            "assume. Trust, in its trust policy, the services " + " and ".join(SERVICES) + "."
        )


def _trusted(document: dict[str, Any]) -> Iterator[str]:
    """The services that a trust policy allows to assume a role."""
    statements = document["Statement"]
    for each in [statements] if isinstance(statements, dict) else statements:
        principal = each.get("Principal")
        if each["Effect"] == "Allow" and isinstance(principal, dict):
            yield from _texts(principal.get("Service", ()))


def _checked(arn: str, document: pulumi.Output[str], args: ExecutionRoleArgs) -> pulumi.Output[str]:
    """The role's ARN, known when IAM has found that the role allows what the document has."""

    def check(text: str) -> str:
        denied = [
            f"  {action} on {resource}"
            for statement in json.loads(text)["Statement"]
            for action, resource in _denied(arn, statement)
        ]
        if denied:
            raise pulumi.RunError(
                "\n".join(
                    [
                        f"The execution role {arn} of {args.environment} does not allow:",
                        *denied,
                        "This is all that it must allow:",
                        json.dumps(json.loads(text), indent=2),
                        *_then(args),
                    ]
                )
            )
        return arn

    return document.apply(check)


def _then(args: ExecutionRoleArgs) -> list[str]:
    if args.adopting:  # no `pulumi up` updates it; the command names itself
        return ["Add it to the role."]
    return ["Add it to the role, then update again:", f"  pulumi up -s {args.settings.stack}"]


def _denied(arn: str, statement: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What of a statement the role does not allow. Statements with conditions only a real call shows."""
    if "Condition" in statement:
        return
    try:
        found = aws.iam.get_principal_policy_simulation(
            policy_source_arn=arn,
            action_names=[SIMULATED.get(each, each) for each in statement["Action"]],
            resource_arns=statement["Resource"],
        )
    except Exception as error:  # an invoke raises nothing narrower
        if _may_not_ask(error, arn, "iam:SimulatePrincipalPolicy"):
            return
        raise
    for result in found.results:
        if not result.allowed:
            yield result.action_name, result.resource_arn


def _may_not_ask(error: Exception, arn: str, action: str) -> bool:
    """Whether it is only that the deployer may not ask; then warn."""
    if not any(reason in str(error) for reason in NOT_ALLOWED_TO_ASK):
        return False
    pulumi.warn(f"Whether {arn} is as it must be is not checked: these credentials have no {action} on it.")
    return True


def _texts(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value
