"""Fencing: an explicit deny on an environment's execution role, which no permission overrides.

Whatever still runs there can no longer reach AWS: neither the ownership parameter nor a queue, a bucket or a
secret. The fence stops neither a process nor what a task does outside AWS.
"""

from __future__ import annotations

import json

from mwaactl.aws import Clients, aws_errors, error_code
from mwaactl.checks.fenced import ABSENT, POLICY, role_name
from mwaactl.json_model import Model
from mwaactl.stack import Environment

DOCUMENT = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "Fence", "Effect": "Deny", "Action": "*", "Resource": "*"}],
    }
)


def fence(clients: Clients, environment: Environment) -> None:
    """Deny everything to the environment's execution role. Raises Unreachable if IAM refuses."""
    with aws_errors(f"fence {environment.name} (iam:PutRolePolicy on {environment.execution_role_arn})"):
        clients.iam.put_role_policy(
            RoleName=role_name(environment), PolicyName=POLICY, PolicyDocument=DOCUMENT
        )


class UnfenceResult(Model):
    """What `unfence` did."""

    environment: str
    changed: bool  # False: the environment had no fence


def unfence(clients: Clients, environment: Environment) -> UnfenceResult:
    """Remove the fence, if there is one. Raises Unreachable if IAM refuses."""
    from botocore.exceptions import ClientError

    with aws_errors(f"unfence {environment.name} (iam:DeleteRolePolicy on {environment.execution_role_arn})"):
        try:
            clients.iam.delete_role_policy(RoleName=role_name(environment), PolicyName=POLICY)
        except ClientError as error:
            if error_code(error) in ABSENT:
                return UnfenceResult(environment=environment.name, changed=False)
            raise
    return UnfenceResult(environment=environment.name, changed=True)
