"""The resource plugin keeps the real providers' word: small programs on the real engine."""

from __future__ import annotations

from collections.abc import Callable

from tests.engine.deployment import Project

Make = Callable[[str], Project]
HEAD = "import pulumi\nR = pulumi.CustomResource\nO = pulumi.ResourceOptions\n"


def resource(kind: str, name: str, arguments: str, options: str = "") -> str:
    return f"{name} = R({kind!r}, {name!r}, {arguments}, O({options}))\n"


BUCKET = resource("aws:s3/bucket:Bucket", "store", "{'forceDestroy': True, 'bucket': None, 'arn': None}")
PARAMETER = "aws:ssm/parameter:Parameter"


def parameter(value: str, name: str = "/plugin/test", options: str = "") -> str:
    return resource(PARAMETER, "p", f"{{'name': {name!r}, 'type': 'String', 'value': {value!r}}}", options)


def test_an_argument_that_the_provider_does_not_have_is_refused(program: Make) -> None:
    result = program(HEAD + resource("aws:s3/bucket:Bucket", "b", "{'bukket': 'x'}")).up()
    assert not result.ok
    assert "bukket" in result.said
    assert "no such argument" in result.said


def test_a_wrong_name_inside_a_block_is_refused(program: Make) -> None:
    rule = "{'bucket': 'x', 'versioningConfiguration': {'statuss': 'Enabled'}}"
    result = program(HEAD + resource("aws:s3/bucketVersioning:BucketVersioning", "v", rule)).up()
    assert not result.ok
    assert "versioningConfiguration.statuss" in result.said


def test_a_missing_argument_and_a_wrong_type_are_refused(program: Make) -> None:
    arguments = "{'name': 5}"
    result = program(HEAD + resource(PARAMETER, "p", arguments)).up()
    assert not result.ok
    assert "type str" in result.said
    assert "this argument is required" in result.said


def test_a_type_that_is_not_in_the_table_is_refused(program: Make) -> None:
    result = program(HEAD + resource("aws:sqs/queue:Queue", "q", "{}")).up()
    assert not result.ok
    assert "does not support the resource type aws:sqs/queue:Queue" in result.said


def test_a_name_left_out_is_made_once_and_kept(program: Make) -> None:
    project = program(HEAD + BUCKET)
    assert project.up().ok
    [name] = project.cloud.content()["buckets"]
    assert name.startswith("store-")
    assert project.up().changes == []
    assert project.cloud.content()["buckets"] == [name]


def test_a_change_is_an_update_and_a_new_name_a_replacement(program: Make) -> None:
    project = program(HEAD + parameter("one"))
    assert project.up().ok
    program(HEAD + parameter("two"))
    assert project.up().operations()["update"] == 1
    ssm = project.cloud.client("ssm")
    assert ssm.get_parameter(Name="/plugin/test")["Parameter"]["Value"] == "two"
    program(HEAD + parameter("two", "/plugin/other"))
    assert project.preview().operations()["replace"] == 1
    assert project.up().ok
    assert project.cloud.content()["parameters"] == ["/plugin/other"]


def test_refresh_sees_what_happened_outside(program: Make) -> None:
    project = program(HEAD + parameter("one"))
    assert project.up().ok
    ssm = project.cloud.client("ssm")
    ssm.put_parameter(Name="/plugin/test", Value="other", Type="String", Overwrite=True)
    assert "1 updated" in project.refresh().said
    assert project.preview().operations()["update"] == 1
    ssm.delete_parameter(Name="/plugin/test")
    assert "1 deleted" in project.refresh().said
    assert project.up().operations()["create"] == 1
    assert ssm.get_parameter(Name="/plugin/test")["Parameter"]["Value"] == "one"


def test_an_ignored_value_is_not_put_back(program: Make) -> None:
    project = program(HEAD + parameter("one", options="ignore_changes=['value']"))
    assert project.up().ok
    ssm = project.cloud.client("ssm")
    ssm.put_parameter(Name="/plugin/test", Value="switched", Type="String", Overwrite=True)
    program(HEAD + parameter("three", options="ignore_changes=['value']"))
    for operation in (project.up, project.refresh, project.up):
        assert operation().ok
        assert ssm.get_parameter(Name="/plugin/test")["Parameter"]["Value"] == "switched"


def test_what_is_gone_already_can_be_deleted(program: Make) -> None:
    project = program(HEAD + BUCKET + parameter("one"))
    assert project.up().ok
    project.cloud.client("ssm").delete_parameter(Name="/plugin/test")
    project.cloud.client("s3").delete_bucket(Bucket=project.cloud.content()["buckets"][0])
    result = project.destroy()
    assert result.ok, result.said


