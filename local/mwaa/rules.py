"""MWAA's rules: defaults, limits and the shape of an environment.

Pure functions. An *environment* here is the dictionary that GetEnvironment returns (member names as in AWS's
API, times in seconds since the epoch).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from packaging.version import Version

from local.home import ACCOUNT, REGION, max_workers
from local.mwaa.model import violations

Json = dict[str, Any]

LATEST = "3.3.1"
OFFERED = ("2.7.2", "2.8.1", "2.9.2", "2.10.1", "2.10.3", "2.11.0", "2.11.2", "3.0.6", "3.2.1", "3.3.1")
CLASSES = ("mw1.micro", "mw1.small", "mw1.medium", "mw1.large", "mw1.xlarge", "mw1.2xlarge")
ENVIRONMENTS_PER_REGION = 10
LOG_GROUPS = {  # member of LoggingConfiguration -> end of the log group's name
    "DagProcessingLogs": "DAGProcessing",
    "SchedulerLogs": "Scheduler",
    "TaskLogs": "Task",
    "WebserverLogs": "WebServer",
    "WorkerLogs": "Worker",
}
LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
REQUIRED = ("ExecutionRoleArn", "SourceBucketArn", "DagS3Path", "NetworkConfiguration")
# Members that a request may set and an environment then returns unchanged.
SETTINGS = (
    "ExecutionRoleArn",
    "SourceBucketArn",
    "DagS3Path",
    "PluginsS3Path",
    "PluginsS3ObjectVersion",
    "RequirementsS3Path",
    "RequirementsS3ObjectVersion",
    "StartupScriptS3Path",
    "StartupScriptS3ObjectVersion",
    "AirflowConfigurationOptions",
    "AirflowVersion",
    "EnvironmentClass",
    "MaxWorkers",
    "MinWorkers",
    "Schedulers",
    "MinWebservers",
    "MaxWebservers",
    "WeeklyMaintenanceWindowStart",
    "WebserverAccessMode",
)
ONLY_AT_CREATION = ("KmsKey", "EndpointManagement")


class ValidationError(Exception):
    """The request breaks a rule: answered as ValidationException with this message."""


def arn(name: str) -> str:
    return f"arn:aws:airflow:{REGION}:{ACCOUNT}:environment/{name}"


def created(name: str, request: Json, unique: str) -> Json:
    """The environment that a CreateEnvironment request asks for, with MWAA's defaults; without a `Status`.

    `unique` is a UUID for its host names and queue. Raises ValidationError.
    """
    missing = [member for member in REQUIRED if not request.get(member)]
    if missing:
        raise ValidationError(f"Missing required parameters: {', '.join(missing)}")
    size = request.get("EnvironmentClass") or "mw1.small"
    digits = unique.replace("-", "")
    single = size == "mw1.micro"  # one process of each kind, no scaling
    environment: Json = {
        "Name": name,
        "Arn": arn(name),
        "CreatedAt": time.time(),
        "AirflowVersion": LATEST,
        "AirflowConfigurationOptions": {},
        "EnvironmentClass": size,
        "MaxWorkers": 1 if single else 10,
        "MinWorkers": 1,
        "Schedulers": 1 if single else 2,
        "MinWebservers": 1 if single else 2,
        "MaxWebservers": 1 if single else 2,
        "WeeklyMaintenanceWindowStart": "SUN:03:30",
        "WebserverAccessMode": "PRIVATE_ONLY",
        "EndpointManagement": "SERVICE",
        "NetworkConfiguration": request["NetworkConfiguration"],
        "LoggingConfiguration": _logging(name, {}, request.get("LoggingConfiguration") or {}),
        "Tags": request.get("Tags") or {},
        "ServiceRoleArn": f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/airflow.amazonaws.com/"
        "AWSServiceRoleForAmazonMWAA",
        "CeleryExecutorQueue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:airflow-celery-{unique}",
        "DatabaseVpcEndpointService": f"com.amazonaws.vpce.{REGION}.vpce-svc-{digits[:17]}",
        "WebserverVpcEndpointService": f"com.amazonaws.vpce.{REGION}.vpce-svc-{digits[-17:]}",
        "WebserverUrl": f"{unique}.c2.{REGION}.airflow.amazonaws.com",
    }
    environment |= {m: request[m] for m in (*SETTINGS, *ONLY_AT_CREATION) if request.get(m) is not None}
    check(environment)
    return environment


def updated(environment: Json, request: Json) -> Json:
    """The environment after an UpdateEnvironment request; absent members stay. Raises ValidationError."""
    obey_the_model("UpdateEnvironmentInput", request)
    after = environment | {m: request[m] for m in SETTINGS if request.get(m) is not None}
    for kind in ("Plugins", "Requirements", "StartupScript"):
        # Another object without a version means its newest one, not the version of the previous object.
        if request.get(f"{kind}S3Path") and not request.get(f"{kind}S3ObjectVersion"):
            after.pop(f"{kind}S3ObjectVersion", None)
    if network := request.get("NetworkConfiguration"):
        after["NetworkConfiguration"] = environment["NetworkConfiguration"] | {
            "SecurityGroupIds": network.get("SecurityGroupIds")
        }
    after["LoggingConfiguration"] = _logging(
        environment["Name"], environment["LoggingConfiguration"], request.get("LoggingConfiguration") or {}
    )
    check(after)
    _check_change(environment["AirflowVersion"], after["AirflowVersion"])
    return after


def _check_change(before: str, after: str) -> None:
    """Versions change in place within a major version, and between 2.11.x and 3.x: in both directions."""
    majors = {Version(before).major, Version(after).major}
    older = min(Version(before), Version(after))
    if len(majors) > 1 and (majors != {2, 3} or older.release[:2] != (2, 11)):
        raise ValidationError(
            f"AirflowVersion cannot change from {before} to {after}: a major version changes between 2.11.x "
            "and 3.x only"
        )


def check(environment: Json) -> None:
    """Check an environment. Raises ValidationError with the member, its value and what is allowed."""
    _one_of("AirflowVersion", environment["AirflowVersion"], OFFERED)
    _one_of("EnvironmentClass", environment["EnvironmentClass"], CLASSES)
    version = Version(environment["AirflowVersion"])
    if environment["WebserverAccessMode"] == "PUBLIC_AND_PRIVATE" and version < Version("3.2"):
        raise ValidationError(
            "WebserverAccessMode PUBLIC_AND_PRIVATE needs Airflow 3.2 or later, "
            f"not {environment['AirflowVersion']}"
        )
    _check_network(environment["NetworkConfiguration"])
    _check_sizes(environment)
    _check_options(environment["AirflowConfigurationOptions"])


def _one_of(member: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValidationError(f"{member} is {value!r}; allowed are {', '.join(allowed)}")


def _check_network(network: Mapping[str, Any]) -> None:
    subnets = network.get("SubnetIds") or []
    groups = network.get("SecurityGroupIds") or []
    if len(subnets) != 2 or len(set(subnets)) != 2:
        raise ValidationError(
            "NetworkConfiguration.SubnetIds must name exactly 2 subnets, in different Availability Zones;"
            f" given: {', '.join(subnets) or 'none'}"
        )
    if not 1 <= len(groups) <= 5:
        raise ValidationError(
            f"NetworkConfiguration.SecurityGroupIds must name 1 to 5 groups; given: {len(groups)}"
        )


def _check_sizes(environment: Json) -> None:
    single = environment["EnvironmentClass"] == "mw1.micro"
    limits = {
        "MinWorkers": (1, 1 if single else max_workers()),
        "MaxWorkers": (1, 1 if single else max_workers()),
        "Schedulers": (1, 1) if single else (2, 5),
        "MinWebservers": (1, 1) if single else (2, 5),
        "MaxWebservers": (1, 1) if single else (2, 5),
    }
    for member, (low, high) in limits.items():
        value = environment[member]
        if not isinstance(value, int) or not low <= value <= high:
            allowed = str(low) if low == high else f"{low} to {high}"
            raise ValidationError(f"{member} is {value}; {environment['EnvironmentClass']} allows {allowed}")
    for kind in ("Workers", "Webservers"):
        least, most = environment[f"Min{kind}"], environment[f"Max{kind}"]
        if least > most:
            raise ValidationError(f"Min{kind} ({least}) is greater than Max{kind} ({most})")


def _check_options(options: Mapping[str, str]) -> None:
    for key in options:
        if "." not in key:
            raise ValidationError(f"AirflowConfigurationOptions: key {key!r} must be written section.option")


def obey_the_model(shape: str, request: Json) -> None:
    """Raises ValidationError if a request breaks the limits of the API's model."""
    for violation in violations(shape, request):
        raise ValidationError(violation)


def _logging(name: str, before: Json, request: Json) -> Json:
    """All five modules; one that the request omits keeps its setting (initially: tasks only)."""
    result: Json = {}
    for module, group in LOG_GROUPS.items():
        wanted = request.get(module)
        if wanted is None:
            wanted = before.get(module) or {"Enabled": module == "TaskLogs", "LogLevel": "INFO"}
        _one_of(f"LoggingConfiguration.{module}.LogLevel", wanted.get("LogLevel"), LOG_LEVELS)
        result[module] = {"Enabled": bool(wanted.get("Enabled")), "LogLevel": wanted["LogLevel"]}
        if result[module]["Enabled"]:
            result[module]["CloudWatchLogGroupArn"] = (
                f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:airflow-{name}-{group}"
            )
    return result
