"""IAM documents: the builders, and what each role of this program may do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

VERSION = "2012-10-17"

Statement = dict[str, Any]
"""One statement of an IAM document; its strings may be `pulumi.Output`."""


def statement(
    actions: Sequence[str],
    resources: Sequence[pulumi.Input[str]],
    *,
    sid: str,
    effect: str = "Allow",
    principals: Mapping[str, Any] | str | None = None,
    conditions: Mapping[str, Mapping[str, Any]] | None = None,
) -> Statement:
    """One statement. `principals` is for resource policies only."""
    made: Statement = {"Sid": sid, "Effect": effect, "Action": list(actions), "Resource": list(resources)}
    if principals is not None:
        made["Principal"] = principals
    if conditions is not None:
        made["Condition"] = conditions
    return made


def document(*statements: Statement) -> pulumi.Output[str]:
    """The statements as a JSON document, known as soon as its parts are."""
    return pulumi.Output.json_dumps({"Version": VERSION, "Statement": list(statements)})


def assume_role(*services: str) -> str:
    """The trust policy that lets these AWS services (`ec2.amazonaws.com`) assume a role."""
    trust = {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": VERSION, "Statement": [trust]})


def tls_only(bucket_arn: pulumi.Input[str]) -> pulumi.Output[str]:
    """A bucket policy that refuses every request without TLS."""
    return document(
        statement(
            ["s3:*"],
            [bucket_arn, pulumi.Output.concat(bucket_arn, "/*")],
            sid="RefuseWithoutTls",
            effect="Deny",
            principals="*",
            conditions={"Bool": {"aws:SecureTransport": "false"}},
        )
    )
