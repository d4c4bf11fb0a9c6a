"""The whole program, or one component, under Pulumi mocks: every registration recorded with its options.

The program reads the real Pulumi.yaml and stack files. What is not mocked raises, so that a new resource or
invoke is seen here first.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import runpy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import pulumi
import yaml
from bluegreen.document import object_key
from pulumi.runtime import mocks, rpc, set_all_config
from pulumi.runtime.settings import set_root_resource
from pulumi.runtime.stack import run_in_stack

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = "mwaa-openlineage"
MODES = ("standard", "bluegreen", "hamarquez", "fullha")
ACCOUNT = "123456789012"
REGION = "us-east-1"
SECRET_SIGNATURE = rpc._special_sig_key

Invoke = Callable[[Mapping[str, Any]], dict[str, Any]]

# Types that a mocked deployment may register, with the service and resource part of their ARN.
ARNS = {
    "aws:autoscaling/group:Group": "autoscaling:autoScalingGroup:id:autoScalingGroupName/{id}",
    "aws:autoscaling/policy:Policy": "autoscaling:scalingPolicy:{id}",
    "aws:backup/plan:Plan": "backup:backup-plan:{id}",
    "aws:backup/selection:Selection": "",
    "aws:backup/vault:Vault": "backup:backup-vault:{id}",
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": "cloudwatch:alarm:{id}",
    "aws:cloudwatch/dashboard:Dashboard": "",
    "aws:cloudwatch/eventRule:EventRule": "events:rule/{id}",
    "aws:cloudwatch/eventTarget:EventTarget": "",
    "aws:sns/topic:Topic": "sns:{id}",
    "aws:sns/topicPolicy:TopicPolicy": "",
    "aws:sns/topicSubscription:TopicSubscription": "",
    "aws:cloudwatch/logGroup:LogGroup": "logs:log-group:{id}",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": "",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "cloudwatch:alarm:{id}",
    "aws:ebs/volume:Volume": "ec2:volume/{id}",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "ec2:security-group/{id}",
    "aws:ec2/flowLog:FlowLog": "ec2:vpc-flow-log/{id}",
    "aws:ec2/instance:Instance": "ec2:instance/{id}",
    "aws:ec2/launchTemplate:LaunchTemplate": "ec2:launch-template/{id}",
    "aws:ec2/securityGroup:SecurityGroup": "ec2:security-group/{id}",
    "aws:ec2/volumeAttachment:VolumeAttachment": "",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "ec2:vpc-endpoint/{id}",
    "aws:iam/instanceProfile:InstanceProfile": "iam:instance-profile/{id}",
    "aws:iam/role:Role": "iam:role/{id}",
    "aws:iam/rolePolicy:RolePolicy": "",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "",
    "aws:kms/alias:Alias": "kms:{id}",
    "aws:kms/key:Key": "kms:key/{id}",
    "aws:lb/listener:Listener": "elasticloadbalancing:listener/app/{id}/1/2",
    "aws:lb/listenerRule:ListenerRule": "elasticloadbalancing:listener-rule/app/{id}/1/2/3",
    "aws:lb/loadBalancer:LoadBalancer": "elasticloadbalancing:loadbalancer/app/{id}/1",
    "aws:lb/targetGroup:TargetGroup": "elasticloadbalancing:targetgroup/{id}/1",
    "aws:mwaa/environment:Environment": "airflow:environment/{id}",
    "aws:rds/cluster:Cluster": "rds:cluster:{id}",
    "aws:rds/clusterInstance:ClusterInstance": "rds:db:{id}",
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": "rds:cluster-pg:{id}",
    "aws:rds/subnetGroup:SubnetGroup": "rds:subgrp:{id}",
    "aws:route53/record:Record": "",
    "aws:route53/zone:Zone": "route53:hostedzone/{id}",
    "aws:s3/bucket:Bucket": "s3:{id}",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "",
    "aws:s3/bucketLogging:BucketLogging": "",
    "aws:s3/bucketObjectv2:BucketObjectv2": "s3:object/{id}",
    "aws:s3/bucketPolicy:BucketPolicy": "",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": "",
    "aws:s3/bucketVersioning:BucketVersioning": "",
    "aws:secretsmanager/secret:Secret": "secretsmanager:secret:{id}",
    "aws:secretsmanager/secretVersion:SecretVersion": "",
    "aws:ssm/parameter:Parameter": "ssm:parameter{id}",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "ec2:security-group-rule/{id}",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "ec2:security-group-rule/{id}",
    "awsx:ec2:Vpc": "",
    "pulumi:index:Stash": "",
    "random:index/randomId:RandomId": "",
    "random:index/randomPassword:RandomPassword": "",
}
GET_PARTITION = "aws:index/getPartition:getPartition"
PARTITIONS = {
    "aws": {"partition": "aws", "dnsSuffix": "amazonaws.com"},
    "aws-cn": {"partition": "aws-cn", "dnsSuffix": "amazonaws.com.cn"},
    "aws-us-gov": {"partition": "aws-us-gov", "dnsSuffix": "amazonaws.com"},
}
GLOBAL_SERVICES = {"s3": "arn:aws:s3:::", "iam": f"arn:aws:iam::{ACCOUNT}:", "route53": "arn:aws:route53:::"}

# What AWS would answer, beside what went in.
COMPUTED: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
    "awsx:ec2:Vpc": lambda name, inputs: {
        "vpcId": "vpc-1",
        "privateSubnetIds": ["subnet-private-1", "subnet-private-2"],
        "publicSubnetIds": ["subnet-public-1", "subnet-public-2"],
    },
    "aws:s3/bucket:Bucket": lambda name, inputs: {"bucket": f"{name}-1234567"},
    "aws:s3/bucketObjectv2:BucketObjectv2": lambda name, inputs: {"versionId": f"version-of-{name}"},
    "aws:mwaa/environment:Environment": lambda name, inputs: {
        "webserverUrl": f"{name}.airflow.example",
        "workerReplacementStrategy": "",
    },
    "aws:iam/role:Role": lambda name, inputs: {"name": inputs.get("name", f"{name}-1234567")},
    "aws:iam/instanceProfile:InstanceProfile": lambda name, inputs: {"name": f"{name}-1234567"},
    "aws:ec2/instance:Instance": lambda name, inputs: {"privateIp": "10.0.0.10"},
    "aws:ec2/launchTemplate:LaunchTemplate": lambda name, inputs: {"latestVersion": 1},
    "aws:autoscaling/group:Group": lambda name, inputs: {"name": inputs.get("name", f"{name}-1234567")},
    "aws:lb/loadBalancer:LoadBalancer": lambda name, inputs: {
        "dnsName": f"{name}.elb.example",
        "zoneId": "Z1",
        "arnSuffix": f"app/{name}/1",
    },
    "aws:kms/key:Key": lambda name, inputs: {"keyId": f"{name}-id"},
    "aws:lb/targetGroup:TargetGroup": lambda name, inputs: {"arnSuffix": f"targetgroup/{name}/1"},
    "aws:rds/cluster:Cluster": lambda name, inputs: {
        "clusterIdentifier": f"{name}-1234567",
        "clusterResourceId": "cluster-ABC",
        "endpoint": f"{name}.cluster.example",
        "port": 5432,
        "masterUserSecrets": [
            {"secretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!cluster-1-AbCdEf"}
        ],
    },
    "aws:route53/zone:Zone": lambda name, inputs: {"zoneId": "Z2"},
    "aws:rds/subnetGroup:SubnetGroup": lambda name, inputs: {"name": f"{name}-1234567"},
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": lambda name, inputs: {"name": f"{name}-1234567"},
    "aws:backup/vault:Vault": lambda name, inputs: {"name": f"{name}-1234567"},
    "random:index/randomPassword:RandomPassword": lambda name, inputs: {"result": "s3cret"},
    "random:index/randomId:RandomId": lambda name, inputs: {"hex": "1234abcd", "b64Url": "EjSrzQ"},
}


class EngineError(grpc.RpcError):
    """What the SDK receives where an invoke fails."""

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self._details


@dataclass(frozen=True)
class Registration:
    """One resource as the engine would see it; secrets in `inputs` still wrapped."""

    type: str
    name: str
    urn: str
    inputs: Mapping[str, Any]
    request: Any  # the protocol's RegisterResourceRequest

    @property
    def parent(self) -> str:
        """The parent's URN."""
        return str(self.request.parent)

    @property
    def ignore_changes(self) -> list[str]:
        return list(self.request.ignoreChanges)


