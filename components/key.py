"""The key that encrypts the stack's data: one that the settings name, one of the stack's own, or Amazon's."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import iam_policies
from components.config.settings import Settings
from components.partition import Partition


@dataclass(frozen=True, kw_only=True)
class EncryptionKeyArgs:
    """`production`: the key stays when it is removed from the stack, because the data stays too."""

    name: str
    region: str
    production: bool


class EncryptionKey(pulumi.ComponentResource):
    """A customer managed key that AWS rotates each year."""

    arn: pulumi.Output[str]

    def __init__(
        self, name: str, args: EncryptionKeyArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mwaa-openlineage:index:EncryptionKey", name, None, opts)
        child = pulumi.ResourceOptions(
            parent=self, retain_on_delete=args.production
        )  # as the buckets are kept
        key = aws.kms.Key(
            name,
            description=f"Data of {args.name}: Airflow, buckets, logs, lineage",
            enable_key_rotation=True,
            deletion_window_in_days=30 if args.production else 7,
            policy=iam_policies.key_policy(
                Partition.current(), aws.get_caller_identity().account_id, args.region
            ),
            opts=child,
        )
        aws.kms.Alias(name, name=f"alias/{args.name}", target_key_id=key.key_id, opts=child)
        self.arn = key.arn
        self.register_outputs({"arn": self.arn})


def key_of_the_stack(settings: Settings) -> pulumi.Input[str] | None:
    """The ARN of the key, None for Amazon's own keys."""
    if not settings.create_kms_key:
        return settings.kms_key_arn
    args = EncryptionKeyArgs(name=settings.name, region=settings.region, production=settings.production)
    return EncryptionKey("key", args).arn
