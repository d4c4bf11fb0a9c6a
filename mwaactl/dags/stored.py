"""The DAG files in an environment's bucket."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from mwaactl.dags.folder import File
from mwaactl.stack import Environment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Name of the object's metadata: an ETag is not a digest of the content if the bucket uses KMS.
DIGEST = "sha256"


class StoredFile(NamedTuple):
    """What a listing reports of a file."""

    etag: str
    size: int


def stored_files(s3: S3Client, environment: Environment) -> dict[str, StoredFile]:
    """The files below the environment's DAGs folder, by name relative to it."""
    prefix = environment.dags_prefix
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=environment.bucket, Prefix=prefix)
    return {
        entry["Key"].removeprefix(prefix): StoredFile(entry["ETag"].strip('"'), entry["Size"])
        for page in pages
        for entry in page.get("Contents", [])
        if not entry["Key"].endswith("/")  # a console's "folder"
    }


def last_change(s3: S3Client, environment: Environment) -> datetime | None:
    """When the newest file of the DAGs folder was written, by AWS's clock; None: there is no file."""
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=environment.bucket, Prefix=environment.dags_prefix
    )
    written = [entry["LastModified"] for page in pages for entry in page.get("Contents", [])]
    return max(written, default=None)


def stored_content(s3: S3Client, environment: Environment, name: str) -> bytes:
    with s3.get_object(Bucket=environment.bucket, Key=environment.dags_prefix + name)["Body"] as body:
        return body.read()


def is_stored(
    s3: S3Client, environment: Environment, name: str, file: File, present: StoredFile | None
) -> bool:
    """Whether the bucket has this file with this content; `present`: what its listing says of the name."""
    if present is None or present.size != len(file.content):
        return False
    if present.etag == file.md5:
        return True
    head = s3.head_object(Bucket=environment.bucket, Key=environment.dags_prefix + name)
    return head["Metadata"].get(DIGEST) == file.sha256
