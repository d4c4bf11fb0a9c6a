"""The changes of a push in the environments' buckets.

New contents are stored beside the DAGs first, where Airflow does not look, and then copied to their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from mwaactl.aws import aws_errors, error_code
from mwaactl.dags.folder import Folder
from mwaactl.dags.journal import PUSHES, Change, Lease
from mwaactl.dags.stored import DIGEST
from mwaactl.errors import Unreachable
from mwaactl.stack import Environment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BATCH = 1000  # keys per DeleteObjects call, S3's limit
AT_ONCE = 8  # calls of one side
Key = TypeVar("Key")
Value = TypeVar("Value")
Result = TypeVar("Result")


def on_each(
    sides: Mapping[Key, Value], do: Callable[[Value], Result]
) -> tuple[dict[Key, Result], dict[Key, str]]:
    """What `do` returns for each side, all at once, and why it raised Unreachable."""
    results: dict[Key, Result] = {}
    errors: dict[Key, str] = {}
    with ThreadPoolExecutor(max_workers=max(1, len(sides))) as pool:
        at_work = {key: pool.submit(do, value) for key, value in sides.items()}
        for key, answer in at_work.items():
            try:
                results[key] = answer.result()
            except Unreachable as error:
                errors[key] = str(error)
    return results, errors


def store_contents(s3: S3Client, lease: Lease, push_id: str, change: Change, folder: Folder) -> None:
    """Store the new contents beside the DAGs of one bucket. Raises Unreachable, LostRace."""
    by_digest = {file.sha256: file.content for file in folder.files.values()}

    def put(digest: str) -> None:
        lease.check()
        s3.put_object(
            Bucket=change.bucket,
            Key=_content_key(push_id, digest),
            Body=by_digest[digest],
            Metadata={DIGEST: digest},
        )

    with aws_errors(f"store new files in s3://{change.bucket}"), ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, sorted(set(change.put.values()))))


def apply(s3: S3Client, lease: Lease, push_id: str, change: Change, *, again: bool = False) -> None:
    """Make the changes in one bucket. Raises Unreachable, LostRace.

    `again`: some may have been made before, and contents may be gone (a new bucket has none).
    """
    from botocore.exceptions import ClientError

    def copy(item: tuple[str, str]) -> None:
        name, digest = item
        lease.check()
        try:
            s3.copy_object(
                Bucket=change.bucket,
                Key=change.prefix + name,
                CopySource={"Bucket": change.bucket, "Key": _content_key(push_id, digest)},
                MetadataDirective="REPLACE",
                Metadata={DIGEST: digest},
            )
        except ClientError as error:
            if not (again and error_code(error) == "NoSuchKey"):
                raise

    with aws_errors(f"update s3://{change.bucket}/{change.prefix}"):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(copy, change.put.items()))
        if change.delete:
            lease.check()
            surplus = {change.prefix + name for name in change.delete}
            _delete(
                s3, change.bucket, [key for key in _keys(s3, change.bucket, change.prefix) if key in surplus]
            )


def clear(s3: S3Client, environments: Iterable[Environment]) -> None:
    """Remove all new contents from beside the DAGs. Raises Unreachable."""
    for environment in environments:
        with aws_errors(f"remove what is below s3://{environment.bucket}/{PUSHES}"):
            _delete(s3, environment.bucket, _keys(s3, environment.bucket, PUSHES))


def _content_key(push_id: str, digest: str) -> str:
    return f"{PUSHES}{push_id}/{digest}"


def _keys(s3: S3Client, bucket: str, prefix: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def _delete(s3: S3Client, bucket: str, keys: list[str]) -> None:
    for start in range(0, len(keys), BATCH):
        answer = s3.delete_objects(
            Bucket=bucket,
            Delete={"Objects": [{"Key": key} for key in keys[start : start + BATCH]], "Quiet": True},
        )
        if errors := answer.get("Errors"):
            first = errors[0]
            raise Unreachable(
                f"could not delete {len(errors)} objects of s3://{bucket}, "
                f"the first of them {first.get('Key')}: {first.get('Code')} {first.get('Message')}"
            )
