"""What the probe knows of its process besides the gate: what is installed, and whether secrets are readable.

Amazon MWAA only logs a failed installation of requirements.txt, and Airflow's secrets backend takes a refusal
for a secret that does not exist. Nothing here raises, and everything is short: Airflow cuts a template field
at 4096 characters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from bluegreen.aws import AwsError, request

SHOWN = ("apache-airflow", "apache-airflow-providers-openlineage", "openlineage-python")
MOST, LONGEST = 10, 120  # requirements that are named; characters of a text
TIMEOUT = 5.0  # seconds
ABSENT = "bluegreen_probe"  # a variable that nobody has
READABLE = "readable"


def software(requirements: Iterable[str]) -> dict[str, Any]:
    """Versions of what lineage needs, and which of these requirements (names, versions) are not fulfilled."""
    lines = list(requirements)
    missing = [text for line in lines if (text := _unfulfilled(line)) is not None]
    return {
        "installed": {name: _version(name) for name in SHOWN},
        "requirements": {"checked": len(lines), "failed": len(missing), "first": missing[:MOST]},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except Exception:  # noqa: BLE001 - not installed, or its metadata is broken
        return None


def _unfulfilled(line: str) -> str | None:
    """Why a requirement is not fulfilled here; None if it is, or does not apply."""
    from packaging.requirements import Requirement  # of Airflow's own

    try:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            return None
    except Exception as error:  # noqa: BLE001 - reported
        return f"{line[:LONGEST]}: {type(error).__name__}"
    version = _version(requirement.name)
    if version is None:
        return f"{line[:LONGEST]}: not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{line[:LONGEST]}: {version} is installed"
    return None


def secrets() -> str:
    """READABLE if this process may read below the prefix of Airflow's variables, else why not."""
    try:
        prefix = _prefix()
        if not prefix:
            return "no prefix of variables is configured (secrets.backend_kwargs)"
        body = json.dumps({"SecretId": f"{prefix}/{ABSENT}"}).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "secretsmanager.GetSecretValue",
        }
        request("secretsmanager", "POST", body=body, headers=headers, timeout=TIMEOUT)
    except AwsError as error:
        text = str(error)
        return READABLE if "ResourceNotFoundException" in text else text[: 2 * LONGEST]
    except Exception as error:  # noqa: BLE001 - reported
        return f"{type(error).__name__}: {error}"[: 2 * LONGEST]
    return READABLE


def _prefix() -> str | None:
    text = os.environ.get("AIRFLOW__SECRETS__BACKEND_KWARGS")
    if text is None:
        from airflow.configuration import conf

        text = conf.get("secrets", "backend_kwargs", fallback="{}")
    prefix = json.loads(text or "{}").get("variables_prefix")
    return str(prefix) if prefix else None
