"""The locks of the Airflow versions that run here: `<version>.txt`, by `python -m local.airflow.locks`.

A lock has two uses. Without the OpenLineage packages, it is what an MWAA image of that version contains; as
a whole, it is the constraints file for a customer's requirements.txt. So each lock is resolved together with
the OpenLineage provider and client that fit the version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent

# What MWAA's images add to apache-airflow. psycopg2-binary stands for psycopg2, which needs a C compiler.
IMAGE = (
    "apache-airflow-providers-amazon[aiobotocore]",
    "apache-airflow-providers-fab",
    "apache-airflow-providers-postgres",
    "celery[sqs]",
    "fluent-logger",
    "psycopg2-binary",
    "virtualenv",
    "watchtower",
)


@dataclass(frozen=True)
class Version:
    """One Airflow version: its OpenLineage pins, and the day for which it is resolved (when all existed)."""

    provider: str
    client: str
    as_of: str


VERSIONS = {
    "2.10.3": Version(provider="1.13.0", client="1.23.0", as_of="2024-11-05"),
    "2.11.0": Version(provider="2.3.0", client="1.33.0", as_of="2025-05-20"),
    "2.11.2": Version(provider="2.11.0", client="1.44.1", as_of="2026-03-14"),
    "3.0.6": Version(provider="2.6.1", client="1.37.0", as_of="2025-08-29"),
    "3.2.1": Version(provider="2.16.0", client="1.46.0", as_of="2026-05-11"),
    "3.3.1": Version(provider="2.20.0", client="1.52.0", as_of="2026-08-12"),
}


def python(version: str) -> str:
    """The Python versions that a version runs on here. (MWAA has 3.12, and 3.11 for 2.10.3.)"""
    return ">=3.11,<3.13" if version.startswith("2.") else ">=3.11,<3.14"


def lock(version: str) -> Path:
    """The lock of a version in `VERSIONS`."""
    return FOLDER / f"{version}.txt"


def image(version: str) -> str:
    """The lock without the OpenLineage packages: on MWAA they come only through requirements.txt."""
    entries = re.split(r"\n(?=[a-z0-9])", lock(version).read_text())
    return "\n".join(entry for entry in entries if not re.match(r"[a-z0-9-]*openlineage", entry)) + "\n"
