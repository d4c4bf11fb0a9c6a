"""The archive that a node runs the forwarder and the intake from."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

from components.config.sinks import Sink
from components.python_archive import CHECKOUT, built, runnable_files

OURS = ("forwarder", "intake", "lineage_log")
THEIRS = ("boto3", "waitress")
# Of the several hundred that botocore describes:
SERVICES = ("cloudwatch", "datazone", "s3", "secretsmanager")
UNIT = Path(__file__).parent / "boot" / "lineage-sink@.service"


@cache
def forwarder_archive(sinks: tuple[Sink, ...] = ()) -> Path:
    """The archive's file. Its name changes with the content, and so the nodes with their sinks."""
    return built("forwarder", {**forwarder_files(), **_sink_files(sinks)})


def forwarder_files() -> dict[str, bytes]:
    """`{path inside: content}`."""
    return runnable_files([CHECKOUT / name for name in OURS], SERVICES, THEIRS)


def _sink_files(sinks: tuple[Sink, ...]) -> dict[str, bytes]:
    """The unit of all, and the options of each: user data has no room for them."""
    options = {f"sinks/{sink.name}.env": f"OPTIONS={shlex.quote(sink.options)}\n".encode() for sink in sinks}
    return {f"sinks/{UNIT.name}": UNIT.read_bytes(), **options} if sinks else {}
