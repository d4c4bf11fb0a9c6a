"""The requirements with which a check installs Airflow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mwaactl.aws import aws_errors
from mwaactl.dag_check.airflows import OPENLINEAGE, Checkout
from mwaactl.dag_check.model import RequirementsCheck
from mwaactl.dag_check.wheels import without_wheels
from mwaactl.dags.syntax import parsed_version
from mwaactl.deployment import Deployment
from mwaactl.errors import UsageError
from mwaactl.stack import Environment

KEY = "requirements.txt"  # in each environment's bucket


class Wanted(NamedTuple):
    """An Airflow to check with."""

    version: str
    requirements: str  # the text


def given(versions: Sequence[str], file: Path | None) -> tuple[Wanted, ...]:
    """These versions with the requirements of `file`, oldest first. Raises UsageError."""
    text = read(file) if file is not None else OPENLINEAGE
    return _oldest_first(Wanted(version, text) for version in versions)


def of_stack(deployment: Deployment, file: Path | None = None) -> tuple[Wanted, ...]:
    """Each environment's version, with the requirements of `file`, else with those in its bucket.

    Raises Unreachable, UsageError.
    """
    sides = deployment.stack.airflow_environments.values()
    if file is not None:
        return given([side.airflow_version for side in sides], file)
    return _oldest_first(Wanted(side.airflow_version, stored(deployment, side)) for side in sides)


def stored(deployment: Deployment, side: Environment) -> str:
    """The requirements.txt in an environment's bucket; if its packages come as wheels, the same versions from
    an index. Raises Unreachable."""
    with aws_errors(f"read s3://{side.bucket}/{KEY}"):
        answer = deployment.clients.s3.get_object(Bucket=side.bucket, Key=KEY)
        with answer["Body"] as body:
            return without_wheels(body.read().decode(errors="replace"))


def check_requirements(checkout: Checkout, wanted: Sequence[Wanted]) -> RequirementsCheck:
    """Install these requirements as Amazon would. Raises Unreachable, UsageError."""
    return RequirementsCheck(versions=tuple(checkout.try_to_install(*each) for each in wanted))


def _oldest_first(every: Iterable[Wanted]) -> tuple[Wanted, ...]:
    return tuple(sorted(dict.fromkeys(every), key=lambda each: parsed_version(each.version)))


def read(file: Path) -> str:
    """The file's lines after those that the program adds. Raises UsageError."""
    try:
        return OPENLINEAGE + file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
