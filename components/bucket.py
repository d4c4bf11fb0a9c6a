"""A private bucket: encrypted, versioned, no public access, TLS only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam_policies import tls_only


@dataclass(frozen=True, kw_only=True)
class PrivateBucketArgs:
    """How a private bucket treats its content.

    With `keep`, the bucket and its content stay in AWS when it is removed from the stack; otherwise both are
    deleted. Under each of `old_versions_prefixes`, noncurrent object versions expire after
    `old_versions_days`, except the `old_versions` newest of each object. With `expire_days`, objects under
    `expire_prefix` expire at that age. Without `kms_key_arn`, S3's own key encrypts the bucket.
    """

    keep: bool
    old_versions_days: int = 30
    old_versions: int | None = None
    old_versions_prefixes: Sequence[str] = ("",)
    expire_prefix: str = ""
    expire_days: int | None = None
    kms_key_arn: pulumi.Input[str] | None = None


class PrivateBucket(pulumi.ComponentResource):
    """One private bucket; Pulumi chooses its physical name.

    A resource that needs the bucket ready (versioned, closed) and not just existing sets
    `depends_on=[bucket]`.
    """

    bucket: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(
        self, name: str, args: PrivateBucketArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mwaa-openlineage:index:PrivateBucket", name, None, opts)
        child = pulumi.ResourceOptions(
            parent=self,
            retain_on_delete=args.keep,  # a bucket that stays must remain private and encrypted
        )
        bucket = aws.s3.Bucket(name, force_destroy=not args.keep, opts=child)
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
            policy=tls_only(bucket.arn),
            # S3 refuses to change both at once (OperationAborted).
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[closed])),
        )
        self.bucket = bucket.bucket
        self.arn = bucket.arn
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
    if args.expire_days is not None:
        rules.append(
            aws.s3.BucketLifecycleConfigurationRuleArgs(
                id="expire",
                status="Enabled",
                filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=args.expire_prefix),
                expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=args.expire_days),
            )
        )
    return rules
