"""What MWAA reads from an environment's bucket: single objects at a version, and the DAGs continuously."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.mwaa.rules import Json, ValidationError
from local.processes import LocalError

KINDS = ("Plugins", "Requirements", "StartupScript")


class Bucket:
    """An environment's bucket."""

    def __init__(self, arn: str, s3: Any) -> None:
        """`s3`: a client of the environment's execution role."""
        self.name = arn.rpartition(":")[2]
        self._s3 = s3

    def newest_versions(self, environment: Json) -> Json:
        """The environment with complete object versions: those that it names are checked, others the newest.

        Raises ValidationError if an object cannot be read.
        """
        completed = dict(environment)
        for kind in KINDS:
            path = environment.get(f"{kind}S3Path")
            if not path:
                continue
            wanted = environment.get(f"{kind}S3ObjectVersion")
            version = {"VersionId": wanted} if wanted else {}
            try:
                head = self._s3.head_object(Bucket=self.name, Key=path, **version)
            except (ClientError, BotoCoreError) as error:
                raise ValidationError(
                    f"{kind}S3Path: unable to read {f'version {wanted} of ' if wanted else ''}{path}"
                    f" in bucket {self.name}: {error}"
                ) from error
            if head.get("VersionId"):
                completed[f"{kind}S3ObjectVersion"] = head["VersionId"]
        return completed

    def fetch(self, path: str, version: str | None, target: Path) -> None:
        """Download one object. Raises LocalError."""
        try:
            extra = {"VersionId": version} if version else {}
            body = self._s3.get_object(Bucket=self.name, Key=path, **extra)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise LocalError(
                f"s3://{self.name}/{path} (version {version}) cannot be read: {error}"
            ) from error
        target.write_bytes(body)

    def list(self, prefix: str) -> dict[str, str]:
        """The etags of all objects that can be files, by path below the prefix. Raises LocalError."""
        prefix = prefix.strip("/") + "/"
        etags: dict[str, str] = {}
        try:
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for item in page.get("Contents", ()):
                    path = PurePosixPath(item["Key"][len(prefix) :])
                    out = path.is_absolute() or ".." in path.parts  # of the folder that it is synced to
                    if item["Key"].endswith("/") or not path.parts or out:
                        continue
                    etags[str(path)] = item["ETag"]
        except (ClientError, BotoCoreError) as error:
            raise LocalError(f"s3://{self.name}/{prefix} cannot be listed: {error}") from error
        return etags


class DagSync:
    """Keeps a folder in sync with a prefix of a bucket. Files from elsewhere are left alone."""

    def __init__(self, bucket: Bucket, prefix: str, folder: Path, known: Path) -> None:
        """`known`: a file for the etags of the synced objects."""
        self._bucket = bucket
        self._prefix = prefix.strip("/")
        self._folder = folder
        self._known = known

    def sync(self) -> int:
        """Return the number of files written or removed. Raises LocalError."""
        before: dict[str, str] = json.loads(self._known.read_text()) if self._known.exists() else {}
        now = self._bucket.list(self._prefix)
        changed = [path for path, etag in now.items() if before.get(path) != etag]
        removed = [path for path in before if path not in now]
        if not changed and not removed:
            return 0
        for path in changed:
            target = self._folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = self._known.with_suffix(
                ".part"
            )  # outside the folder, so that no partial file is parsed
            self._bucket.fetch(f"{self._prefix}/{path}", None, partial)
            partial.replace(target)
        for path in removed:
            (self._folder / path).unlink(missing_ok=True)
        self._known.write_text(json.dumps(now))
        return len(changed) + len(removed)


def extract(archive: Path, folder: Path) -> None:
    """Replace a folder by the content of a zip file. Raises LocalError if it is not one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder)
    except zipfile.BadZipFile as error:
        raise LocalError(f"{archive.name} is not a zip file: {error}") from error
