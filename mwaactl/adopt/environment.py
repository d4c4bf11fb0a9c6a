"""An environment that exists, with its files, as AWS has it now."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from mwaactl.aws import Clients, aws_errors, error_code
from mwaactl.errors import CheckFailed, UsageError

TASK, SCHEDULER = "TaskLogs", "SchedulerLogs"
# Of these logs the stack counts lines, so their groups must be there.
COUNTED = {TASK: "Task", SCHEDULER: "Scheduler"}


@dataclass(frozen=True)
class Files:
    """What it loads besides its DAGs. None: it has none; `plugins`: contents by path in the archive."""

    requirements: bytes | None = None
    plugins: Mapping[str, bytes] | None = None
    script: bytes | None = None


@dataclass(frozen=True)
class Found:
    """`about`: as GetEnvironment returns it; `vpc_id`: of its subnets."""

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


def read(clients: Clients, name: str) -> Found:
    """The environment. Raises UsageError if there is none, CheckFailed if it is not at rest, Unreachable."""
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
    if about["Status"] != "AVAILABLE":
        raise CheckFailed(f"{name} is {about['Status']}: adopt it when it is AVAILABLE")
    with aws_errors(f"find the VPC of {name}"):
        subnets = clients.ec2.describe_subnets(SubnetIds=about["NetworkConfiguration"]["SubnetIds"])[
            "Subnets"
        ]
    return Found(about, str(subnets[0]["VpcId"]), _files(clients, about))


def _files(clients: Clients, about: Mapping[str, Any]) -> Files:
    def content(kind: str) -> bytes | None:
        path, version = about.get(f"{kind}S3Path"), about.get(f"{kind}S3ObjectVersion")
        if not path:
            return None
        bucket = about["SourceBucketArn"].rpartition(":")[2]
        asked = {"Bucket": bucket, "Key": path, **({"VersionId": version} if version else {})}
        with (
            aws_errors(f"read s3://{bucket}/{path}"),
            clients.s3.get_object(**asked)["Body"] as body,
        ):
            return body.read()

    plugins = content("Plugins")
    return Files(
        content("Requirements"),
        None if plugins is None else unpacked(plugins, str(about["PluginsS3Path"])),
        content("StartupScript"),
    )


def unpacked(archive: bytes, name: str) -> dict[str, bytes]:
    """The files of a zip archive by path. Raises CheckFailed for what is no such archive, or leads out."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            files = {each.filename: opened.read(each) for each in opened.infolist() if not each.is_dir()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise CheckFailed(f"{name} of the environment cannot be unpacked: {error}") from error
    for path in files:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            raise CheckFailed(f"{name} of the environment has a file that leads out of it: {path!r}")
    return {
        path: content
        for path, content in files.items()
        if "__pycache__" not in PurePosixPath(path).parts and not path.startswith("__MACOSX/")
    }


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
