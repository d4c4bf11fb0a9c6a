"""The Airflow versions that this project deploys: what Amazon MWAA offers, with the pins that fit each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AirflowVersion:
    """One version of Airflow on MWAA, with the OpenLineage versions that fit its constraints."""

    python: str
    openlineage_provider: str
    openlineage_client: str


# Not in MWAA's images, so every environment's requirements.txt names both packages; a pin outside the
# version's constraints makes pip fail, which MWAA only logs. Source: aws/amazon-mwaa-docker-images.
AIRFLOW_VERSIONS: dict[str, AirflowVersion] = {
    "2.10.3": AirflowVersion(python="3.11", openlineage_provider="1.13.0", openlineage_client="1.23.0"),
    "2.11.0": AirflowVersion(python="3.12", openlineage_provider="2.3.0", openlineage_client="1.33.0"),
    "2.11.2": AirflowVersion(python="3.12", openlineage_provider="2.11.0", openlineage_client="1.44.1"),
    "3.0.6": AirflowVersion(python="3.12", openlineage_provider="2.6.1", openlineage_client="1.37.0"),
    "3.2.1": AirflowVersion(python="3.12", openlineage_provider="2.16.0", openlineage_client="1.46.0"),
    "3.3.1": AirflowVersion(python="3.12", openlineage_provider="2.20.0", openlineage_client="1.52.0"),
}


def major(version: str) -> int:
    """3 for "3.3.1"."""
    return int(version.partition(".")[0])


def at_least(version: str, other: str) -> bool:
    """Whether `version` is `other` or newer; both are dotted numbers."""
    return _numbers(version) >= _numbers(other)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
