"""Airflow environments, through Amazon MWAA's own API, which `local.mwaa` serves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from local.provider.services.service import Service, as_provider_error, client, error_code
from local.provider.values import Props, ProviderError

EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 3600.0
# The arguments that an import finds, apart from the nested ones.
IMPORTED = (
    "Name",
    "AirflowConfigurationOptions",
    "AirflowVersion",
    "DagS3Path",
    "EndpointManagement",
    "EnvironmentClass",
    "ExecutionRoleArn",
    "KmsKey",
    "MaxWebservers",
    "MaxWorkers",
    "MinWebservers",
    "MinWorkers",
    "PluginsS3ObjectVersion",
    "PluginsS3Path",
    "RequirementsS3ObjectVersion",
    "RequirementsS3Path",
    "Schedulers",
    "SourceBucketArn",
    "StartupScriptS3ObjectVersion",
    "StartupScriptS3Path",
    "Tags",
    "WebserverAccessMode",
    "WeeklyMaintenanceWindowStart",
)
MAPS = ("airflowConfigurationOptions", "tags")  # their keys are the user's own
STRATEGY = "workerReplacementStrategy"
NOT_ARGUMENTS = ("region", STRATEGY)  # the latter is for updates
NOT_UPDATED = ("name", "kmsKey", "endpointManagement", "tags", "region", STRATEGY)


class Environment:
    secret = ("airflowConfigurationOptions",)

    def create(self, inputs: Props) -> tuple[str, Props]:
        name = inputs["name"]
        arguments = _api({k: v for k, v in inputs.items() if k not in NOT_ARGUMENTS})
        existing = _get(name)
        if existing is not None and existing["Status"] == "CREATE_FAILED":
            self.delete(name, {})
            existing = None
        # An identical one is left by a run that was interrupted during its creation: adopt it.
        if existing is None or not _same(existing, arguments):
            try:
                client("mwaa").create_environment(**arguments)
            except ClientError as error:
                raise as_provider_error(f"creating the Airflow environment {name}", error) from error
        return name, _outputs(_settle(name))

    def read(self, identifier: str, state: Props) -> Props | None:
        environment = _get(identifier)
        if environment is None or environment["Status"] == "DELETED":
            return None
        return _outputs(environment) | {k: v for k, v in _inputs(environment).items() if k in state}

    def find(self, identifier: str) -> tuple[Props, Props] | None:
        environment = _get(identifier)
        if environment is None or environment["Status"] == "DELETED":
            return None
        inputs: Props = {key[:1].lower() + key[1:]: environment.get(key) for key in IMPORTED}
        inputs["loggingConfiguration"] = {
            kind[:1].lower() + kind[1:]: {"enabled": about["Enabled"], "logLevel": about["LogLevel"]}
            for kind, about in environment["LoggingConfiguration"].items()
        }
        network = environment["NetworkConfiguration"]
        inputs["networkConfiguration"] = {
            "subnetIds": network["SubnetIds"],
            "securityGroupIds": network["SecurityGroupIds"],
        }
        inputs = {key: value for key, value in inputs.items() if value not in (None, {})}
        return inputs, {**_outputs(environment), **inputs}

    def update(self, identifier: str, old: Props, new: Props) -> Props:
        mwaa = client("mwaa")
        changed = {
            key: value for key, value in new.items() if old.get(key) != value and key not in NOT_UPDATED
        }
        # As the real provider: only if the last update, of which AWS tells, used another one.
        wanted = new.get(STRATEGY)
        if wanted and wanted != _strategy(_settle(identifier)):
            changed[STRATEGY] = wanted
        if "networkConfiguration" in changed:
            changed["networkConfiguration"] = {
                "securityGroupIds": changed["networkConfiguration"]["securityGroupIds"]
            }
        if "airflowConfigurationOptions" in old and "airflowConfigurationOptions" not in new:
            changed["airflowConfigurationOptions"] = {}
        try:
            if changed:
                mwaa.update_environment(Name=identifier, **_api(changed))
            before, after = old.get("tags") or {}, new.get("tags") or {}
            if before != after:
                arn = _settle(identifier)["Arn"]
                if after:
                    mwaa.tag_resource(ResourceArn=arn, Tags=after)
                if before.keys() - after.keys():
                    mwaa.untag_resource(ResourceArn=arn, tagKeys=sorted(before.keys() - after.keys()))
        except ClientError as error:
            raise as_provider_error(f"updating the Airflow environment {identifier}", error) from error
        return _outputs(_settle(identifier))

    def delete(self, identifier: str, _state: Props) -> None:
        try:
            client("mwaa").delete_environment(Name=identifier)
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return
            raise as_provider_error(f"deleting the Airflow environment {identifier}", error) from error
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (environment := _get(identifier)) is not None and environment["Status"] != "DELETED":
            if time.monotonic() > deadline:
                raise ProviderError(f"the Airflow environment {identifier} is still {environment['Status']}")
            time.sleep(EVERY_SECONDS)


def _get(name: str) -> dict[str, Any] | None:
    try:
        environment: dict[str, Any] = client("mwaa").get_environment(Name=name)["Environment"]
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise as_provider_error(f"reading the Airflow environment {name}", error) from error
    return environment


def _settle(name: str) -> dict[str, Any]:
    """Wait until it is AVAILABLE. Raises ProviderError with MWAA's reason if it fails."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        environment = _get(name)
        status = "DELETED" if environment is None else str(environment["Status"])
        if environment is not None and status == "AVAILABLE":
            return environment
        if environment is None or status in ("CREATE_FAILED", "UPDATE_FAILED", "UNAVAILABLE", "DELETED"):
            reason = ((environment or {}).get("LastUpdate") or {}).get("Error") or {}
            raise ProviderError(
                f"the Airflow environment {name} is {status}: "
                f"{reason.get('ErrorCode', 'no reason given')} {reason.get('ErrorMessage', '')}".rstrip()
            )
        if time.monotonic() > deadline:
            raise ProviderError(f"the Airflow environment {name} is still {status}")
        time.sleep(EVERY_SECONDS)


