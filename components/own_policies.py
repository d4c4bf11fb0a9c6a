"""Managed policies that exist: whether IAM takes them for the stack's roles, and as many of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pulumi
import pulumi_aws as aws

from components.config.settings import Settings
from components.marquez.back_end import SSM_CORE
from components.marquez.ec2 import BACKUP_ROLE_POLICY
from components.partition import Partition
from components.refusals import Refusals, commands

BOUNDARY = "permissions_boundary_arn"
DEFAULT_POLICIES, POLICIES_QUOTA = 10, "L-0DA4ABF3"  # managed policies of a role
# IAM is global: Service Quotas keeps its quotas in one region of each partition.
HOMES = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}


class _Role(NamedTuple):
    """`key`: the setting that adds `arns`; `amazons`: the policies of Amazon that the program attaches."""

    key: str
    arns: Sequence[str]
    amazons: Sequence[str]

    @property
    def attached(self) -> int:
        return len({*self.arns, *self.amazons})


def check_policies(settings: Settings) -> None:
    """Raises pulumi.RunError with all managed policies that IAM would refuse half-way through an update."""
    partition, refusals = Partition.current(), Refusals()
    roles = list(_roles(settings, partition))
    with refusals.kept():
        _check_accounts(settings, partition, roles)
    with refusals.kept():
        _check_number(settings, partition, roles)
    refusals.raise_all()


def _roles(settings: Settings, partition: Partition) -> Iterator[_Role]:
    """Those that the stack has, as the settings have them."""
    for colour in settings.colours:
        key = settings.path(colour, "execution_policy_arns").removeprefix("--path ")
        yield _Role(key, settings.environment(colour).execution_policy_arns, ())
    if settings.lineage == "marquez":
        amazons = (partition.managed_policy(SSM_CORE),)
        yield _Role("marquez_policy_arns", settings.marquez_policy_arns, amazons)
        if not settings.enable_ha_marquez:
            amazons = (partition.managed_policy(BACKUP_ROLE_POLICY),)
            yield _Role("snapshot_policy_arns", settings.snapshot_policy_arns, amazons)


def _check_accounts(settings: Settings, partition: Partition, roles: Sequence[_Role]) -> None:
    named = {f"{role.key}[{index}]": arn for role in roles for index, arn in enumerate(role.arns)}
    if settings.permissions_boundary_arn is not None:
        named = {BOUNDARY: settings.permissions_boundary_arn, **named}
    amazons = f"arn:{partition.name}:iam::aws:"
    if all(arn.startswith(amazons) for arn in named.values()):
        return
    ours = f"arn:{partition.name}:iam::{aws.get_caller_identity().account_id}:"
    wrong = {key: arn for key, arn in named.items() if not arn.startswith((amazons, ours))}
    if wrong:
        lines = "\n".join(f"  {key} = {arn}" for key, arn in wrong.items())
        raise pulumi.RunError(
            f"IAM takes policies of the stack's account ({ours}...) and Amazon's own only; "
            f"nothing was changed:\n{lines}\n{commands(settings, *wrong)}"
        )


def _check_number(settings: Settings, partition: Partition, roles: Sequence[_Role]) -> None:
    """Where a role has more than Amazon's default quota allows, ask for the account's."""
    most = max(role.attached for role in roles)
    if most <= DEFAULT_POLICIES:
        return
    home = HOMES.get(partition.name, settings.region)
    try:
        quota = int(
            aws.servicequotas.get_service_quota(
                service_code="iam", quota_code=POLICIES_QUOTA, region=home
            ).value
        )
    except Exception as error:  # noqa: BLE001 - an invoke raises nothing narrower
        pulumi.warn(f"Whether a role of this account may have {most} managed policies is not known: {error}")
        return
    if most <= quota:
        return
    lines = []
    for role in {role.key: role for role in roles if role.attached > quota}.values():
        ours = f", {len(role.amazons)} of them Amazon's own that it needs" if role.amazons else ""
        lines.append(f"  {role.key} gives a role {role.attached} managed policies{ours}")
        last = len(role.arns) - 1
        lines += [
            f"      pulumi config rm --path '{role.key}[{last - number}]' -s {settings.stack}"
            for number in range(role.attached - quota)
        ]
    raise pulumi.RunError(
        f"This account's quota is {quota} managed policies for a role; nothing was changed. Have it raised, "
        "or put some of them together:\n"
        "  aws service-quotas request-service-quota-increase --service-code iam "
        f"--quota-code {POLICIES_QUOTA} --desired-value {most} --region {home}\n" + "\n".join(lines)
    )
