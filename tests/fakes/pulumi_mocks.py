"""The whole program, or one component, under Pulumi mocks: every registration recorded with its options.

The program reads the real Pulumi.yaml and stack files. What is not mocked raises, so that a new resource or
invoke is seen here first. The mocked engine is the one behind `mwaactl cost`.
"""

from __future__ import annotations

import base64
import json
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bluegreen.document import object_key

from mwaactl.cost import engine
from mwaactl.cost.aws_answers import ACCOUNT as ACCOUNT
from mwaactl.cost.aws_answers import ARNS as ARNS
from mwaactl.cost.aws_answers import GET_PARTITION, PARTITIONS, AwsMocks, Invoke
from mwaactl.cost.aws_answers import REGION as REGION
from mwaactl.cost.engine import Deployment as Deployment
from mwaactl.cost.engine import EngineError as EngineError
from mwaactl.cost.engine import Registration as Registration
from mwaactl.cost.engine import is_secret as is_secret
from mwaactl.cost.engine import plain as plain
from mwaactl.cost.engine import stack_config
from mwaactl.cost.existing import existing

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = "mwaa-openlineage"
MODES = ("standard", "bluegreen", "hamarquez", "fullha")


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
    config = stack_config(ROOT, stack_file, changes)
    config = {key.replace(f"{PROJECT}:", f"{project}:", 1): value for key, value in config.items()}
    parameters = {"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64": {"value": "ami-1"}}
    objects: dict[str, str] = {}
    if parameter is not None:
        parameters[f"/{project}/{stack or stack_file}/ownership"] = dict(parameter)
        if content := parameter.get("object"):
            objects[object_key(json.loads(parameter["value"])["object"])] = content
    invokes: dict[str, Invoke] = existing(REGION, config) | {
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
        "aws:servicequotas/getServiceQuota:getServiceQuota": lambda args: {"value": 40},
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
    """The environments in the state, and the record of each, as the engine returns resources."""
    resources: dict[str, Any] = {}
    for colour, environment in (previous.get("airflow_environments") or {}).items():
        for kind, name, outputs in (
            (
                "aws:mwaa/environment:Environment",
                f"mwaa-{colour}",
                {
                    "name": environment["name"],
                    "airflowVersion": versions.get(colour, environment["airflow_version"]),
                },
            ),
            (
                "pulumi:index:Stash",
                f"mwaa-{colour}-deployed",
                {"input": {key: environment[key] for key in ("identity", "deployed")}},
            ),
        ):
            resources[f"urn:pulumi:x::y::{kind}::{name}"] = {"type": kind, "outputs": outputs}
    return resources


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
    answers = AwsMocks(invokes or {})
    return engine.run(program, config=config, project=project, stack=stack, answers=answers)
