"""The lineage log: the bucket to which every Airflow writes its OpenLineage events.

The log is the record; what Marquez shows is derived from it and can be rebuilt.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.bucket import AccessLog, PrivateBucket, PrivateBucketArgs
from components.config.settings import Settings

EVENTS = "events/"  # one object per event; Airflow writes each once
CHECKPOINTS = "forwarder/"  # the forwarders' checkpoints
SET_ASIDE = "set-aside/"  # copies of events that Marquez rejects permanently
SINKS = "sinks/"  # and of those that a further sink does
DEPLOY = "deploy/"  # what Marquez's nodes fetch at boot, and the nightly audit at each run
PUSHES = "dag-pushes/"  # the push of DAGs that has not ended; in the environments' buckets, its files
OWNERSHIP = "ownership/"  # what does not fit into the ownership parameter; nothing of it ever expires


@dataclass(frozen=True, kw_only=True)
class LineageLogArgs:
    """`name`: the deployment's physical prefix, `{project}-{stack}`; `kms_key_arn`: the stack's key."""

    name: str
    settings: Settings
    kms_key_arn: pulumi.Input[str] | None
    access_log: AccessLog | None = None


class LineageLog(pulumi.ComponentResource):
    """One private bucket. Events, and the copies of those that were refused, expire after
    `lineage_retention_days`; in production a bucket that holds events is never deleted.

    It is versioned, which costs nothing for events, since each is written once. An event (or a forwarder's
    checkpoint) that is overwritten or deleted by mistake can be restored for three days, an object of the
    ownership timeline at any time.
    """

    bucket: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]

    def __init__(self, name: str, args: LineageLogArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:LineageLog", name, None, opts)
        store = PrivateBucket(
            name,
            PrivateBucketArgs(
                keep=args.settings.production,
                name_prefix=args.settings.bucket_prefix,
                old_versions_days=3,
                old_versions_prefixes=(EVENTS, CHECKPOINTS, SET_ASIDE, SINKS, DEPLOY, PUSHES),
                # No checkpoint: a forwarder without its place would post the whole log again.
                expire=dict.fromkeys((EVENTS, SET_ASIDE, SINKS), args.settings.lineage_retention_days),
                kms_key_arn=args.kms_key_arn,
                access_log=args.access_log,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.bucket = store.bucket
        self.bucket_arn = store.arn
        self.register_outputs({"bucket": self.bucket, "bucket_arn": self.bucket_arn})
