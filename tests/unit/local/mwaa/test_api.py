"""The local MWAA's API, as boto3 sees it (no Airflow processes)."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError

from local.home import Home
from local.mwaa.api import app
from local.mwaa.lifecycle import NoAirflow

ROLE = "arn:aws:iam::000000000000:role/mwaa"


KEY_ID = "12345678-1234-1234-1234-123456789012"


def wanted(**changes: Any) -> dict[str, Any]:
    """A CreateEnvironment request that is accepted as it is."""
    request: dict[str, Any] = {
        "Name": "shop-blue",
        "ExecutionRoleArn": ROLE,
        "SourceBucketArn": "arn:aws:s3:::shop-blue-bucket",
        "DagS3Path": "dags/",
        "NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
    }
    return request | changes


class Server:
    """The application on a port of its own, in a thread."""

    def __init__(self, home: Home) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(app(home, NoAirflow()), log_level="error"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.client: Any = boto3.client(
            "mwaa",
            endpoint_url=f"http://127.0.0.1:{self._socket.getsockname()[1]}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}),
        )

    def stop(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(Home(tmp_path_factory.mktemp("home")))
    yield running
    running.stop()


@pytest.fixture
def mwaa(server: Server) -> Iterator[Any]:
    yield server.client
    for name in server.client.list_environments()["Environments"]:
        server.client.delete_environment(Name=name)


def refused(call: Any, code: str = "ValidationException", **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    return str(error["Message"])


def test_a_new_environment_is_shown_with_mwaas_defaults(mwaa: Any) -> None:
    arn = mwaa.create_environment(**wanted())["Arn"]
    shown = mwaa.get_environment(Name="shop-blue")["Environment"]
    assert arn == shown["Arn"] == "arn:aws:airflow:us-east-1:000000000000:environment/shop-blue"
    assert shown["Status"] == "AVAILABLE"
    assert shown["AirflowVersion"] == "3.3.1"
    assert (shown["EnvironmentClass"], shown["MaxWorkers"], shown["Schedulers"]) == ("mw1.small", 10, 2)
    assert shown["LastUpdate"]["Status"] == "SUCCESS"
    assert shown["LoggingConfiguration"]["TaskLogs"]["CloudWatchLogGroupArn"].endswith(
        ":airflow-shop-blue-Task"
    )
    assert "CloudWatchLogGroupArn" not in shown["LoggingConfiguration"]["WorkerLogs"]


def test_a_micro_environment_has_one_of_everything(mwaa: Any) -> None:
    mwaa.create_environment(**wanted(EnvironmentClass="mw1.micro"))
    shown = mwaa.get_environment(Name="shop-blue")["Environment"]
    assert [shown[m] for m in ("MinWorkers", "MaxWorkers", "Schedulers", "MinWebservers")] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Name": "1st"}, "Name is '1st'"),
        ({"Name": "n" * 81}, "Name has 81 characters"),
        ({"AirflowVersion": "2.10.2"}, "AirflowVersion is '2.10.2'; allowed are 2.7.2"),
        ({"EnvironmentClass": "mw1.huge"}, "allowed are mw1.micro"),
        ({"ExecutionRoleArn": "arn:aws:iam::1:role/x"}, "ExecutionRoleArn is"),
        ({"SourceBucketArn": "my-bucket"}, "SourceBucketArn is 'my-bucket'"),
        ({"MaxWorkers": 26}, "MaxWorkers is 26; mw1.small allows 1 to 25"),
        ({"MinWorkers": 5, "MaxWorkers": 2}, r"MinWorkers (5) is greater than MaxWorkers (2)"),
        ({"EnvironmentClass": "mw1.micro", "MaxWorkers": 2}, "MaxWorkers is 2; mw1.micro allows 1"),
        ({"EnvironmentClass": "mw1.micro", "Schedulers": 2}, "Schedulers is 2; mw1.micro allows 1"),
        ({"Schedulers": 1}, "Schedulers is 1; mw1.small allows 2 to 5"),
        ({"WebserverAccessMode": "OPEN"}, "allowed are PRIVATE_ONLY"),
        (
            {"WebserverAccessMode": "PUBLIC_AND_PRIVATE", "AirflowVersion": "3.0.6"},
            "needs Airflow 3.2 or later, not 3.0.6",
        ),
        ({"AirflowConfigurationOptions": {"Core.x": "1"}}, "key 'Core.x' of AirflowConfigurationOptions is"),
        ({"AirflowConfigurationOptions": {"core": "1"}}, "must be written section.option"),
        (
            {"AirflowConfigurationOptions": {"core." + "x" * 60: "1"}},
            "has 65 characters",
        ),
        ({"AirflowConfigurationOptions": {"core.x": "ä"}}, "it must match [ -~]+"),
        (
            {
                "NetworkConfiguration": {
                    "SubnetIds": ["subnet-1", "subnet-2", "subnet-3"],
                    "SecurityGroupIds": ["sg-1"],
                }
            },
            "SubnetIds has 3 items; allowed are 2 to 2",
        ),
        (
            {"NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-1"], "SecurityGroupIds": ["sg-1"]}},
            "exactly 2 subnets",
        ),
        (
            {
                "NetworkConfiguration": {
                    "SubnetIds": ["subnet-1", "subnet-2"],
                    "SecurityGroupIds": [f"sg-{n}" for n in range(6)],
                }
            },
            "SecurityGroupIds has 6 items; allowed are 1 to 5",
        ),
        ({"KmsKey": f"arn:aws:kms:us-east-1:000000000000:key/mrk-{'a' * 32}"}, "KmsKey is"),
        ({"KmsKey": f"arn:aws-us-gov:kms:us-gov-west-1:000000000000:key/{KEY_ID}"}, "KmsKey is"),
        ({"Tags": {"team": "a;b"}}, "Tags['team'] is"),
        ({"Tags": {"x" * 129: "a"}}, "has 129 characters; allowed are 1 to 128"),
        ({"Schedulers": 6}, "Schedulers"),
        ({"WeeklyMaintenanceWindowStart": "SUN:03:15"}, "WeeklyMaintenanceWindowStart is"),
    ],
)
def test_a_request_that_mwaa_refuses_is_refused_with_its_reason(
    mwaa: Any, changes: dict[str, Any], words: str
) -> None:
    assert words in refused(mwaa.create_environment, **wanted(**changes))
    assert mwaa.list_environments()["Environments"] == []


def test_the_same_name_cannot_be_created_twice(mwaa: Any) -> None:
    mwaa.create_environment(**wanted())
    assert "already exists" in refused(mwaa.create_environment, **wanted())


def test_an_absent_environment_is_not_found(mwaa: Any) -> None:
    for call in (
        mwaa.get_environment,
        mwaa.delete_environment,
        mwaa.update_environment,
        mwaa.create_cli_token,
    ):
        assert "nobody" in refused(call, "ResourceNotFoundException", Name="nobody")


def test_a_command_of_airflow_needs_a_token_of_at_most_a_minute(
    mwaa: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(token: str, words: str) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://{host}/aws_mwaa/cli", words.encode(), {"Authorization": f"Bearer {token}"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    carried_out: list[Any] = []

    def carry_out(_: object, _environment: object, words: list[str]) -> tuple[int, bytes, bytes]:
        carried_out.append(words)
        return 0, b"yes", b""

    monkeypatch.setattr(NoAirflow, "command", carry_out)
    mwaa.create_environment(**wanted())
    answer = mwaa.create_cli_token(Name="shop-blue")
    host, token = answer["WebServerHostname"], answer["CliToken"]
    assert command(token, "dags list 'a b'") == (200, {"stdout": "eWVz", "stderr": ""})
    status, refusal = command(token, "db reset")
    assert (status, b"not a command" in base64.b64decode(refusal["stderr"])) == (400, True)
    assert command("guessed", "version")[0] == 403
    monkeypatch.setattr("local.mwaa.api.CLI_TOKEN_SECONDS", -1)  # as if that time were over
    assert command(mwaa.create_cli_token(Name="shop-blue")["CliToken"], "version")[0] == 403
    assert carried_out == [["dags", "list", "a b"]]


def test_an_update_changes_what_it_names_and_keeps_the_rest(mwaa: Any) -> None:
    mwaa.create_environment(**wanted(AirflowConfigurationOptions={"core.parallelism": "4"}, MaxWorkers=3))
    mwaa.update_environment(
        Name="shop-blue",
        AirflowConfigurationOptions={"openlineage.namespace": "shop"},
        NetworkConfiguration={"SecurityGroupIds": ["sg-9"]},
        LoggingConfiguration={"WorkerLogs": {"Enabled": True, "LogLevel": "DEBUG"}},
        WorkerReplacementStrategy="GRACEFUL",
    )
    shown = mwaa.get_environment(Name="shop-blue")["Environment"]
    assert shown["Status"] == "AVAILABLE"
    assert shown["AirflowConfigurationOptions"] == {"openlineage.namespace": "shop"}
    assert shown["NetworkConfiguration"] == {
        "SubnetIds": ["subnet-1", "subnet-2"],
        "SecurityGroupIds": ["sg-9"],
    }
    assert shown["MaxWorkers"] == 3
    assert shown["LoggingConfiguration"]["WorkerLogs"]["LogLevel"] == "DEBUG"
    assert shown["LoggingConfiguration"]["TaskLogs"]["Enabled"] is True
    assert shown["LastUpdate"]["WorkerReplacementStrategy"] == "GRACEFUL"


def test_a_version_changes_in_place_up_and_down_and_between_majors_at_their_border(mwaa: Any) -> None:
    mwaa.create_environment(**wanted(AirflowVersion="2.10.3"))
    for version in ("3.3.1", "3.0.6"):
        said = refused(mwaa.update_environment, Name="shop-blue", AirflowVersion=version)
        assert f"cannot change from 2.10.3 to {version}" in said
    for version in ("2.9.2", "2.11.0", "3.3.1", "3.0.6", "2.11.2", "2.10.3"):
        mwaa.update_environment(Name="shop-blue", AirflowVersion=version)
        assert mwaa.get_environment(Name="shop-blue")["Environment"]["AirflowVersion"] == version


def test_from_airflow_3_the_way_back_ends_at_the_last_version_of_2(mwaa: Any) -> None:
    mwaa.create_environment(**wanted(AirflowVersion="3.0.6"))
    said = refused(mwaa.update_environment, Name="shop-blue", AirflowVersion="2.10.3")
    assert "between 2.11.x and 3.x only" in said


def test_a_deleted_environment_is_gone_and_its_name_is_free(mwaa: Any) -> None:
    mwaa.create_environment(**wanted())
    mwaa.delete_environment(Name="shop-blue")
    refused(mwaa.get_environment, "ResourceNotFoundException", Name="shop-blue")
    mwaa.create_environment(**wanted())
    assert mwaa.list_environments()["Environments"] == ["shop-blue"]


def test_environments_are_listed_in_pages(mwaa: Any) -> None:
    for name in ("c", "a", "b"):
        mwaa.create_environment(**wanted(Name=name))
    pages = mwaa.get_paginator("list_environments").paginate(PaginationConfig={"PageSize": 2})
    assert [page["Environments"] for page in pages] == [["a", "b"], ["c"]]


def test_an_eleventh_environment_exceeds_the_quota(mwaa: Any) -> None:
    for number in range(10):
        mwaa.create_environment(**wanted(Name=f"n{number}"))
    assert "quota" in refused(mwaa.create_environment, **wanted())


def test_tags_are_added_and_removed_by_arn(mwaa: Any) -> None:
    arn = mwaa.create_environment(**wanted(Tags={"team": "data"}))["Arn"]
    mwaa.tag_resource(ResourceArn=arn, Tags={"stage": "dev", "cost": "1"})
    mwaa.untag_resource(ResourceArn=arn, tagKeys=["team", "cost"])
    assert mwaa.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"stage": "dev"}


def test_a_restarted_server_knows_its_environments(tmp_path: Path) -> None:
    first = Server(Home(tmp_path))
    first.client.create_environment(**wanted(Tags={"team": "data"}))
    before = first.client.get_environment(Name="shop-blue")["Environment"]
    first.stop()
    second = Server(Home(tmp_path))
    try:
        assert second.client.get_environment(Name="shop-blue")["Environment"] == before
    finally:
        second.stop()


def test_an_error_of_airflows_rest_api_carries_its_status_and_body(mwaa: Any) -> None:
    mwaa.create_environment(**wanted())
    with pytest.raises(mwaa.exceptions.RestApiServerException) as caught:
        mwaa.invoke_rest_api(Name="shop-blue", Method="GET", Path="/dags")
    assert caught.value.response["RestApiStatusCode"] == 503
    assert "--no-airflow" in caught.value.response["RestApiResponse"]["detail"]


def test_a_rest_call_must_name_a_path_and_a_known_method(mwaa: Any) -> None:
    mwaa.create_environment(**wanted())
    assert "Path" in refused(mwaa.invoke_rest_api, Name="shop-blue", Method="GET", Path="dags")
    assert "HEAD" in refused(mwaa.invoke_rest_api, Name="shop-blue", Method="HEAD", Path="/dags")


def test_the_documented_limit_of_a_path_is_kept_if_asked_for(
    mwaa: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mwaa.create_environment(**wanted())
    path = "/dags/" + "x" * 59
    call: dict[str, Any] = {"Name": "shop-blue", "Method": "GET"}
    refused(mwaa.invoke_rest_api, "RestApiServerException", **call, Path=path)  # no Airflow answers here
    monkeypatch.setenv("MWAA_LOCAL_REST_LONGEST", "64")
    assert "65 characters; allowed are 1 to 64" in refused(mwaa.invoke_rest_api, **call, Path=path)
    refused(mwaa.invoke_rest_api, "RestApiServerException", **call, Path=path[:-1])
