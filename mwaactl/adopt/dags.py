"""The DAGs of an adopted environment, from its bucket to the stack's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from bluegreen.proof import WRITTEN_FILES

from mwaactl.aws import Clients, aws_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AT_ONCE = 16


class Place(NamedTuple):
    """A folder in a bucket; `prefix` ends with a slash."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def copy_all(clients: Clients, source: Place, target: Place) -> int:
    """Make `target` the same as `source`, apart from what the program writes there; return how many files.

    Every file is copied each time: ETags of buckets with different keys tell nothing. Raises Unreachable.
    """
    s3 = clients.s3
    with aws_errors(f"copy the DAGs from {source} to {target}"):
        names, present = _names(s3, source), _names(s3, target)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: _copy(s3, source, target, name), names))
        for name in sorted(present - names - set(WRITTEN_FILES)):
            s3.delete_object(Bucket=target.bucket, Key=target.prefix + name)
    return len(names)


def _names(s3: S3Client, place: Place) -> set[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.prefix)
    keys = (entry["Key"] for page in pages for entry in page.get("Contents", []))
    return {key.removeprefix(place.prefix) for key in keys if not key.endswith("/")}


def _copy(s3: S3Client, source: Place, target: Place, name: str) -> None:
    s3.copy_object(
        Bucket=target.bucket,
        Key=target.prefix + name,
        CopySource={"Bucket": source.bucket, "Key": source.prefix + name},
        MetadataDirective="COPY",
    )
