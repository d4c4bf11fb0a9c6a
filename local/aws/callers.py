"""Who calls the emulated AWS: credentials of roles and of the operator, and the judgement of a call.

The deployer (`ministack.environ`) may do everything. Each other process has credentials of its own role,
which the program has registered, with that role's policies.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.aws import ministack
from local.home import ACCOUNT, REGION, Home
from local.processes import LocalError

OPERATOR = "operator"
SESSION_SECONDS = 10 * 365 * 24 * 3600  # nothing here renews credentials; Amazon's last 12 hours at most
JUDGE_SECONDS = 30.0


class UnknownRoleError(LocalError):
    """There is no such role."""


@dataclass(frozen=True)
class Judgement:
    """`caller`: the ARN; `denied`: of each call in its order, why it is not allowed, or None."""

    caller: str
    denied: tuple[str | None, ...]


def deployer(home: Home, service: str) -> Any:
    """A client that may do everything."""
    return _client(service, ministack.environ(home))


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def as_role(home: Home, service: str, arn: str) -> Any:
    """A client with a role's permissions. Raises UnknownRoleError."""
    return _client(service, ministack.environ(home) | of_role(home, arn))


def of_role(home: Home, arn: str) -> dict[str, str]:
    """The variables with a role's credentials, kept while they are valid. Raises UnknownRoleError."""
    name = arn.rpartition("/")[2]
    file = home.dir("state", "aws", "credentials") / f"{name}.json"
    with suppress(OSError, ValueError, ClientError):
        kept: dict[str, str] = json.loads(file.read_text())
        _client("sts", ministack.environ(home) | kept).get_caller_identity()
        deployer(home, "iam").get_role(RoleName=name)
        return kept
    try:
        answer = deployer(home, "sts").assume_role(
            RoleArn=arn,
            RoleSessionName="local",
            DurationSeconds=SESSION_SECONDS,
        )
    except (ClientError, BotoCoreError) as error:
        raise UnknownRoleError(f"{arn} cannot be assumed: {error}") from error
    fresh = {
        "AWS_ACCESS_KEY_ID": answer["Credentials"]["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": answer["Credentials"]["SecretAccessKey"],
        "AWS_SESSION_TOKEN": answer["Credentials"]["SessionToken"],
    }
    file.write_text(json.dumps(fresh))
    return fresh


def grant_operator(home: Home, stack: str, policy: Mapping[str, Any]) -> None:
    """Let the operator do with `stack` what one of its exported documents says."""
    iam = deployer(home, "iam")
    name = f"{stack}-{OPERATOR}"
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{name}"
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_user(UserName=OPERATOR)
    with suppress(ClientError):
        iam.detach_user_policy(UserName=OPERATOR, PolicyArn=arn)
    with suppress(ClientError):
        iam.delete_policy(PolicyArn=arn)
    iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))
    iam.attach_user_policy(UserName=OPERATOR, PolicyArn=arn)


def of_operator(home: Home) -> dict[str, str]:
    """The variables with the operator's credentials; empty before a stack has granted anything."""
    file = home.dir("state", "aws", "credentials") / f"{OPERATOR}.user.json"
    with suppress(OSError, ValueError, ClientError):
        kept: dict[str, str] = json.loads(file.read_text())
        _client("sts", ministack.environ(home) | kept).get_caller_identity()
        return kept
    try:
        key = deployer(home, "iam").create_access_key(UserName=OPERATOR)["AccessKey"]
    except (ClientError, BotoCoreError):
        return {}
    fresh = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    file.write_text(json.dumps(fresh))
    return fresh


def judge(endpoint: str, access_key: str, calls: Sequence[Mapping[str, Any]], without: str = "") -> Judgement:
    """Whether the policies of this key's owner allow each call (`action`, `resource`, `context`).

    `without`: leave out the statements of that Sid. Raises OSError if the emulated AWS does not answer.
    """
    asked = json.dumps({"access_key": access_key, "calls": [*calls], "without": without}).encode()
    request = urllib.request.Request(f"{endpoint}/local/judge", asked, method="POST")  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=JUDGE_SECONDS) as answer:  # noqa: S310 - ours, on loopback
        told = json.load(answer)
    return Judgement(told["caller"], tuple(told["denied"]))


def _client(service: Any, env: Mapping[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=REGION,
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=env.get("AWS_SESSION_TOKEN"),
    )
