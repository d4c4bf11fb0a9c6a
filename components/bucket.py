"""A private bucket: encrypted, versioned, no public access, TLS only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pulumi
import pulumi_aws as aws

from components.iam_policies import Statement, document, tls_only
from components.partition import Partition


class Bucket(Protocol):
    """`ready`: what must exist before anything is written."""

    @property
    def bucket(self) -> pulumi.Output[str]: ...
    @property
    def arn(self) -> pulumi.Output[str]: ...
    @property
    def ready(self) -> Sequence[pulumi.Resource]: ...


@dataclass(frozen=True)
class ExistingBucket:
    """A bucket that is not the stack's: the program puts files there, and changes nothing of it."""

    bucket: pulumi.Output[str]
    arn: pulumi.Output[str]
    ready: Sequence[pulumi.Resource] = ()

    @classmethod
    def named(cls, name: str) -> ExistingBucket:
        arn = f"arn:{Partition.current().name}:s3:::{name}"
        return cls(pulumi.Output.from_input(name), pulumi.Output.from_input(arn))


@dataclass(frozen=True, kw_only=True)
class AccessLog:
    """Where S3 records the requests to a bucket; `ready`: that place, with its policy."""

    bucket: pulumi.Input[str]
    prefix: str
    ready: Sequence[pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class PrivateBucketArgs:
    """How a private bucket treats its content, and how its name begins.

    With `keep`, the bucket and its content stay in AWS when it is removed from the stack; otherwise both are
    deleted. Under each of `old_versions_prefixes`, noncurrent object versions expire after
    `old_versions_days`, except the `old_versions` newest of each object; under each of `passing`, all of them
    after a day. Objects under a prefix in `expire`
    expire at that age in days. Without `kms_key_arn`, S3's own key encrypts the bucket. `statements` allows
    more than IAM does, given the bucket's ARN. With `access_log`, S3 records every request there.
    """

    keep: bool
    name_prefix: str | None = None
    old_versions_days: int = 30
    old_versions: int | None = None
    old_versions_prefixes: Sequence[str] = ("",)
    passing: Sequence[str] = ()
    expire: Mapping[str, int] = field(default_factory=dict)
    kms_key_arn: pulumi.Input[str] | None = None
    statements: Callable[[pulumi.Output[str]], Sequence[Statement]] | None = None
    access_log: AccessLog | None = None


class PrivateBucket(pulumi.ComponentResource):
    """One private bucket. Its physical name is its logical one and random digits, after `name_prefix`.

    A resource that needs the bucket ready (versioned, closed) and not just existing sets
    `depends_on=bucket.ready`.
    """

    bucket: pulumi.Output[str]
    arn: pulumi.Output[str]
    ready: Sequence[pulumi.Resource]

    def __init__(
        self, name: str, args: PrivateBucketArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mwaa-openlineage:index:PrivateBucket", name, None, opts)
        child = pulumi.ResourceOptions(
            parent=self,
            retain_on_delete=args.keep,  # a bucket that stays must remain private and encrypted
        )
        bucket = aws.s3.Bucket(
            name,
            bucket_prefix=f"{args.name_prefix}{name}-" if args.name_prefix else None,
            force_destroy=not args.keep,
            # Another name would be another bucket, without what is in this one.
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(ignore_changes=["bucketPrefix"])),
        )
        versioning = aws.s3.BucketVersioning(
            name,
            bucket=bucket.bucket,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=child,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            name, bucket=bucket.bucket, rules=[_encryption(args.kms_key_arn)], opts=child
        )
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket.bucket,
            rules=_lifecycle(args),
            # Rules about noncurrent versions need versioning.
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[versioning])),
        )
        closed = aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        aws.s3.BucketPolicy(
            name,
            bucket=bucket.bucket,
            policy=document(
                tls_only(bucket.arn), *(args.statements(bucket.arn) if args.statements is not None else ())
            ),
            # S3 refuses to change both at once (OperationAborted).
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[closed])),
        )
        if args.access_log is not None:
            aws.s3.BucketLogging(
                name,
                bucket=bucket.bucket,
                target_bucket=args.access_log.bucket,
                target_prefix=f"{args.access_log.prefix}{name}/",
                opts=pulumi.ResourceOptions(parent=self, depends_on=args.access_log.ready),
            )
        self.bucket = bucket.bucket
        self.arn = bucket.arn
        self.ready = [self]
        self.register_outputs({"bucket": self.bucket, "arn": self.arn})


def _encryption(
    kms_key_arn: pulumi.Input[str] | None,
) -> aws.s3.BucketServerSideEncryptionConfigurationRuleArgs:
    default = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
        sse_algorithm="AES256" if kms_key_arn is None else "aws:kms", kms_master_key_id=kms_key_arn
    )
    return aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
        apply_server_side_encryption_by_default=default, bucket_key_enabled=kms_key_arn is not None
    )


def _lifecycle(args: PrivateBucketArgs) -> list[aws.s3.BucketLifecycleConfigurationRuleArgs]:
    rules = [
        aws.s3.BucketLifecycleConfigurationRuleArgs(
            id=f"old-versions-{prefix.strip('/')}" if prefix else "old-versions",
            status="Enabled",
            filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
            noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                noncurrent_days=args.old_versions_days, newer_noncurrent_versions=args.old_versions
            ),
            expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(
                expired_object_delete_marker=True
            ),
        )
        for prefix in args.old_versions_prefixes
    ]
    rules += [
        aws.s3.BucketLifecycleConfigurationRuleArgs(
            id=f"passing-{prefix.strip('/')}",
            status="Enabled",
            filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
            noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                noncurrent_days=1
            ),
        )
        for prefix in args.passing
    ]
    rules.append(
        aws.s3.BucketLifecycleConfigurationRuleArgs(
            id="unfinished-uploads",
            status="Enabled",
            filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
            abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                days_after_initiation=7
            ),
        )
    )
    return rules + [
        aws.s3.BucketLifecycleConfigurationRuleArgs(
            id="expire" if len(args.expire) == 1 else f"expire-{prefix.strip('/')}",
            status="Enabled",
            filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
            expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
        )
        for prefix, days in args.expire.items()
    ]