def test_a_protected_bucket_with_content_is_not_deleted(program: Make) -> None:
    project = program(HEAD + resource("aws:s3/bucket:Bucket", "kept", "{'bucket': None}"))
    assert project.up().ok
    [name] = project.cloud.content()["buckets"]
    s3 = project.cloud.client("s3")
    s3.put_object(Bucket=name, Key="theirs", Body=b"x")
    result = project.destroy()
    assert not result.ok
    assert "still has objects" in result.said
    s3.delete_object(Bucket=name, Key="theirs")
    assert project.destroy().ok


def test_a_parameter_that_somebody_else_made_is_an_error(program: Make) -> None:
    project = program(HEAD + parameter("mine"))
    ssm = project.cloud.client("ssm")
    ssm.put_parameter(Name="/plugin/test", Value="theirs", Type="String")
    result = project.up()
    ssm.delete_parameter(Name="/plugin/test")
    assert not result.ok
    assert "ParameterAlreadyExists" in result.said


def test_new_content_is_a_new_object_version(program: Make) -> None:
    def text(content: str) -> str:
        versioned = "{'bucket': store.bucket, 'versioningConfiguration': {'status': 'Enabled'}}"
        thing = f"{{'bucket': store.bucket, 'key': 'k', 'content': {content!r}, 'versionId': None}}"
        return (
            HEAD
            + BUCKET
            + resource("aws:s3/bucketVersioning:BucketVersioning", "v", versioned)
            + resource("aws:s3/bucketObjectv2:BucketObjectv2", "k", thing, "depends_on=[v]")
            + "pulumi.export('version', k.versionId)\n"
        )

    project = program(text("one"))
    assert project.up().ok
    first = project.outputs()["version"]
    assert project.up().changes == []
    program(text("two"))
    assert project.up().ok
    second = project.outputs()["version"]
    assert first != second
    assert project.destroy().ok
    assert project.cloud.content()["buckets"] == []


def test_an_airflow_environment_that_mwaa_refuses_is_an_error(program: Make) -> None:
    network = "{'subnetIds': ['subnet-1'], 'securityGroupIds': ['sg-1']}"
    arguments = (
        "{'name': 'broken', 'dagS3Path': 'dags/', 'executionRoleArn': 'arn:aws:iam::000000000000:role/r', "
        f"'sourceBucketArn': 'arn:aws:s3:::none', 'networkConfiguration': {network}}}"
    )
    result = program(HEAD + resource("aws:mwaa/environment:Environment", "e", arguments)).up()
    assert not result.ok
    assert "Invalid length for parameter NetworkConfiguration.SubnetIds" in result.said
    assert "Traceback" not in result.said


def test_functions_answer_and_unknown_ones_are_refused(program: Make) -> None:
    call = "pulumi.runtime.invoke({!r}, {}).value"
    zones = call.format("aws:index/getAvailabilityZones:getAvailabilityZones", "{}")
    me = call.format("aws:index/getCallerIdentity:getCallerIdentity", "{}")
    project = program(
        HEAD + f"pulumi.export('zones', {zones}['names'])\n" + f"pulumi.export('me', {me}['accountId'])\n"
    )
    assert project.up().ok
    assert project.outputs()["zones"][:2] == ["us-east-1a", "us-east-1b"]
    assert project.outputs()["me"] == "000000000000"
    program(HEAD + call.format("aws:ec2/getAmi:getAmi", "{}"))
    assert "does not support the function aws:ec2/getAmi:getAmi" in project.preview().said
    program(HEAD + call.format("aws:ssm/getParameter:getParameter", "{'name': '/none'}"))
    assert "couldn't find resource" in project.preview().said


def test_secrets_stay_secret(program: Make) -> None:
    project = program(
        HEAD
        + resource(
            "random:index/randomPassword:RandomPassword",
            "r",
            "{'length': 40, 'result': None}",
            "additional_secret_outputs=['result']",
        )
        + resource(
            PARAMETER,
            "p",
            "{'name': '/plugin/secret', 'type': 'SecureString', 'value': pulumi.Output.secret('geheim-1')}",
        )
        + "pulumi.export('password', r.result)\n"
    )
    assert project.up().ok
    shown = project.run("stack", "output", "password", "--show-secrets").stdout.strip()
    assert len(shown) == 40
    state = project.state_text()
    assert shown not in state
    assert "geheim-1" not in state
    assert (
        project.cloud.client("ssm").get_parameter(Name="/plugin/secret", WithDecryption=True)["Parameter"][
            "Value"
        ]
        == "geheim-1"
    )
    assert project.refresh().ok
    assert "geheim-1" not in project.state_text()
