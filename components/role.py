"""A role of the stack. Each is made here, so each has the stack's path and permissions boundary."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pulumi
import pulumi_aws as aws

from components.config.settings import Settings
from components.iam_policies import assume_role


@dataclass(frozen=True, kw_only=True)
class Added:
    """What the stack's settings add: a policy document (JSON), and ARNs of managed policies."""

    policy: str | None
    policy_arns: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class RoleArgs:
    """`services`: who may assume it (`ec2.amazonaws.com`); `policy`: makes the program's own document, given
    the role's ARN; `managed`: the ARNs of Amazon's policies that it needs, by what they are for.
    """

    settings: Settings
    description: str
    services: Sequence[str]
    added: Added
    policy: Callable[[pulumi.Output[str]], pulumi.Input[str]] | None = None
    managed: Mapping[str, str] = field(default_factory=dict)
    force_detach_policies: bool = False


class Role(NamedTuple):
    """`permissions`: what must exist before the role is used."""

    role: aws.iam.Role
    permissions: list[pulumi.Resource]


def create_role(name: str, args: RoleArgs, opts: pulumi.ResourceOptions) -> Role:
    """A role with all its permissions; `opts` are those of each resource."""
    role = aws.iam.Role(
        name,
        path=args.settings.iam_path,
        permissions_boundary=args.settings.permissions_boundary_arn,
        description=args.description,
        assume_role_policy=assume_role(*args.services),
        force_detach_policies=args.force_detach_policies or None,
        opts=opts,
    )
    documents = {name: args.policy(role.arn) if args.policy else None, f"{name}-added": args.added.policy}
    permissions: list[pulumi.Resource] = [
        aws.iam.RolePolicy(each, role=role.name, policy=document, opts=opts)
        for each, document in documents.items()
        if document is not None
    ]
    managed = {
        **args.managed,
        **{_label(arn): arn for arn in args.added.policy_arns if arn not in args.managed.values()},
    }
    permissions += [
        aws.iam.RolePolicyAttachment(f"{name}-{label}", role=role.name, policy_arn=arn, opts=opts)
        for label, arn in managed.items()
    ]
    return Role(role, permissions)


def _label(arn: str) -> str:
    """`aws-service-role-x-1f2e` of arn:aws:iam::aws:policy/service-role/X; the order does not matter."""
    _, _, _, _, account, resource = arn.split(":", 5)
    words = re.findall("[a-z0-9]+", f"{account}-{resource.removeprefix('policy/')}".lower())
    return "-".join([*words, hashlib.sha256(arn.encode()).hexdigest()[:4]])
