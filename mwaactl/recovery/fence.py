"""Fencing: an explicit deny on an environment's execution role, against which no permission helps.

Whatever still runs there can no longer reach AWS: no ownership, no queue, no bucket, no secret. It does not
stop a process, nor what a task does outside of AWS.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mwaactl.aws import Clients, aws_errors, error_code
from mwaactl.json_model import Model

if TYPE_CHECKING:
    from mwaactl.checks.outcome import Outcome, Sides
    from mwaactl.stack import Colour, Environment

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


class Unfenced(Model):
    """What `unfence` did."""

    environment: str
    changed: bool  # False: there was no fence


def unfence(clients: Clients, environment: Environment) -> Unfenced:
    """Take the fence away, if there is one. Raises Unreachable if IAM refuses."""
    from botocore.exceptions import ClientError

    with aws_errors(f"unfence {environment.name} (iam:DeleteRolePolicy on {environment.execution_role_arn})"):
        try:
            clients.iam.delete_role_policy(RoleName=_role(environment), PolicyName=POLICY)
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return Unfenced(environment=environment.name, changed=False)
            raise
    return Unfenced(environment=environment.name, changed=True)


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


def check(sides: Sides) -> Outcome:
    """The check `fenced`: work must not move to an environment that may not reach AWS."""
    return judge(
        sides.evidence.fenced, sides.target.name, sides.target.colour, sides.evidence.why_not("fenced")
    )


def judge(fenced: bool | None, name: str, colour: Colour, why_not: str) -> Outcome:
    """The outcome of that check from whether the environment is fenced; None: not known, for that reason."""
    if fenced is None:
        return "not checked", why_not
    if not fenced:
        return "pass", f"{name} may reach AWS"
    return "fail", (
        f"{name} is fenced since a failover: its tasks are denied everything. Once it may work again: "
        f"mwaactl unfence {colour}"
    )


def _role(environment: Environment) -> str:
    return environment.execution_role_arn.rsplit("/", 1)[-1]
