"""The bucket for what AWS records about traffic: access logs of buckets and load balancer, and flow logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import iam_policies
from components.bucket import AccessLog, PrivateBucket, PrivateBucketArgs
from components.config.settings import Settings

BUCKETS = "buckets/"
BALANCER = "balancer"  # without a slash: the load balancer adds it, and the folder AWSLogs
FLOWS = "flows"


@dataclass(frozen=True, kw_only=True)
class AccessLogs:
    """Where the access logs go: below `prefix` of a bucket. `ready`: what must exist before."""

    bucket: pulumi.Input[str]
    prefix: str = ""
    ready: Sequence[pulumi.Resource] = ()

    @property
    def of_buckets(self) -> AccessLog:
        return AccessLog(bucket=self.bucket, prefix=f"{self.prefix}{BUCKETS}", ready=self.ready)

    @property
    def of_balancer(self) -> str:
        """The prefix of the load balancer's."""
        return f"{self.prefix}{BALANCER}"


@dataclass(frozen=True, kw_only=True)
class TrafficLogsArgs:
    settings: Settings


class TrafficLogs(pulumi.ComponentResource):
    """One private bucket; each kind of log has its prefix, and expires after the days of its setting.

    S3's own key encrypts it: neither S3 nor the load balancer delivers access logs to a bucket with another.
    Whatever has its logs delivered here sets `depends_on=[traffic_logs]`: AWS tries the policy at once.
    """

    bucket: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: TrafficLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:TrafficLogs", name, None, opts)
        settings = args.settings
        account = aws.get_caller_identity().account_id
        days = {
            BUCKETS: settings.access_log_days,
            f"{BALANCER}/": settings.access_log_days,
            f"{FLOWS}/": settings.flow_log_days,
        }
        store = PrivateBucket(
            name,
            PrivateBucketArgs(
                keep=settings.production,
                name_prefix=settings.bucket_prefix,
                old_versions_days=1,  # each log is written once
                expire={prefix: kept for prefix, kept in days.items() if kept},
                statements=lambda arn: iam_policies.deliver_logs(
                    arn, account, buckets=BUCKETS, balancer=BALANCER, flows=FLOWS
                ),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.bucket, self.arn = store.bucket, store.arn
        self.register_outputs({"bucket": self.bucket, "arn": self.arn})


def traffic_logs_of_the_stack(settings: Settings) -> TrafficLogs | None:
    """None if the settings want neither access nor flow logs."""
    if not settings.access_log_days and not settings.flow_log_days:
        return None
    return TrafficLogs("traffic-logs", TrafficLogsArgs(settings=settings))


def access_logs_of_the_stack(settings: Settings, traffic_logs: TrafficLogs | None) -> AccessLogs | None:
    """None if the settings want none."""
    if settings.access_log_bucket is not None:
        return AccessLogs(bucket=settings.access_log_bucket, prefix=f"{settings.name}/")
    if traffic_logs is None or not settings.access_log_days:
        return None
    return AccessLogs(bucket=traffic_logs.bucket, ready=[traffic_logs])
