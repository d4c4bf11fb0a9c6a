"""In-memory doubles of what `mwaactl` calls: SSM with versions, history and failing puts; MWAA; outputs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bluegreen.timeline import Timeline, latest_valid
from botocore.exceptions import ClientError, ReadTimeoutError

from mwaactl.aws import PUT_TIMEOUT, Clients
from mwaactl.deployment import Deployment
from mwaactl.stack import parse

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
OWNERSHIP = "/mwaa-openlineage/fullha/ownership"
ACTIVE = "/mwaa-openlineage/fullha/active-environment"
LEAD = 5.0


class Clock:
    """A time that moves only when told."""

    def __init__(self) -> None:
        self.now = START

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def client_error(code: str, status: int = 400, operation: str = "Call", **more: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": f"the message of {code}"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, operation)


class ParameterNotFound(ClientError):  # noqa: N818 - boto3's name
    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "ParameterNotFound", "Message": "none"}}, "GetParameter")


@dataclass
class Ssm:
    """Parameter Store. `puts` says what happens to the next puts of the ownership; without one, they succeed.

    "unanswered": stored, but the answer is lost; "late": the answer is lost and the value waits in `late` for
    `deliver`; "slow": stored as late as one that is answered can be; an exception: raised, nothing stored.
    """

    clock: Clock
    user: Callable[[], str] = lambda: "arn:aws:iam::123456789012:user/alice"
    before: Callable[[str], None] = lambda operation: None
    puts: list[str | Exception] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)
    stored: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    skew: timedelta | None = timedelta(0)  # AWS's clock minus ours; None: no Date header
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(ParameterNotFound=ParameterNotFound))

    def get_parameter(self, *, Name: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        self.before("get")
        if Name not in self.stored:
            raise ParameterNotFound
        headers = {}
        if self.skew is not None:
            headers["date"] = format_datetime(self.clock.now + self.skew, usegmt=True)
        return {
            "Parameter": copy.deepcopy(self.stored[Name][-1]),
            "ResponseMetadata": {"HTTPHeaders": headers},
        }

    def get_paginator(self, operation: str) -> Any:
        assert operation == "get_parameter_history"

        def paginate(*, Name: str) -> Iterator[dict[str, Any]]:  # noqa: N803
            self.before("history")
            records = copy.deepcopy(self.stored[Name])
            for start in range(0, len(records), 2):
                yield {"Parameters": records[start : start + 2]}

        return SimpleNamespace(paginate=paginate)

    def put_parameter(self, **request: Any) -> dict[str, Any]:
        self.before("put")
        assert request["Type"] == "String"
        assert request["Overwrite"] is True
        what = self.puts.pop(0) if self.puts and request["Name"] == OWNERSHIP else "stored"
        request["User"] = self.user()
        if isinstance(what, Exception):
            raise what
        if what == "late":
            self.late.append(request)
            raise ReadTimeoutError(endpoint_url="https://ssm")
        if what == "slow":
            self.clock.forward(2 * PUT_TIMEOUT)
        version = self.store(request)
        if what == "unanswered":
            raise ReadTimeoutError(endpoint_url="https://ssm")
        return {"Version": version}

    def deliver(self) -> None:
        """One of the late puts arrives."""
        self.store(self.late.pop(0))

    def store(self, request: dict[str, Any]) -> int:
        records = self.stored.setdefault(request["Name"], [])
        record = {
            "Name": request["Name"],
            "Value": request["Value"],
            "Version": len(records) + 1,
            "LastModifiedDate": self.clock.now + (self.skew or timedelta(0)),
            "LastModifiedUser": request.get("User", "arn:aws:iam::123456789012:user/pulumi"),
            "Description": request.get("Description", ""),
        }
        records.append(record)
        return len(records)

    def values(self, name: str = OWNERSHIP) -> list[str]:
        return [record["Value"] for record in self.stored[name]]


AIRFLOW: dict[str, Any] = {
    "/dags": {
        "dags": [{"dag_id": "daily", "is_paused": False}, {"dag_id": "hourly", "is_paused": True}],
        "total_entries": 2,
    },
    "/importErrors": {"import_errors": [], "total_entries": 0},
    "/dags/~/dagRuns": {"dag_runs": [], "total_entries": 0},
    "POST /dags/~/dagRuns/list": {"dag_runs": [], "total_entries": 0},
    "POST /dags/~/dagRuns/~/taskInstances/list": {"task_instances": [], "total_entries": 0},
    "/pools": {"pools": [{"name": "default_pool", "slots": 128}], "total_entries": 1},
    "/variables": {"variables": [], "total_entries": 0},
    "/connections": {"connections": [], "total_entries": 0},
    "/assets": {"assets": [], "total_entries": 0},
}


@dataclass
class Mwaa:
    """Amazon MWAA: `environments` by name, and what Airflow answers per environment and path.

    Paths of GET stand alone, others after their method ("POST /dags/~/dagRuns/list"). An answer may be an
    exception, or a function of the query or body.
    """

    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    airflow: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def get_environment(self, *, Name: str) -> dict[str, Any]:  # noqa: N803
        if Name not in self.environments:
            raise client_error("ResourceNotFoundException", 404, "GetEnvironment")
        return {"Environment": self.environments[Name]}

    def invoke_rest_api(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        method, path = request["Method"], request["Path"]
        answers = self.airflow[request["Name"]]
        if method == "GET" and path.endswith("/tasks") and "/dags" in answers:
            answers = {path: {"tasks": []}} | answers  # a DAG of nothing special
        answer = answers[path if method == "GET" else f"{method} {path}"]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(request.get("Body" if "Body" in request else "QueryParameters", {}))
        return {"RestApiStatusCode": 200, "RestApiResponse": answer}


@dataclass
class S3:
    """Buckets: content by (bucket, key). A key's metadata and ETag may be set apart from it."""

    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    metadata: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    etags: dict[tuple[str, str], str] = field(default_factory=dict)
    read: list[tuple[str, str]] = field(default_factory=list)
    error: Exception | None = None

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"

        def paginate(*, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
            if self.error is not None:
                raise self.error
            for (bucket, key), content in sorted(self.objects.items()):
                if bucket == Bucket and key.startswith(Prefix):
                    etag = self.etags.get((bucket, key), hashlib.md5(content).hexdigest())
                    yield {"Contents": [{"Key": key, "Size": len(content), "ETag": f'"{etag}"'}]}

        return SimpleNamespace(paginate=paginate)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        place = (Bucket, Key)

        def content() -> bytes:
            self.read.append(place)
            return self.objects[place]

        body = SimpleNamespace(read=content, close=lambda: None)
        return {"Metadata": self.metadata.get(place, {}), "Body": body}


@dataclass
class CloudWatch:
    """Metrics: (timestamp, value) by environment and metric."""

    points: dict[tuple[str, str], list[tuple[datetime, float]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        results = []
        for query in request["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]
            dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
            found = [
                (stamp, value)
                for stamp, value in self.points.get((dimensions["Environment"], metric["MetricName"]), [])
                if request["StartTime"] <= stamp < request["EndTime"]
            ]
            stamps, values = [stamp for stamp, _ in found], [value for _, value in found]
            results.append({"Id": query["Id"], "Timestamps": stamps, "Values": values})
        return {"MetricDataResults": results}


@dataclass
class Iam:
    """IAM: the inline policies that were put, by role."""

    policies: dict[tuple[str, str], str] = field(default_factory=dict)
    refuses: bool = False

    def put_role_policy(self, *, RoleName: str, PolicyName: str, PolicyDocument: str) -> None:  # noqa: N803
        if self.refuses:
            raise client_error("AccessDenied", 403, "PutRolePolicy")
        self.policies[RoleName, PolicyName] = PolicyDocument

    def delete_role_policy(self, *, RoleName: str, PolicyName: str) -> None:  # noqa: N803
        if self.policies.pop((RoleName, PolicyName), None) is None:
            raise client_error("NoSuchEntity", 404, "DeleteRolePolicy")

    def get_role_policy(self, *, RoleName: str, PolicyName: str) -> dict[str, str]:  # noqa: N803
        if self.refuses:
            raise client_error("AccessDenied", 403, "GetRolePolicy")
        if (RoleName, PolicyName) not in self.policies:
            raise client_error("NoSuchEntity", 404, "GetRolePolicy")
        return {"PolicyDocument": self.policies[RoleName, PolicyName]}


@dataclass
class Cloud:
    """Stands for `mwaactl.aws.Clients`."""

    ssm: Ssm
    mwaa: Mwaa = field(default_factory=Mwaa)
    s3: Any = field(default_factory=S3)
    cloudwatch: CloudWatch = field(default_factory=CloudWatch)
    iam: Iam = field(default_factory=Iam)
    region: str = "us-east-1"

    @property
    def ssm_writer(self) -> Ssm:
        return self.ssm


def outputs(mode: str = "fullha", **changes: Any) -> dict[str, Any]:
    """A stack's outputs as Pulumi prints them."""
    colours = ("blue", "green") if mode in ("fullha", "bluegreen") else ("blue",)
    name = f"mwaa-openlineage-{mode}"
    return {
        "mode": mode,
        "region": "us-east-1",
        "project": "mwaa-openlineage",
        "stack": mode,
        "name": name,
        "vpc_id": "vpc-1",
        "airflow_environments": {
            colour: {
                "name": f"{name}-{colour}",
                "arn": f"arn:aws:airflow:us-east-1:123456789012:environment/{name}-{colour}",
                "webserver_url": f"https://{colour}.example",
                "bucket": f"{name}-{colour}-dags",
                "dags_prefix": "dags/",
                "execution_role_arn": "arn:aws:iam::123456789012:role/x",
                "airflow_version": "3.0.6",
                "environment_class": "mw1.small",
                "lineage_namespace": f"{name}-{colour}",
                "identity": {},
            }
            for colour in colours
        },
        "ownership_parameter": OWNERSHIP,
        "active_environment_parameter": ACTIVE,
        "switch_lead_seconds": LEAD,
        "lineage_log_bucket": f"{name}-lineage",
        "lineage_url": f"http://marquez.{name}.internal",
        **changes,
    }


def cloud(mode: str = "fullha", clock: Clock | None = None) -> Cloud:
    """A freshly deployed stack: blue owns everything, both sides healthy and alike."""
    clock = clock or Clock()
    ssm = Ssm(clock)
    ssm.store({"Name": OWNERSHIP, "Value": Timeline.initial().dump()})
    ssm.store({"Name": ACTIVE, "Value": "blue"})
    mwaa = Mwaa()

    def health(query: Any) -> dict[str, Any]:
        beat = clock.now + (ssm.skew or timedelta(0)) - timedelta(seconds=2)
        return {"scheduler": {"status": "healthy", "latest_scheduler_heartbeat": beat.isoformat()}}

    for environment in outputs(mode)["airflow_environments"].values():
        mwaa.environments[environment["name"]] = {"Status": "AVAILABLE", "AirflowVersion": "3.0.6"}
        mwaa.airflow[environment["name"]] = copy.deepcopy(AIRFLOW) | {"/monitor/health": health}
    return Cloud(ssm, mwaa)


def deployment(aws: Any, mode: str = "fullha", **changes: Any) -> Deployment:
    """A deployed stack whose AWS is `aws`, with the outputs of `mode`; a new one, as each command opens."""
    return Deployment(parse(outputs(mode, **changes)), cast(Clients, aws))


def opens(monkeypatch: pytest.MonkeyPatch, aws: Any) -> None:
    """Let every command find a stack whose AWS is `aws`."""
    monkeypatch.setattr(Deployment, "open", lambda stack, _cwd: deployment(aws, stack or "fullha"))


def standing(aws: Cloud) -> Timeline:
    """The timeline that every reader has now."""
    records = [(r["Value"], r["Version"], r["LastModifiedDate"]) for r in aws.ssm.stored[OWNERSHIP]]
    return latest_valid(records).effective(timedelta(seconds=LEAD))
