"""The emulated AWS denies each role what it has no statement for, as AWS does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.aws import callers
from local.home import REGION
from local.up import role_of_the_nodes
from mwaactl.recovery.fence import DOCUMENT
from tests.engine.deployment import LocalCloud, Project

OWNERSHIP = "ownership/abc.json"


class Stack:
    """Full HA with a key of its own, and clients of each role."""

    def __init__(self, project: Project) -> None:
        self.project, self.home = project, project.cloud.home
        outputs = self.outputs = project.outputs()
        self.log = outputs["lineage_log_bucket"]
        self.parameter = outputs["ownership_parameter"]
        self.roles = {
            colour: environment["execution_role_arn"]
            for colour, environment in outputs["airflow_environments"].items()
        }
        self.roles["node"] = role_of_the_nodes(project.resources())
        self.buckets = {colour: e["bucket"] for colour, e in outputs["airflow_environments"].items()}

    def client(self, caller: str, service: Any) -> Any:
        """`caller`: blue, green, node, or the name of an operator's document."""
        env = self.credentials(caller)
        return boto3.client(
            service,
            endpoint_url=env["AWS_ENDPOINT_URL_MWAA" if service == "mwaa" else "AWS_ENDPOINT_URL"],
            region_name=REGION,
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=env.get("AWS_SESSION_TOKEN"),
            config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}),
        )

    def credentials(self, caller: str) -> dict[str, str]:
        if caller in self.roles:
            return {**self.project.cloud.env, **callers.of_role(self.home, self.roles[caller])}
        callers.grant_operator(self.home, "test", self.outputs["operator_policies"][caller])
        return {**self.project.cloud.env, **callers.of_operator(self.home)}


@pytest.fixture(scope="module")
def stack(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("door"), "fullha")
    project.set(create_kms_key=True)
    up = project.up()
    assert up.ok, up.said
    stack = Stack(project)
    s3 = cloud.client("s3")
    for key in ("events/2026/a.json.gz", OWNERSHIP, "forwarder/c.json", "set-aside/x.json", "deploy/a.zip"):
        s3.put_object(Bucket=stack.log, Key=key, Body=b"x")
    secrets = cloud.client("secretsmanager")
    names = (_secret(stack), "other")
    for name in names:
        secrets.create_secret(Name=name, SecretString="x")
    yield stack
    for name in names:
        secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    assert project.destroy().ok


