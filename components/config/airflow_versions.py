"""The Airflow versions that this project deploys: Amazon MWAA offers them, and they run in the local cloud.

`local.airflow.locks` has the OpenLineage packages that each is tested with.
"""

from __future__ import annotations

from packaging.version import Version

AIRFLOW_VERSIONS = ("2.10.3", "2.11.0", "2.11.2", "3.0.6", "3.2.1", "3.3.1")


def major(version: str) -> int:
    """3 for "3.3.1"."""
    return Version(version).major


def at_least(version: str, other: str) -> bool:
    """Whether `version` is `other` or newer."""
    return Version(version) >= Version(other)


def python_of(version: str) -> str:
    """The Python of Amazon's image of an Airflow version, such as "3.12"."""
    return "3.12" if at_least(version, "2.11") else "3.11"
