"""Pushing one folder of DAGs to the buckets of all environments, so that both sides have the same files."""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bluegreen.proof import WRITTEN_FILES
from bluegreen.timeline import Colour

from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, Unreachable, UsageError
from mwaactl.json_model import Model
from mwaactl.stack import Environment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BATCH = 1000  # keys per DeleteObjects call, S3's limit
# Name of the object's metadata: an ETag is not a digest of the content if the bucket uses KMS.
DIGEST = "sha256"


@dataclass(frozen=True)
class File:
    """A file to upload, read once so that every environment gets the same bytes."""

    content: bytes

    @property
    def md5(self) -> str:
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class EnvironmentPush(Model):
    """What a push did (in a dry run: would do) in one environment; names are relative to its DAGs folder."""

    environment: str
    bucket: str
    uploaded: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: int = 0
    left: tuple[str, ...] = ()  # in the bucket but not in the folder, and not deleted
    error: str | None = None  # why the environment could not be updated


class PushResult(Model):
    folder: str
    dry_run: bool
    environments: dict[Colour, EnvironmentPush]

    @property
    def behind(self) -> tuple[str, ...]:
        return tuple(files.environment for files in self.environments.values() if files.error is not None)


def collect(folder: Path) -> dict[str, File]:
    """The files to upload, by relative name: not `__pycache__`, nothing hidden but `.airflowignore`, and not
    what `pulumi up` writes.

    Raises UsageError if there is no such folder or it is empty, CheckFailed naming each Python file that does
    not parse.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Name the folder of your DAGs: mwaactl dags push DIR")
    files = {
        path.relative_to(folder).as_posix(): File(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _wanted(path.relative_to(folder))
    }
    if not files:
        raise UsageError(f"{folder} has no files to upload")
    broken = [
        problem for name, file in files.items() if (problem := _syntax_error(folder / name, file.content))
    ]
    if broken:
        raise CheckFailed("nothing was uploaded; " + "; ".join(broken))
    return files


def _wanted(name: Path) -> bool:
    if "__pycache__" in name.parts or name.suffix == ".pyc" or name.as_posix() in WRITTEN_FILES:
        return False
    return not any(part.startswith(".") for part in name.parts[:-1]) and (
        not name.name.startswith(".") or name.name == ".airflowignore"
    )


def _syntax_error(path: Path, content: bytes) -> str | None:
    if path.suffix != ".py":
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an invalid escape sequence
            ast.parse(content, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return f"{path}{f':{line}' if line else ''}: {getattr(error, 'msg', None) or error}"
    return None


def push_dags(
    deployment: Deployment, folder: Path, *, delete: bool = False, dry_run: bool = False
) -> PushResult:
    """Upload `folder` to every environment's DAGs folder.

    `delete` also deletes what is not in `folder` (the bucket is versioned: it can be restored). If an
    environment cannot be updated, its `error` says why; the others are still updated.
    """
    files = collect(folder)
    s3 = deployment.clients.s3
    with ThreadPoolExecutor(max_workers=len(deployment.stack.airflow_environments)) as pool:
        pushes = {
            colour: pool.submit(_push_one, s3, environment, files, delete=delete, dry_run=dry_run)
            for colour, environment in deployment.stack.airflow_environments.items()
        }
        results = {colour: pushing.result() for colour, pushing in pushes.items()}
    return PushResult(folder=str(folder), dry_run=dry_run, environments=results)


def _push_one(
    s3: S3Client, environment: Environment, files: Mapping[str, File], *, delete: bool, dry_run: bool
) -> EnvironmentPush:
    bucket, prefix = environment.bucket, environment.dags_prefix
    uploaded: list[str] = []
    deleted: list[str] = []
    unchanged, surplus = 0, []
    error: str | None = None
    try:
        with aws_errors(f"update s3://{bucket}/{prefix}"):
            present = stored_files(s3, environment)
            surplus = sorted(present.keys() - files.keys() - set(WRITTEN_FILES))
            for name, file in files.items():
                if _same(s3, bucket, prefix + name, file, present.get(name)):
                    unchanged += 1
                    continue
                if not dry_run:
                    s3.put_object(
                        Bucket=bucket, Key=prefix + name, Body=file.content, Metadata={DIGEST: file.sha256}
                    )
                uploaded.append(name)
            if delete:
                deleted += _delete(s3, bucket, prefix, surplus, dry_run=dry_run)
    except Unreachable as problem:
        error = str(problem)
    return EnvironmentPush(
        environment=environment.name,
        bucket=bucket,
        uploaded=tuple(uploaded),
        deleted=tuple(deleted),
        unchanged=unchanged,
        left=tuple(name for name in surplus if name not in set(deleted)),
        error=error,
    )


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


def _same(s3: S3Client, bucket: str, key: str, file: File, present: StoredFile | None) -> bool:
    if present is None or present.size != len(file.content):
        return False
    if present.etag == file.md5:
        return True
    return s3.head_object(Bucket=bucket, Key=key)["Metadata"].get(DIGEST) == file.sha256


def _delete(s3: S3Client, bucket: str, prefix: str, names: list[str], *, dry_run: bool) -> Iterable[str]:
    deleted: list[str] = []
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        if not dry_run:
            answer = s3.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": prefix + name} for name in batch], "Quiet": True}
            )
            if errors := answer.get("Errors"):
                first = errors[0]
                raise Unreachable(
                    f"could not delete {len(errors)} objects of s3://{bucket}/{prefix}, "
                    f"the first of them {first.get('Key')}: {first.get('Code')} {first.get('Message')}"
                )
        deleted += batch
    return deleted
