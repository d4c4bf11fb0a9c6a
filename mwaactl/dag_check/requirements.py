"""The requirements with which a check installs Airflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mwaactl.aws import aws_errors
from mwaactl.dag_check.airflows import OPENLINEAGE
from mwaactl.dag_check.check import oldest_first
from mwaactl.deployment import Deployment
from mwaactl.errors import UsageError

KEY = "requirements.txt"  # in each environment's bucket


def given(versions: Sequence[str], file: Path | None) -> Mapping[str, str]:
    """One text for all these versions, by version. Raises UsageError."""
    text = read(file) if file is not None else OPENLINEAGE
    return dict.fromkeys(oldest_first(versions), text)


def of_stack(deployment: Deployment, file: Path | None = None) -> Mapping[str, str]:
    """By the version of each environment: the text of `file`, else the one in its bucket.

    Raises Unreachable, UsageError.
    """
    sides = {side.airflow_version: side for side in deployment.stack.airflow_environments.values()}
    if file is not None:
        return dict.fromkeys(oldest_first(list(sides)), read(file))
    texts: dict[str, str] = {}
    for version in oldest_first(list(sides)):
        bucket = sides[version].bucket
        with aws_errors(f"read s3://{bucket}/{KEY}"):
            answer = deployment.clients.s3.get_object(Bucket=bucket, Key=KEY)
            with answer["Body"] as body:
                texts[version] = body.read().decode()
    return texts


def read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
