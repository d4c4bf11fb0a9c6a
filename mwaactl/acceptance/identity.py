"""Who the operator is for AWS, and which of the operators' policies these credentials fulfil.

IAM is asked to simulate the three documents that the stack exports. Without that permission nothing harmless
shows whether a write would be allowed: then the answer is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mwaactl.acceptance.line import Line, Result
from mwaactl.aws import aws_errors, error_code
from mwaactl.checks.fenced import ABSENT
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable

# What each document is for, in the order of their size.
TIERS: Mapping[str, str] = {
    "read": "status, history, audit, doctor and lineage status",
    "switch": "rehearse, switch, rollback, audit --backfill and dags push",
    "on_call": "failover, unfence and lineage set-aside retry",
}
AT_ONCE = 4  # simulations: IAM allows few calls a second


def identity(deployment: Deployment) -> list[Line]:
    """The lines `credentials` and `permissions`."""
    try:
        caller = _caller(deployment)
    except Unreachable as error:
        # mended where the credentials come from, so before anything else
        failed = Line(
            name="credentials", result="fail", detail=str(error), mend="aws sts get-caller-identity"
        )
        return [failed, *(_permission(tier, "unknown", "the credentials do not work") for tier in TIERS)]
    account = next(iter(deployment.stack.airflow_environments.values())).arn.split(":")[4]
    if caller.split(":")[4] != account:
        detail = f"{caller} is not of account {account}, where the stack is"
        mend = "mwaactl --profile NAME doctor"
        failed = Line(name="credentials", result="fail", detail=detail, mend=mend)
        return [failed, *(_permission(tier, "unknown", "another account's credentials") for tier in TIERS)]
    return [Line(name="credentials", result="pass", detail=caller), *_permissions(deployment, caller)]


def _caller(deployment: Deployment) -> str:
    with aws_errors("ask who these credentials are (sts:GetCallerIdentity)"):
        return str(deployment.clients.sts.get_caller_identity()["Arn"])


def principal(caller: str) -> str:
    """The user or role whose policies count for a caller (of a role with a path, only the name is known)."""
    head, _, name = caller.partition("assumed-role/")
    if not name:
        return caller
    return f"{head.replace(':sts:', ':iam:')}role/{name.split('/')[0]}"


def _permissions(deployment: Deployment, caller: str) -> list[Line]:
    source, policies = principal(caller), deployment.stack.operator_policies
    if source.endswith(":root"):
        detail = "IAM simulates users and roles, and these are the account's root credentials"
        return [_permission(tier, "unknown", detail) for tier in TIERS]
    statements = {
        json.dumps(statement, sort_keys=True): statement
        for tier in TIERS
        for statement in policies[tier]["Statement"]
    }
    _ = deployment.clients.iam  # created here: boto3 sessions are not thread-safe
    try:
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="simulate") as pool:
            answers = pool.map(lambda each: _denied(deployment, source, each), statements.values())
            denied = dict(zip(statements, answers, strict=True))
    except Unreachable as error:
        return [_permission(tier, "unknown", str(error), _how_to_allow(source)) for tier in TIERS]
    lines = []
    for tier in TIERS:
        keys = [json.dumps(statement, sort_keys=True) for statement in policies[tier]["Statement"]]
        actions = sorted({action for key in keys for action in denied[key]})
        if not actions:
            lines.append(_permission(tier, "pass", f"allowed: {TIERS[tier]}"))
            continue
        text = f"not allowed: {', '.join(actions)}. Needed for {TIERS[tier]}"
        mend = f"pulumi stack output operator_policies --json -s {deployment.name}"
        lines.append(_permission(tier, "fail" if tier == "read" else "warn", text, mend))
    return lines


def _permission(tier: str, result: Result, detail: str, mend: str = "") -> Line:
    return Line(name=f"permissions-{tier.replace('_', '-')}", result=result, detail=detail, mend=mend)


def _denied(deployment: Deployment, source: str, statement: Mapping[str, Any]) -> list[str]:
    """The actions of a statement that IAM would not allow these credentials. Raises Unreachable."""
    from botocore.exceptions import ClientError

    context: Any = [
        {"ContextKeyName": key, "ContextKeyValues": _texts(values)[:1], "ContextKeyType": "string"}
        for condition in (statement.get("Condition") or {}).values()
        for key, values in condition.items()
    ]
    denied: list[str] = []
    with aws_errors(f"simulate what {source} may do (iam:SimulatePrincipalPolicy)"):
        try:
            answer = deployment.clients.iam.simulate_principal_policy(
                PolicySourceArn=source,
                ActionNames=_texts(statement["Action"]),
                ResourceArns=_texts(statement["Resource"]),
                ContextEntries=context,
            )
        except ClientError as error:
            if error_code(error) in ABSENT:
                raise Unreachable(f"IAM does not know {source}: perhaps the role has a path") from error
            raise
    for result in answer["EvaluationResults"]:
        if missing := result.get("MissingContextValues"):
            raise Unreachable(f"it depends on {', '.join(missing)}, which only a real call has")
        each = [part["EvalResourceDecision"] for part in result.get("ResourceSpecificResults") or ()]
        if any(decision != "allowed" for decision in (result["EvalDecision"], *each)):
            denied.append(result["EvalActionName"])
    return denied


def _texts(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _how_to_allow(source: str) -> str:
    """The command that lets a principal simulate its own policies, and nobody else's."""
    kind, _, name = source.split(":")[5].partition("/")
    if kind not in ("role", "user"):
        return ""
    statement = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": source}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement}, separators=(",", ":"))
    name = name.rpartition("/")[2]
    return (
        f"aws iam put-{kind}-policy --{kind}-name {name} --policy-name simulate-itself "
        f"--policy-document '{document}'"
    )