def _same(environment: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    parts = ("SourceBucketArn", "ExecutionRoleArn", "NetworkConfiguration")
    return all(environment.get(part) == arguments.get(part) for part in parts)


def _api(value: Any, key: str = "") -> Any:
    """Pulumi's `dagS3Path` as the API's `DagS3Path`, except for the keys of maps."""
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


def _inputs(environment: Mapping[str, Any]) -> Props:
    """The inputs that can drift from the program, by Pulumi's names."""
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
        "WeeklyMaintenanceWindowStart",
        "EndpointManagement",
    )
    own: Props = _pulumi({part: environment[part] for part in parts if environment.get(part) is not None})
    return own


def _strategy(environment: Mapping[str, Any]) -> str:
    """That of the last update, empty if there was none."""
    return str((environment.get("LastUpdate") or {}).get("WorkerReplacementStrategy") or "")


def _outputs(environment: Mapping[str, Any]) -> Props:
    created = environment.get("CreatedAt")
    outputs = _inputs(environment) | {
        "arn": environment["Arn"],
        "status": environment["Status"],
        "webserverUrl": environment.get("WebserverUrl"),
        "serviceRoleArn": environment.get("ServiceRoleArn"),
        "databaseVpcEndpointService": environment.get("DatabaseVpcEndpointService"),
        "webserverVpcEndpointService": environment.get("WebserverVpcEndpointService"),
        "createdAt": created.isoformat() if isinstance(created, datetime) else created,
        "minWebservers": environment.get("MinWebservers"),
        "maxWebservers": environment.get("MaxWebservers"),
        STRATEGY: _strategy(environment),
    }
    return {key: value for key, value in outputs.items() if value is not None}


SERVICES: dict[str, Service] = {"aws:mwaa/environment:Environment": Environment()}
