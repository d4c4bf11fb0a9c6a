"""The archive that a node runs the forwarder and the intake from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from components.python_archive import CHECKOUT, built, runnable_files

OURS = ("forwarder", "intake", "lineage_log")
THEIRS = ("boto3", "waitress")
SERVICES = ("cloudwatch", "s3")  # of the several hundred that botocore describes


@cache
def forwarder_archive() -> Path:
    """The archive's file. Its name changes with the content."""
    return built("forwarder", forwarder_files())


def forwarder_files() -> dict[str, bytes]:
    """`{path inside: content}`."""
    return runnable_files([CHECKOUT / name for name in OURS], SERVICES, THEIRS)
