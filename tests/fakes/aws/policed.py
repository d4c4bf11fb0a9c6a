"""AWS behind IAM: every call of a client is judged by a policy and recorded with the line that made it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any, NamedTuple

from tests.fakes.aws.clients import FakeClients, outputs
from tests.fakes.aws.errors import client_error, refused

REGION = "us-east-1"
ENVIRONMENT = outputs()["airflow_environments"]["blue"]["arn"].rpartition(":")[0]  # its beginning
ROLE = outputs()["airflow_environments"]["blue"]["execution_role_arn"].rpartition("/")[0]
PARAMETER = ENVIRONMENT.replace(":airflow:", ":ssm:")
GROUP = ENVIRONMENT.replace(":airflow:", ":logs:") + ":log-group"
KEY = f"arn:aws:kms:{REGION}:123456789012:key/12345678-1234-1234-1234-123456789012"
SERVICES = ("cloudwatch", "ec2", "iam", "logs", "mwaa", "s3", "service-quotas", "ssm", "sts")
OPS_ALONE = ("/variables", "/connections", "/providers")  # what Airflow's role Viewer may not read


class Need(NamedTuple):
    """A permission that a call needs; `via`: the service that uses the key for it."""

    action: str
    resource: str
    via: str = ""


def _object(action: str, params: Mapping[str, Any], key: str | None = None) -> Need:
    return Need(f"s3:{action}", f"arn:aws:s3:::{params['Bucket']}/{params['Key'] if key is None else key}")


def _read(params: Mapping[str, Any]) -> list[Need]:
    action = "GetObjectVersion" if params.get("VersionId") else "GetObject"
    return [_object(action, params), Need("kms:Decrypt", KEY, "s3")]


def _put(params: Mapping[str, Any]) -> list[Need]:
    return [_object("PutObject", params), Need("kms:GenerateDataKey", KEY, "s3")]


def _copy(params: Mapping[str, Any]) -> list[Need]:
    return [*_read(params["CopySource"]), *_put(params)]


def _list(params: Mapping[str, Any]) -> list[Need]:
    return [Need("s3:ListBucket", f"arn:aws:s3:::{params['Bucket']}")]


def _delete_objects(params: Mapping[str, Any]) -> list[Need]:
    return [_object("DeleteObject", params, each["Key"]) for each in params["Delete"]["Objects"]]


def _parameter(action: str) -> Callable[[Mapping[str, Any]], list[Need]]:
    return lambda params: [Need(f"ssm:{action}", f"{PARAMETER}:parameter{params['Name']}")]


def _role(action: str) -> Callable[[Mapping[str, Any]], list[Need]]:
    return lambda params: [Need(f"iam:{action}", f"{ROLE}/{params['RoleName']}")]


# What each call needs, by AWS's service authorization reference. A call that is not here does not exist.
NEEDS: dict[tuple[str, str], Callable[[Mapping[str, Any]], list[Need]]] = {
    ("cloudwatch", "get_metric_data"): lambda _: [Need("cloudwatch:GetMetricData", "*")],
    ("ec2", "describe_subnets"): lambda _: [Need("ec2:DescribeSubnets", "*")],
    ("iam", "delete_role_policy"): _role("DeleteRolePolicy"),
    ("iam", "get_role_policy"): _role("GetRolePolicy"),
    ("iam", "put_role_policy"): _role("PutRolePolicy"),
    ("iam", "simulate_principal_policy"): lambda params: [
        Need("iam:SimulatePrincipalPolicy", params["PolicySourceArn"])
    ],
    ("logs", "create_log_group"): lambda params: [
        Need("logs:CreateLogGroup", f"{GROUP}:{params['logGroupName']}")
    ],
    ("logs", "filter_log_events"): lambda params: [
        # the service's own words name the group with what follows it
        Need("logs:FilterLogEvents", f"{GROUP}:{params['logGroupName']}:log-stream:")
    ],
    ("mwaa", "create_cli_token"): lambda params: [
        Need("airflow:CreateCliToken", f"{ENVIRONMENT}:environment/{params['Name']}")
    ],
    ("mwaa", "create_web_login_token"): lambda _: [],  # judged by Airflow's roles
    ("mwaa", "get_environment"): lambda params: [
        Need("airflow:GetEnvironment", f"{ENVIRONMENT}:environment/{params['Name']}")
    ],
    ("mwaa", "invoke_rest_api"): lambda _: [],  # judged by Airflow's roles
    ("mwaa", "list_environments"): lambda _: [Need("airflow:ListEnvironments", "*")],
    ("s3", "copy_object"): _copy,
    ("s3", "delete_object"): lambda params: [_object("DeleteObject", params)],
    ("s3", "delete_objects"): _delete_objects,
    ("s3", "get_object"): _read,
    ("s3", "head_object"): _read,
    ("s3", "list_objects_v2"): _list,
    ("s3", "put_object"): _put,
    ("service-quotas", "list_service_quotas"): lambda _: [Need("servicequotas:ListServiceQuotas", "*")],
    ("ssm", "get_parameter"): _parameter("GetParameter"),
    ("ssm", "get_parameter_history"): _parameter("GetParameterHistory"),
    ("ssm", "put_parameter"): _parameter("PutParameter"),
    ("sts", "get_caller_identity"): lambda _: [],  # AWS allows it to everybody
}


@dataclass
class Door:
    """Judges by one document. `used`: (Sid, action, pattern of a resource) that allowed a call; `denied`:
    what was not allowed; `sites`: file and line of each call."""

    document: Mapping[str, Any]
    used: set[tuple[str, str, str]] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    sites: set[tuple[str, int]] = field(default_factory=set)

    def judge(self, service: str, method: str, params: Mapping[str, Any]) -> None:
        """Raise what AWS raises for a call that is not allowed."""
        for need in NEEDS[service, method](params):
            if not self._allows(need):
                self.denied.add(f"{need.action} {need.resource}")
                raise client_error("AccessDenied", 403, method)
        if method == "invoke_rest_api":
            self._judge_rest(params["Name"], params["Method"], params["Path"])
        elif method == "create_web_login_token":
            self._roles("CreateWebLoginToken", params["Name"])

    def _roles(self, action: str, name: str) -> list[str]:
        """Airflow's roles in which the caller may do this."""
        roles = [
            role
            for role in ("Viewer", "Op")
            if self._allows(Need(f"airflow:{action}", f"{ENVIRONMENT}:role/{name}/{role}"))
        ]
        if not roles:
            self.denied.add(f"airflow:{action} {name}")
            raise client_error("AccessDeniedException", 403, action)
        return roles

    def _judge_rest(self, name: str, method: str, path: str) -> None:
        roles = self._roles("InvokeRestApi", name)
        reads = method == "GET" or path.endswith("/list")
        if "Op" not in roles and (not reads or path.startswith(OPS_ALONE)):
            self.denied.add(f"{method} {path}")
            raise refused(403, detail="Forbidden")

    def _allows(self, need: Need) -> bool:
        matching = [
            (each["Sid"], need.action, pattern)
            for each in self.document["Statement"]
            if each["Effect"] == "Allow" and need.action in each["Action"] and _fulfilled(each, need)
            for pattern in each["Resource"]
            if fnmatchcase(need.resource, pattern)
        ]
        self.used.update(matching)
        return bool(matching)


