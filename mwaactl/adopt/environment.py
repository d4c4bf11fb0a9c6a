"""An environment that exists, with its files, as AWS has it now."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from mwaactl.aws import Clients, aws_errors, error_code
from mwaactl.dags.packed import UNPACKED
from mwaactl.errors import CheckFailed, UsageError

LIFE = "bluegreen.life"  # an option that the gate needs, of components/airflow/life.py
TASK, SCHEDULER = "TaskLogs", "SchedulerLogs"
AT_REST = ("AVAILABLE", "UPDATE_FAILED")  # the latter: Amazon has put it back as it was, ready for use
# Of these logs the stack counts lines, so their groups must be there.
COUNTED = {TASK: "Task", SCHEDULER: "Scheduler"}


@dataclass(frozen=True)
class Files:
    """What it loads besides its DAGs. None: it has none; `plugins`: contents by path in the archive, of which
    `executable` are marked so there."""

    requirements: bytes | None = None
    plugins: Mapping[str, bytes] | None = None
    script: bytes | None = None
    executable: Collection[str] = ()


@dataclass(frozen=True)
class Found:
    """`about`: as GetEnvironment returns it; `vpc_id`: of its subnets; `files`: once they are read."""

    about: Mapping[str, Any]
    vpc_id: str
    files: Files = field(default_factory=Files)

    @property
    def name(self) -> str:
        return str(self.about["Name"])

    @property
    def bucket(self) -> str:
        return str(self.about["SourceBucketArn"]).rpartition(":")[2]

    @property
    def dags_folder(self) -> str:
        """Its prefix in the bucket, with the slash at the end that the API does not demand."""
        return str(self.about["DagS3Path"]).strip("/") + "/"

    @property
    def has_gate(self) -> bool:
        """Whether the one update is made, whatever the stack knows of it."""
        return LIFE in (self.about.get("AirflowConfigurationOptions") or {})


def read(clients: Clients, name: str) -> Found:
    """The environment, without its files. Raises UsageError if there is none, CheckFailed if it is not at
    rest, Unreachable."""
    from botocore.exceptions import ClientError

    with aws_errors(f"read the environment {name}"):
        try:
            about = clients.mwaa.get_environment(Name=name)["Environment"]
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":
                raise
            raise UsageError(
                f"there is no environment {name} in {clients.region}: aws mwaa list-environments --region "
                f"{clients.region}"
            ) from error
    if about["Status"] not in AT_REST:
        raise CheckFailed(f"{name} is {about['Status']}: adopt it when it is AVAILABLE")
    with aws_errors(f"find the VPC of {name}"):
        subnets = clients.ec2.describe_subnets(SubnetIds=about["NetworkConfiguration"]["SubnetIds"])[
            "Subnets"
        ]
    return Found(about, str(subnets[0]["VpcId"]))


def read_files(clients: Clients, about: Mapping[str, Any], instead: Files) -> Files:
    """Its files in the versions that it has; those in `instead` are not even read. Raises Unreachable,
    CheckFailed for an archive that a folder cannot stand for."""

    def content(kind: str, given: bytes | None = None) -> bytes | None:
        path, version = about.get(f"{kind}S3Path"), about.get(f"{kind}S3ObjectVersion")
        if given is not None or not path:
            return given
        bucket = about["SourceBucketArn"].rpartition(":")[2]
        asked = {"Bucket": bucket, "Key": path, **({"VersionId": version} if version else {})}
        with (
            aws_errors(f"read s3://{bucket}/{path}"),
            clients.s3.get_object(**asked)["Body"] as body,
        ):
            return body.read()

    plugins, executable = instead.plugins, instead.executable
    if plugins is None and (archive := content("Plugins")) is not None:
        plugins, executable = unpacked(archive, str(about["PluginsS3Path"]))
    return Files(
        content("Requirements", instead.requirements),
        plugins,
        content("StartupScript", instead.script),
        executable,
    )


def unpacked(archive: bytes, name: str) -> tuple[dict[str, bytes], Collection[str]]:
    """The files of a zip archive by path, and which of them are marked as executable.

    Raises CheckFailed for what is no such archive, leads out, or has what a folder of plugins cannot have.
    """
    files, links, executable = {}, [], set()
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            for each in opened.infolist():
                mode = each.external_attr >> 16  # none if another system than Unix made it
                if each.is_dir() or each.filename.startswith("__MACOSX/"):
                    continue
                files[each.filename] = opened.read(each)
                if stat.S_ISLNK(mode):
                    links.append(f"{each.filename}, a link")
                elif mode & 0o111:
                    executable.add(each.filename)
    except (zipfile.BadZipFile, *UNPACKED) as error:
        raise CheckFailed(f"{name} of the environment cannot be unpacked: {error}") from error
    for path in files:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            raise CheckFailed(f"{name} of the environment has a file that leads out of it: {path!r}")
    if unfit := [*links, *compiled(files)]:
        raise CheckFailed(
            f"{name} of the environment has {'; '.join(unfit)}: neither can be in the stack's plugins.zip. "
            "Unpack it, put files or sources in their place, then: --plugins FOLDER"
        )
    kept = {path: content for path, content in files.items() if not _is_cache(path)}
    return kept, executable & kept.keys()


def compiled(files: Collection[str]) -> Iterator[str]:
    """Modules whose source is missing: the program takes compiled files for caches, and leaves them out."""
    for path in files:
        if (
            path.endswith(".pyc")
            and "__pycache__" not in PurePosixPath(path).parts
            and path[:-1] not in files
        ):
            yield f"{path}, compiled without its source"


def _is_cache(path: str) -> bool:
    return "__pycache__" in PurePosixPath(path).parts or path.endswith(".pyc")


def make_log_groups(clients: Clients, found: Found) -> None:
    """Create the log groups whose lines the stack counts, where the environment has those logs off."""
    from botocore.exceptions import ClientError

    for kind, ending in COUNTED.items():
        if (found.about.get("LoggingConfiguration") or {}).get(kind, {}).get("Enabled"):
            continue
        group = f"airflow-{found.name}-{ending}"
        with aws_errors(f"create the log group {group}"):
            try:
                clients.logs.create_log_group(logGroupName=group)
            except ClientError as error:
                if error_code(error) != "ResourceAlreadyExistsException":
                    raise