@dataclass
class Deployment:
    """What one run of a program registered, exported and asked for."""

    resources: list[Registration] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)
    invokes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def of_type(self, *types: str) -> list[Registration]:
        """The resources of these types, given by their last part (`Environment`)."""
        return [each for each in self.resources if each.type.rpartition(":")[2] in types]

    def resource(self, type: str, name: str) -> Registration:
        """The only resource of a type (its last part) and a logical name."""
        (resource,) = [each for each in self.of_type(type) if each.name == name]
        return resource

    def secrets(self) -> Iterator[tuple[Registration, str]]:
        """Every top-level input that is a secret, with its key."""
        for each in self.resources:
            for key, value in each.inputs.items():
                if is_secret(value):
                    yield each, key


def is_secret(value: Any) -> bool:
    """Whether an input went to the engine wrapped as a secret."""
    return isinstance(value, Mapping) and value.get(SECRET_SIGNATURE) == rpc._special_secret_sig


def plain(value: Any) -> Any:
    """The value inside a secret's wrapper, or the value itself."""
    return value["value"] if is_secret(value) else value


class AwsMocks(mocks.Mocks):
    """Answers what AWS would, for the types in the tables above."""

    def __init__(self, deployment: Deployment, invokes: Mapping[str, Invoke]) -> None:
        self.deployment = deployment
        self.invokes = invokes

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ.startswith("mwaa-openlineage:index:"):
            return "", dict(args.inputs)
        resource_id = str(args.inputs.get("name") or f"{args.name}-id")
        # A remote component (awsx) has outputs of its own only, some under the name of an input.
        echoed = {} if args.typ.startswith("awsx:") else args.inputs
        outputs = {"id": resource_id, **echoed, **self._arn(args.typ, args.name, resource_id)}
        if args.typ in COMPUTED:
            outputs |= COMPUTED[args.typ](args.name, dict(args.inputs))
        return resource_id, self._in_partition(outputs)

    def _in_partition(self, outputs: dict[str, Any]) -> dict[str, Any]:
        partition = self.invokes[GET_PARTITION]({})["partition"] if GET_PARTITION in self.invokes else "aws"
        files = {key: value for key, value in outputs.items() if isinstance(value, pulumi.Asset)}
        texts = json.dumps({key: value for key, value in outputs.items() if key not in files})
        moved: dict[str, Any] = json.loads(texts.replace("arn:aws:", f"arn:{partition}:"))
        return moved | files

    def _arn(self, typ: str, name: str, resource_id: str) -> dict[str, str]:
        pattern = ARNS[typ]  # a type that is not in the table is not mocked
        if not pattern:
            return {}
        service, _, rest = pattern.partition(":")
        prefix = GLOBAL_SERVICES.get(service, f"arn:aws:{service}:{REGION}:{ACCOUNT}:")
        physical = f"{name}-1234567" if typ == "aws:s3/bucket:Bucket" else resource_id
        return {"arn": prefix + rest.format(id=physical)}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        self.deployment.invokes.append(args.token)
        answer = self.invokes[args.token]  # an invoke that is not in the table is not mocked
        return answer(args.args), []