def _fulfilled(statement: Mapping[str, Any], need: Need) -> bool:
    conditions = statement.get("Condition")
    if conditions is None:
        return True
    assert conditions.keys() == {"StringEquals"}, "no other condition is understood here"
    assert conditions["StringEquals"].keys() == {"kms:ViaService"}
    return f"{need.via}.{REGION}.amazonaws.com" in conditions["StringEquals"]["kms:ViaService"]


class PolicedClients:
    """Stands for `mwaactl.aws.Clients`: the doubles of `aws`, behind the door."""

    region = REGION

    def __init__(self, aws: FakeClients, door: Door) -> None:
        for service in SERVICES:
            name = service.replace("-", "_")
            setattr(self, name, _Policed(service, getattr(aws, name), door))
        self.ssm_writer = _Policed("ssm", aws.ssm_writer, door)
        self.rest_api = _Policed("mwaa", aws.rest_api, door)


class _Policed:
    def __init__(self, service: str, client: Any, door: Door) -> None:
        self._service, self._client, self._door = service, client, door

    def __getattr__(self, name: str) -> Any:
        if name == "exceptions":
            return self._client.exceptions
        if name == "get_paginator":
            return self._paginator
        assert (self._service, name) in NEEDS, f"say in NEEDS what {self._service}.{name} needs"

        def call(**params: Any) -> Any:
            self._record(2)
            self._door.judge(self._service, name, params)
            return getattr(self._client, name)(**params)

        return call

    def _paginator(self, operation: str) -> Any:
        self._record(2)

        def paginate(**params: Any) -> Iterable[Any]:
            self._door.judge(self._service, operation, params)
            pages: Iterable[Any] = self._client.get_paginator(operation).paginate(**params)
            return pages

        return SimpleNamespace(paginate=paginate)

    def _record(self, depth: int) -> None:
        frame = sys._getframe(depth)
        self._door.sites.add((frame.f_code.co_filename, frame.f_lineno))
