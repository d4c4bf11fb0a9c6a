"""Airflow environments, through Amazon MWAA's own API: `local/mwaa.py` answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from local.provider.services import Service, client, error_code, said
from local.provider.values import Props, ProviderError

EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 3600.0
MAPS = ("airflowConfigurationOptions", "tags")  # their keys are the user's own
NOT_ARGUMENTS = ("region", "workerReplacementStrategy")  # the latter is for updates
NOT_UPDATED = ("name", "kmsKey", "endpointManagement", "tags", "region")


class Environment:
    def create(self, inputs: Props) -> tuple[str, Props]:
        name = inputs["name"]
        arguments = _api({k: v for k, v in inputs.items() if k not in NOT_ARGUMENTS})
        found = _get(name)
        if found is not None and found["Status"] == "CREATE_FAILED":
            self.delete(name, {})
            found = None
        if found is None or not _same(found, arguments):
            # An equal one was left by a run that was interrupted while it came up: it is taken over.
            try:
                client("mwaa").create_environment(**arguments)
            except ClientError as error:
                raise said(f"creating the Airflow environment {name}", error) from error
        return name, _outputs(_settle(name))

    def read(self, identifier: str, state: Props) -> Props | None:
        found = _get(identifier)
        if found is None or found["Status"] == "DELETED":
            return None
        return _outputs(found) | {key: value for key, value in _inputs(found).items() if key in state}

    def update(self, identifier: str, old: Props, new: Props) -> Props:
        mwaa = client("mwaa")
        changed = {
            key: value for key, value in new.items() if old.get(key) != value and key not in NOT_UPDATED
        }
        if "networkConfiguration" in changed:
            changed["networkConfiguration"] = {
                "securityGroupIds": changed["networkConfiguration"]["securityGroupIds"]
            }
        if "airflowConfigurationOptions" in old and "airflowConfigurationOptions" not in new:
            changed["airflowConfigurationOptions"] = {}
        try:
            if changed.keys() - {"workerReplacementStrategy"}:
                mwaa.update_environment(Name=identifier, **_api(changed))
            before, after = old.get("tags") or {}, new.get("tags") or {}
            if before != after:
                arn = _settle(identifier)["Arn"]
                if after:
                    mwaa.tag_resource(ResourceArn=arn, Tags=after)
                if before.keys() - after.keys():
                    mwaa.untag_resource(ResourceArn=arn, tagKeys=sorted(before.keys() - after.keys()))
        except ClientError as error:
            raise said(f"updating the Airflow environment {identifier}", error) from error
        return _outputs(_settle(identifier))

    def delete(self, identifier: str, _state: Props) -> None:
        try:
            client("mwaa").delete_environment(Name=identifier)
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return
            raise said(f"deleting the Airflow environment {identifier}", error) from error
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := _get(identifier)) is not None and found["Status"] != "DELETED":
            if time.monotonic() > deadline:
                raise ProviderError(f"the Airflow environment {identifier} is still {found['Status']}")
            time.sleep(EVERY_SECONDS)


def _get(name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client("mwaa").get_environment(Name=name)["Environment"]
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise said(f"reading the Airflow environment {name}", error) from error
    return found


def _settle(name: str) -> dict[str, Any]:
    """Wait until it is AVAILABLE. Raises ProviderError with MWAA's reason when it will not be."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = _get(name)
        status = "DELETED" if found is None else str(found["Status"])
        if found is not None and status == "AVAILABLE":
            return found
        if found is None or status in ("CREATE_FAILED", "UPDATE_FAILED", "UNAVAILABLE", "DELETED"):
            reason = ((found or {}).get("LastUpdate") or {}).get("Error") or {}
            raise ProviderError(
                f"the Airflow environment {name} is {status}: "
                f"{reason.get('ErrorCode', 'no reason given')} {reason.get('ErrorMessage', '')}".rstrip()
            )
        if time.monotonic() > deadline:
            raise ProviderError(f"the Airflow environment {name} is still {status}")
        time.sleep(EVERY_SECONDS)


def _same(found: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    parts = ("SourceBucketArn", "ExecutionRoleArn", "NetworkConfiguration")
    return all(found.get(part) == arguments.get(part) for part in parts)


def _api(value: Any, key: str = "") -> Any:
    """Pulumi's `dagS3Path` as the API's `DagS3Path`, but for the keys of maps."""
    if isinstance(value, Mapping):
        if key in MAPS:
            return dict(value)
        return {k[:1].upper() + k[1:]: _api(v, k) for k, v in value.items() if v is not None}
    return value


def _pulumi(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        if key in MAPS:
            return dict(value)
        return {k[:1].lower() + k[1:]: _pulumi(v, k[:1].lower() + k[1:]) for k, v in value.items()}
    return value


def _inputs(found: Mapping[str, Any]) -> Props:
    """What of an environment could drift from the program, in Pulumi's words."""
    parts = (
        "AirflowVersion",
        "EnvironmentClass",
        "MinWorkers",
        "MaxWorkers",
        "Schedulers",
        "DagS3Path",
        "SourceBucketArn",
        "ExecutionRoleArn",
        "RequirementsS3Path",
        "RequirementsS3ObjectVersion",
        "PluginsS3Path",
        "PluginsS3ObjectVersion",
        "AirflowConfigurationOptions",
        "WebserverAccessMode",
    )
    own: Props = _pulumi({part: found[part] for part in parts if found.get(part) is not None})
    return own


def _outputs(found: Mapping[str, Any]) -> Props:
    created = found.get("CreatedAt")
    outputs = {
        "arn": found["Arn"],
        "status": found["Status"],
        "webserverUrl": found.get("WebserverUrl"),
        "serviceRoleArn": found.get("ServiceRoleArn"),
        "createdAt": created.isoformat() if isinstance(created, datetime) else created,
        "airflowVersion": found.get("AirflowVersion"),
        "environmentClass": found.get("EnvironmentClass"),
        "minWorkers": found.get("MinWorkers"),
        "maxWorkers": found.get("MaxWorkers"),
        "minWebservers": found.get("MinWebservers"),
        "maxWebservers": found.get("MaxWebservers"),
        "schedulers": found.get("Schedulers"),
        "webserverAccessMode": found.get("WebserverAccessMode"),
        "weeklyMaintenanceWindowStart": found.get("WeeklyMaintenanceWindowStart"),
    }
    return {key: value for key, value in outputs.items() if value is not None}


SERVICES: dict[str, Service] = {"aws:mwaa/environment:Environment": Environment()}
