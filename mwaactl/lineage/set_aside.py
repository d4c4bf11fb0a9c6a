"""Listing and retrying the events that the back end refused for good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from lineage_log.checkpoint import BadCheckpointError, leave_doubts
from lineage_log.delivery import Delivery
from lineage_log.doubts import Doubts
from lineage_log.event import Event
from lineage_log.log import EVENTS, SET_ASIDE, Log
from lineage_log.patient_client import Patience, Refusal, UnreachableError
from lineage_log.read_ahead import Read, read_ahead
from mwaactl import clock
from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unfinished, Unusable, UsageError
from mwaactl.json_model import Instant, Model
from mwaactl.lineage.replay import PATIENCE, POST_TIMEOUT, RefusedEvent, refused_event
from mwaactl.lineage.status import checkpoint_keys, objects, require, server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class SetAsideEvent(Model):
    """An event that the back end refused for good. `key`: in the bucket."""

    key: str
    when: Instant
    reason: str


class SetAsideList(Model):
    """The oldest events first; `total` may exceed the number listed."""

    bucket: str
    total: int
    events: tuple[SetAsideEvent, ...]


class RetryResult(Model):
    """What `mwaactl lineage set-aside retry` did. `refusals`: still set aside."""

    bucket: str
    to: str
    dry_run: bool
    posted: tuple[str, ...]
    refusals: tuple[RefusedEvent, ...]


def set_aside(deployment: Deployment, *, limit: int = 100) -> SetAsideList:
    """List the oldest events that are set aside. Raises Unreachable."""
    bucket, s3 = deployment.stack.lineage_log_bucket, deployment.clients.s3
    total = 0
    events: list[SetAsideEvent] = []
    with aws_errors(f"read what is set aside in s3://{bucket}"):
        for key, when in objects(s3, bucket, SET_ASIDE):
            total += 1
            if len(events) < limit:
                reason = s3.head_object(Bucket=bucket, Key=key)["Metadata"].get("reason", "")
                events.append(SetAsideEvent(key=key, when=when, reason=reason))
    return SetAsideList(bucket=bucket, total=total, events=tuple(events))


def retry(
    deployment: Deployment,
    keys: Sequence[str],
    *,
    to: str,
    dry_run: bool,
    patience: Patience = PATIENCE,
) -> RetryResult:
    """Post what is set aside (`keys` empty: all of it), oldest first, and remove what the back end accepts.

    If it ends between the two posts of an event that undoes others, the forwarder puts the run right.

    Raises UsageError for a key that is not set aside, Unreachable, Unfinished.
    """
    s3, bucket = deployment.clients.s3, deployment.stack.lineage_log_bucket
    posted: list[str] = []
    refusals: list[RefusedEvent] = []
    with closing(server(to, timeout=POST_TIMEOUT)) as marquez:
        with aws_errors(f"read what is set aside in s3://{bucket}"):
            present = [key for key, _ in objects(s3, bucket, SET_ASIDE)]
        wanted = sorted({_set_aside_key(key) for key in keys}) if keys else present
        if unknown := sorted(set(wanted) - set(present)):
            raise UsageError(
                f"not set aside: {', '.join(unknown)}. See: "
                f"mwaactl lineage set-aside list -s {deployment.name}"
            )
        if not dry_run and wanted:
            require(marquez, to)
            source, doubts = Log(s3, bucket), Doubts()
            delivery = Delivery(
                source,
                marquez,
                patience,
                stop=threading.Event(),
                until_saved=lambda saved: _leave_to_forwarders(s3, bucket, doubts, saved),
                now=clock.now,
            )
            delivery.begin(doubts)
            with aws_errors(f"read what is set aside in s3://{bucket}"):
                for key, event in read_ahead(source, iter(wanted)):
                    refusal = _post(delivery, key, event, f"{len(posted)} of {len(wanted)} were posted")
                    if refusal is None:
                        s3.delete_object(Bucket=bucket, Key=key)
                        posted.append(key)
                    else:
                        refusals.append(refused_event(key, refusal))
    return RetryResult(
        bucket=bucket,
        to=to,
        dry_run=dry_run,
        posted=tuple(wanted if dry_run else posted),
        refusals=tuple(refusals),
    )


def _set_aside_key(key: str) -> str:
    return SET_ASIDE + key.removeprefix(SET_ASIDE).removeprefix(EVENTS)


def _leave_to_forwarders(s3: S3Client, bucket: str, doubts: Doubts, saved: Callable[[], bool]) -> None:
    """Let them put right, in their own back ends, what this process would undo if it ended now."""
    with aws_errors(f"write to the forwarders' places in s3://{bucket}"):
        while not saved():
            doubts.begin_save()
            for key in checkpoint_keys(s3, bucket):
                try:
                    left = leave_doubts(s3, bucket, key, doubts.snapshot())
                except BadCheckpointError as error:
                    raise Unusable(str(error)) from error
                if not left:
                    raise Unfinished(
                        f"s3://{bucket}/{key} changes all the time. Repeat the command to continue"
                    )
            doubts.saved()


def _post(delivery: Delivery, key: str, event: Read, so_far: str) -> Refusal | None:
    """Post what is set aside under `key`; return the refusal, if any."""
    if not isinstance(event, Event):
        return Refusal(str(event or "it no longer exists"))
    try:
        return delivery.post_late(replace(event, key=EVENTS + key.removeprefix(SET_ASIDE)))
    except UnreachableError as error:
        raise Unfinished(
            f"{so_far}, then the back end became unreachable: {error}. Repeat the command to continue"
        ) from error