Call = Callable[[Stack, Callable[[Any], Any]], Any]
# What a call needs is in the name of the test. `of`: a client of the role, by service.
ALLOWED: dict[str, dict[str, Call]] = {
    "blue": {
        "read the ownership": lambda s, of: of("ssm").get_parameter(Name=s.parameter),
        "read what was too long for it": lambda s, of: of("s3").get_object(Bucket=s.log, Key=OWNERSHIP),
        "emit lineage": lambda s, of: of("s3").put_object(Bucket=s.log, Key="events/1", Body=b""),
        "report an ungated task": lambda s, of: of("s3").put_object(Bucket=s.log, Key="ungated/1", Body=b""),
        "list its bucket": lambda s, of: of("s3").list_objects_v2(Bucket=s.buckets["blue"]),
        "read its plugins": lambda s, of: of("s3").get_object(Bucket=s.buckets["blue"], Key="plugins.zip"),
        "report metrics": lambda s, of: of("cloudwatch").put_metric_data(
            Namespace="AmazonMWAA", MetricData=[{"MetricName": "a", "Value": 1}]
        ),
        "log": lambda s, of: of("logs").create_log_stream(
            logGroupName=_tasks(s, "blue"), logStreamName="try-1"
        ),
        "read a variable": lambda s, of: of("secretsmanager").get_secret_value(SecretId=_secret(s)),
    },
    "node": {
        "list lineage": lambda s, of: of("s3").list_objects_v2(Bucket=s.log, Prefix="events/"),
        "read an event": lambda s, of: of("s3").get_object(Bucket=s.log, Key="events/2026/a.json.gz"),
        "keep its place": lambda s, of: of("s3").put_object(Bucket=s.log, Key="forwarder/c.json", Body=b""),
        "read its code": lambda s, of: of("s3").get_object(Bucket=s.log, Key="deploy/a.zip"),
        "report metrics": lambda s, of: of("cloudwatch").put_metric_data(
            Namespace="MwaaOpenLineage", MetricData=[{"MetricName": "a", "Value": 1}]
        ),
    },
    "read": {
        "list environments": lambda s, of: of("mwaa").list_environments(),
        "see an environment": lambda s, of: of("mwaa").get_environment(Name=_name(s)),
        "read the ownership": lambda s, of: of("ssm").get_parameter_history(Name=s.parameter),
        "read logs": lambda s, of: of("logs").filter_log_events(logGroupName=_tasks(s, "green")),
    },
    "switch": {
        "decide": lambda s, of: of("ssm").put_parameter(
            Name=s.parameter,
            Value=s.project.cloud.client("ssm").get_parameter(Name=s.parameter)["Parameter"]["Value"],
            Overwrite=True,
        ),
        "store a long decision": lambda s, of: of("s3").put_object(Bucket=s.log, Key=OWNERSHIP, Body=b"x"),
        "push a DAG": lambda s, of: of("s3").put_object(Bucket=s.buckets["green"], Key="dags/a.py", Body=b""),
    },
    "on_call": {
        "fence": lambda s, of: of("iam").put_role_policy(
            RoleName=_role(s), PolicyName="fence", PolicyDocument=DOCUMENT
        ),
        "remove the fence": lambda s, of: of("iam").delete_role_policy(RoleName=_role(s), PolicyName="fence"),
        "retry": lambda s, of: of("s3").delete_object(Bucket=s.log, Key="set-aside/x.json"),
    },
}
DENIED: dict[str, dict[str, Call]] = {
    "blue": {
        "decide the ownership": lambda s, of: of("ssm").put_parameter(
            Name=s.parameter, Value="{}", Overwrite=True
        ),
        "read another parameter": lambda s, of: of("ssm").get_parameter(Name="/other"),
        "list lineage": lambda s, of: of("s3").list_objects_v2(Bucket=s.log),
        "read lineage": lambda s, of: of("s3").get_object(Bucket=s.log, Key="events/2026/a.json.gz"),
        "learn whether an object is missing": lambda s, of: of("s3").get_object(
            Bucket=s.log, Key="ownership/missing"
        ),
        "remove lineage": lambda s, of: of("s3").delete_object(Bucket=s.log, Key="events/2026/a.json.gz"),
        "write its DAGs": lambda s, of: of("s3").put_object(
            Bucket=s.buckets["blue"], Key="dags/a.py", Body=b""
        ),
        "read the other's bucket": lambda s, of: of("s3").list_objects_v2(Bucket=s.buckets["green"]),
        "use the key itself": lambda s, of: of("kms").generate_data_key(KeyId=_key(s), KeySpec="AES_256"),
        "read another secret": lambda s, of: of("secretsmanager").get_secret_value(SecretId="other"),
        "log as the other": lambda s, of: of("logs").create_log_stream(
            logGroupName=_tasks(s, "green"), logStreamName="try-1"
        ),
        "see roles": lambda s, of: of("iam").get_role(RoleName=_role(s)),
    },
    "node": {
        "read the ownership": lambda s, of: of("ssm").get_parameter(Name=s.parameter),
        "read decisions": lambda s, of: of("s3").get_object(Bucket=s.log, Key=OWNERSHIP),
        "write events": lambda s, of: of("s3").put_object(Bucket=s.log, Key="events/1", Body=b""),
        "remove what it set aside": lambda s, of: of("s3").delete_object(
            Bucket=s.log, Key="set-aside/x.json"
        ),
        "report other metrics": lambda s, of: of("cloudwatch").put_metric_data(
            Namespace="AmazonMWAA", MetricData=[{"MetricName": "a", "Value": 1}]
        ),
        "call Airflow": lambda s, of: of("mwaa").invoke_rest_api(Name=_name(s), Path="/dags", Method="GET"),
    },
    "read": {
        "decide": lambda s, of: of("ssm").put_parameter(Name=s.parameter, Value="{}", Overwrite=True),
        "push a DAG": lambda s, of: of("s3").put_object(Bucket=s.buckets["blue"], Key="dags/a.py", Body=b""),
        "update an environment": lambda s, of: of("mwaa").update_environment(Name=_name(s), MaxWorkers=2),
    },
    "switch": {
        "fence": lambda s, of: of("iam").put_role_policy(
            RoleName=_role(s), PolicyName="fence", PolicyDocument="{}"
        ),
        "remove lineage": lambda s, of: of("s3").delete_object(Bucket=s.log, Key="set-aside/x.json"),
    },
    "on_call": {
        "remove an environment": lambda s, of: of("mwaa").delete_environment(Name=_name(s)),
        "see other roles": lambda s, of: of("iam").get_role_policy(
            RoleName=s.roles["node"].rpartition("/")[2], PolicyName="x"
        ),
    },
}


def _secret(stack: Stack) -> str:
    return f"{stack.outputs['variables_prefix']}/country"


def _name(stack: Stack) -> str:
    return str(stack.outputs["airflow_environments"]["blue"]["name"])


