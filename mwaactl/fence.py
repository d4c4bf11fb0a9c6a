"""Fencing: an explicit deny on an environment's execution role, against which no permission helps.

Whatever still runs there can no longer reach AWS: no ownership, no queue, no bucket, no secret. It does not
stop a process, nor what a task does outside of AWS.
"""

from __future__ import annotations

import json
from typing import Literal

from mwaactl.aws import Clients, aws_errors, error_code
from mwaactl.errors import Unreachable
from mwaactl.stack import Colour, Environment, Stack

POLICY = "mwaactl-fence"
DOCUMENT = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "Fence", "Effect": "Deny", "Action": "*", "Resource": "*"}],
    }
)
_ABSENT = ("NoSuchEntity", "NoSuchEntityException")


def fence(clients: Clients, environment: Environment) -> None:
    """Deny everything to the environment's execution role. Raises Unreachable if IAM refuses."""
    with aws_errors(f"fence {environment.name} (iam:PutRolePolicy on {environment.execution_role_arn})"):
        clients.iam.put_role_policy(RoleName=_role(environment), PolicyName=POLICY, PolicyDocument=DOCUMENT)


def unfence(clients: Clients, environment: Environment) -> bool:
    """Take the fence away; False if there was none. Raises Unreachable if IAM refuses."""
    from botocore.exceptions import ClientError

    with aws_errors(f"unfence {environment.name} (iam:DeleteRolePolicy on {environment.execution_role_arn})"):
        try:
            clients.iam.delete_role_policy(RoleName=_role(environment), PolicyName=POLICY)
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return False
            raise
    return True


def is_fenced(clients: Clients, environment: Environment) -> bool:
    """Whether the fence stands. Raises Unreachable if IAM cannot be asked."""
    from botocore.exceptions import ClientError

    with aws_errors(f"look for a fence (iam:GetRolePolicy on {environment.execution_role_arn})"):
        try:
            clients.iam.get_role_policy(RoleName=_role(environment), PolicyName=POLICY)
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return False
            raise
    return True


def check_fenced(
    stack: Stack, clients: Clients, target: Colour
) -> tuple[Literal["pass", "fail", "not checked"], str]:
    """The check `fenced`: work must not move to an environment that may not reach AWS."""
    environment = stack.require(target)
    try:
        if not is_fenced(clients, environment):
            return "pass", f"{environment.name} has no fence"
    except Unreachable as error:
        return "not checked", str(error)
    return "fail", (
        f"{environment.name} is fenced since a failover: its tasks are denied everything. Once it may work "
        f"again: mwaactl unfence {target} -s {stack.stack}"
    )


def _role(environment: Environment) -> str:
    return environment.execution_role_arn.rsplit("/", 1)[-1]