class Warnings(logging.Handler):
    """Keeps what the program, or the SDK on its behalf, warns of."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(logging.WARNING)
        self.deployment = deployment

    def emit(self, record: logging.LogRecord) -> None:
        self.deployment.warnings.append(record.getMessage())


class Monitor(mocks.MockMonitor):
    """The mocked engine; records what MockMonitor forgets: options and the stack's outputs."""

    def __init__(self, answers: AwsMocks, deployment: Deployment) -> None:
        super().__init__(answers)
        self.deployment = deployment

    def Invoke(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        with _loop_of_this_thread():
            return super().Invoke(request)  # type: ignore[no-untyped-call]

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        with _loop_of_this_thread():
            response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            inputs = rpc.deserialize_properties(request.object, keep_unknowns=True)
            self.deployment.resources.append(
                Registration(request.type, request.name, response.urn, inputs, request)
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
            self.deployment.exports.update(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


@contextmanager
def _loop_of_this_thread() -> Iterator[None]:
    """MockMonitor makes an event loop in each of its threads and forgets it; this one is closed."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def stack_config(stack_file: str, changes: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The configuration that the engine hands to the program: defaults, the stack file's values, `changes`.

    A change to None leaves the key unset.
    """
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    values = {f"{PROJECT}:{key}": declared["default"] for key, declared in project["config"].items()}
    values |= yaml.safe_load((ROOT / f"Pulumi.{stack_file}.yaml").read_text())["config"]
    for key, value in (changes or {}).items():
        values[key if ":" in key else f"{PROJECT}:{key}"] = value
    return {key: _as_text(value) for key, value in values.items() if value is not None}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def deploy(
    stack_file: str,
    changes: Mapping[str, Any] | None = None,
    *,
    project: str = PROJECT,
    stack: str | None = None,
    previous: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    parameter: Mapping[str, Any] | None = None,
    partition: str = "aws",
) -> Deployment:
    """Run the real __main__.py with a real stack file.

    `previous`: the outputs of the deployment before; `versions`: of its environments by colour, where a
    refresh found others; `parameter`: what SSM has, value and version, and under
    `object` the content in S3 that the value names.
    """
    config = stack_config(stack_file, changes)
    config = {key.replace(f"{PROJECT}:", f"{project}:", 1): value for key, value in config.items()}
    parameters = {"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64": {"value": "ami-1"}}
    objects: dict[str, str] = {}
    if parameter is not None:
        parameters[f"/{project}/{stack or stack_file}/ownership"] = dict(parameter)
        if content := parameter.get("object"):
            objects[object_key(json.loads(parameter["value"])["object"])] = content
    invokes: dict[str, Invoke] = {
        "pulumi:pulumi:readStackOutputs": lambda args: {"outputs": dict(previous or {})},
        "pulumi:pulumi:readStackResourceOutputs": lambda args: {
            "outputs": _environments(previous or {}, versions or {})
        },
        "aws:ec2/getInstanceType:getInstanceType": lambda args: {
            "memorySize": 8192,
            "supportedArchitectures": ["x86_64"],
        },
        "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": lambda args: {
            "locations": [f"{REGION}{letter}" for letter in "abcf"]
        },
        "aws:ec2/getVpcEndpointService:getVpcEndpointService": _endpoint_service,
        "aws:index/getAvailabilityZones:getAvailabilityZones": lambda args: {
            "names": [f"{REGION}{letter}" for letter in "cab"]
        },
        "aws:index/getCallerIdentity:getCallerIdentity": lambda args: {"accountId": ACCOUNT},
        GET_PARTITION: lambda args: PARTITIONS[partition],
        "aws:rds/getEngineVersion:getEngineVersion": _engine_version,
        "aws:s3/getObject:getObject": lambda args: _object(objects, args),
        "aws:ssm/getParameter:getParameter": lambda args: parameters[args["name"]],
    }
    return run(
        lambda: runpy.run_path(str(ROOT / "__main__.py")),
        config=config,
        project=project,
        stack=stack or stack_file,
        invokes=invokes,
    )


def _environments(previous: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """The environments in the state, as the engine returns resources."""
    return {
        f"urn:pulumi:x::y::aws:mwaa/environment:Environment::mwaa-{colour}": {
            "type": "aws:mwaa/environment:Environment",
            "outputs": {
                "name": environment["name"],
                "airflowVersion": versions.get(colour, environment["airflow_version"]),
            },
        }
        for colour, environment in (previous.get("airflow_environments") or {}).items()
    }


# Endpoint services that the region lacks, or has in some zones only.
MISSING_SERVICES = ("airflow.ops",)
ZONES_OF_SERVICES = {"sqs": ["us-east-1b"]}


def _endpoint_service(args: Mapping[str, Any]) -> dict[str, Any]:
    name = args["filters"][0]["values"][0]
    service = name.removeprefix(f"com.amazonaws.{REGION}.")
    if service in MISSING_SERVICES:
        raise EngineError("no matching EC2 VPC Endpoint Service found")
    zones = ZONES_OF_SERVICES.get(service, [f"{REGION}{letter}" for letter in "abcf"])
    return {"serviceName": name, "availabilityZones": zones}


def _engine_version(args: Mapping[str, Any]) -> dict[str, Any]:
    """The newest of some versions that is, or begins with, the one that was asked for."""
    wanted = args["version"]
    matching = [each for each in ("16.8", "16.9", "17.5") if each == wanted or each.startswith(f"{wanted}.")]
    if not matching:
        raise EngineError("no RDS engine versions match the criteria")
    return {"version": matching[-1], "versionActual": matching[-1]}


def _object(objects: Mapping[str, str], args: Mapping[str, Any]) -> dict[str, Any]:
    """What the provider answers: the body only if asked for, and only as base64 of any content type."""
    if args["key"] not in objects:
        raise EngineError(f"S3 has no such object: {args['bucket']} {args['key']}")
    assert args["downloadBody"] == "true"
    return {"bodyBase64": base64.b64encode(objects[args["key"]].encode()).decode()}


def run(
    program: Callable[[], object],
    *,
    config: Mapping[str, str] | None = None,
    project: str = PROJECT,
    stack: str = "test",
    invokes: Mapping[str, Invoke] | None = None,
) -> Deployment:
    """Run a program (or a function that makes one component) as an update, and wait for all of it."""
    deployment = Deployment()
    logger = logging.Logger("program")
    logger.addHandler(Warnings(deployment))

    def within() -> None:
        program()

    async def update() -> None:
        set_all_config(dict(config or {}))
        monitor = Monitor(AwsMocks(deployment, invokes or {}), deployment)
        mocks.set_mocks(
            monitor.mocks,
            project=project,
            stack=stack,
            preview=False,
            monitor=monitor,
            logger=logger,
            organization="organization",
        )
        set_root_resource(cast(Any, None))  # set_mocks made one; the run below makes its own
        await run_in_stack(within)

    asyncio.run(update())
    return deployment
