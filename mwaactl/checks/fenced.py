"""The check `fenced`: work must not move to an environment that may not reach AWS."""

from __future__ import annotations

from bluegreen.timeline import Colour

from mwaactl.aws import Clients, aws_errors, error_code
from mwaactl.checks.outcome import Outcome, Sides
from mwaactl.stack import Environment

POLICY = "mwaactl-fence"  # name of the inline policy that denies everything (mwaactl.recovery.fence)
ABSENT = ("NoSuchEntity", "NoSuchEntityException")  # IAM's answer for a role without such a policy


def is_fenced(clients: Clients, environment: Environment) -> bool:
    """Whether the environment is fenced. Raises Unreachable if IAM does not answer."""
    from botocore.exceptions import ClientError

    with aws_errors(f"look for a fence (iam:GetRolePolicy on {environment.execution_role_arn})"):
        try:
            clients.iam.get_role_policy(RoleName=role_name(environment), PolicyName=POLICY)
        except ClientError as error:
            if error_code(error) in ABSENT:
                return False
            raise
    return True


def check(sides: Sides) -> Outcome:
    """The check `fenced`: work must not move to an environment that may not reach AWS."""
    return judge(
        sides.evidence.fenced, sides.target.name, sides.target.colour, sides.evidence.why_not("fenced")
    )


def judge(fenced: bool | None, name: str, colour: Colour, why_not: str) -> Outcome:
    """The outcome for `fenced`; None: unknown, for the reason `why_not`."""
    if fenced is None:
        return "not checked", why_not
    if not fenced:
        return "pass", f"{name} may reach AWS"
    return "fail", (
        f"{name} has been fenced since a failover: its tasks are denied all access to AWS. When it is safe "
        f"to let it work again: mwaactl unfence {colour}"
    )


def role_name(environment: Environment) -> str:
    return environment.execution_role_arn.rsplit("/", 1)[-1]