def _tasks(stack: Stack, colour: str) -> str:
    return f"airflow-{stack.outputs['airflow_environments'][colour]['name']}-Task"


def _role(stack: Stack) -> str:
    return str(stack.roles["blue"].rpartition("/")[2])


def _key(stack: Stack) -> str:
    [key] = (r["outputs"]["arn"] for r in stack.project.resources() if r["type"] == "aws:kms/key:Key")
    return str(key)


def _each(calls: dict[str, dict[str, Call]]) -> Any:
    return [
        pytest.param(caller, call, id=f"{caller}: {what}")
        for caller, those in calls.items()
        for what, call in those.items()
    ]


@pytest.mark.parametrize(("caller", "call"), _each(ALLOWED))
def test_a_role_may_do_what_it_has_a_statement_for(stack: Stack, caller: str, call: Call) -> None:
    call(stack, lambda service: stack.client(caller, service))


@pytest.mark.parametrize(("caller", "call"), _each(DENIED))
def test_a_role_may_do_nothing_else(stack: Stack, caller: str, call: Call) -> None:
    with pytest.raises(ClientError) as error:
        call(stack, lambda service: stack.client(caller, service))
    assert error.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")
    assert "is not authorized to perform" in str(error.value)


def test_airflow_lets_readers_read_only(stack: Stack) -> None:
    """The local MWAA has no Airflow here: what Airflow's role allows ends there, with 503."""

    def status(caller: str, method: str, path: str) -> int:
        with pytest.raises(ClientError) as error:
            stack.client(caller, "mwaa").invoke_rest_api(Name=_name(stack), Path=path, Method=method)
        response: Any = error.value.response
        return int(response["RestApiStatusCode"])

    assert status("read", "GET", "/dags") == 503
    assert status("read", "PATCH", "/dags/a") == 403
    assert status("read", "GET", "/variables") == 403
    assert status("switch", "PATCH", "/dags/a") == 503


def test_events_of_a_prefix_come_page_by_page_each_once(stack: Stack) -> None:
    blue, group = stack.client("blue", "logs"), _tasks(stack, "blue")
    for stream in ("pages/a", "pages/b", "others/c"):
        blue.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [{"timestamp": 1795860000000 + n // 700, "message": f"{stream} {n}"} for n in range(1300)]
        blue.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    pages = list(
        stack.client("read", "logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=group, logStreamNamePrefix="pages/", startTime=1795860000000)
    )
    messages = [event["message"] for page in pages for event in page["events"]]
    assert len(pages) > 1
    assert sorted(messages) == sorted(f"pages/{stream} {n}" for stream in "ab" for n in range(1300))


STATEMENTS = {
    "blue": {"CustomerKey": "emit lineage", "LineageEvents": "emit lineage"},
    "node": {"UseKey": "read an event"},
    "switch": {"UseKey": "push a DAG"},
}


@pytest.mark.parametrize(
    ("caller", "sid", "what"),
    [(caller, sid, what) for caller, sids in STATEMENTS.items() for sid, what in sids.items()],
)
def test_without_its_key_a_role_reads_and_writes_nothing(
    stack: Stack, caller: str, sid: str, what: str
) -> None:
    """The use of the key is a permission beside the call's own."""
    iam = stack.project.cloud.client("iam")
    call = ALLOWED[caller][what]
    if caller in stack.roles:
        role = stack.roles[caller].rpartition("/")[2]
        [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=_without(document, sid))
    else:
        document = stack.outputs["operator_policies"][caller]
        stack.outputs["operator_policies"][caller] = json.loads(_without(document, sid))
    try:
        with pytest.raises(ClientError, match="AccessDenied"):
            call(stack, lambda service: stack.client(caller, service))
    finally:
        if caller in stack.roles:
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))
        else:
            stack.outputs["operator_policies"][caller] = document
    call(stack, lambda service: stack.client(caller, service))


def _without(document: dict[str, Any], sid: str) -> str:
    left = [each for each in document["Statement"] if each["Sid"] != sid]
    assert len(left) < len(document["Statement"])
    return json.dumps({**document, "Statement": left})


def test_parameter_store_keeps_its_limits(cloud: LocalCloud, stack: Stack) -> None:
    ssm = cloud.client("ssm")
    with pytest.raises(ClientError, match="4096 characters"):
        ssm.put_parameter(Name="/long", Value="x" * 4097, Type="String")
    reader = stack.client("blue", "ssm")

    def read_many_times() -> None:
        for _ in range(200):  # 40 a second are allowed
            reader.get_parameter(Name=stack.parameter)

    with pytest.raises(ClientError, match="ThrottlingException"):
        read_many_times()
