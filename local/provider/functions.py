"""The functions of the `aws` package that a program may call."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from local.aws.callers import judge
from local.home import ACCOUNT, max_workers
from local.provider import lookups
from local.provider.services.service import as_provider_error, client, error_code
from local.provider.values import Props, ProviderError

LETTERS = {"us-east-1": "abcdef", "us-west-2": "abcd"}  # other regions: three zones
# Amazon's own parameters exist in every account; the emulated one has none.
PUBLIC_IMAGES = "/aws/service/ami-"


def invoke(function: str, args: Props, region: str) -> Props:
    """The function's result. Raises ProviderError for an unknown function, or where the real one fails."""
    if function not in FUNCTIONS:
        raise ProviderError(
            f"the local cloud does not support the function {function} yet (local/provider/functions.py)"
        )
    return FUNCTIONS[function](args, region)


def get_region(args: Props, region: str) -> Props:
    region = args.get("region") or args.get("name") or region
    return {
        "id": region,
        "name": region,
        "region": region,
        "description": region,
        "endpoint": f"ec2.{region}.amazonaws.com",
    }


def get_caller_identity(_args: Props, _region: str) -> Props:
    return {
        "id": ACCOUNT,
        "accountId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/local",
        "userId": "AIDALOCAL",
    }


def get_partition(_args: Props, region: str) -> Props:
    china = region.startswith("cn-")
    name = "aws-cn" if china else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return {
        "id": name,
        "partition": name,
        "dnsSuffix": "amazonaws.com.cn" if china else "amazonaws.com",
        "reverseDnsPrefix": "cn.com.amazonaws" if china else "com.amazonaws",
    }


def get_availability_zones(_args: Props, region: str) -> Props:
    letters = LETTERS.get(region, "abc")
    return {
        "id": region,
        "region": region,
        "names": [f"{region}{letter}" for letter in letters],
        "zoneIds": [f"{_short(region)}-az{i}" for i in range(1, len(letters) + 1)],
        "groupNames": [f"{region}-zg-1"],
    }


def _short(region: str) -> str:
    """`use1` of us-east-1."""
    parts = region.split("-")
    return parts[0] + "".join(part[0] for part in parts[1:-1]) + parts[-1]


# MiB; a program that asks for another type is told to add it here.
MEMORY = {
    "t3.nano": 512,
    "t3.small": 2048,
    "t3.medium": 4096,
    "t3.large": 8192,
    "m7i.large": 8192,
    "m7i-flex.large": 8192,
}


def get_instance_type_offerings(args: Props, region: str) -> Props:
    """Each type in `MEMORY` in each zone; no other type exists."""
    wanted = [name for each in args.get("filters") or [] for name in each["values"] if name in MEMORY]
    zones = get_availability_zones({}, region)["names"]
    return {
        "id": region,
        "region": region,
        "instanceTypes": [name for name in wanted for _ in zones],
        "locations": [zone for _ in wanted for zone in zones],
        "locationTypes": ["availability-zone" for _ in wanted for _ in zones],
    }


def get_instance_type(args: Props, region: str) -> Props:
    name = str(args["instanceType"])
    if name not in MEMORY:
        raise ProviderError(f"reading EC2 Instance Type ({name}): InvalidInstanceType")
    return {
        "id": name,
        "region": region,
        "instanceType": name,
        "memorySize": MEMORY[name],
        "supportedArchitectures": ["x86_64"],
    }


ENGINE_VERSIONS = ("15.12", "16.8", "16.9", "17.5")


def get_engine_version(args: Props, region: str) -> Props:
    """The newest of `ENGINE_VERSIONS` that is, or begins with, the version."""
    wanted = str(args["version"])
    matching = [each for each in ENGINE_VERSIONS if each == wanted or each.startswith(f"{wanted}.")]
    if not matching:
        raise ProviderError("reading RDS engine versions: no RDS engine versions match the criteria")
    return {
        "id": matching[-1],
        "region": region,
        "engine": args.get("engine"),
        "version": matching[-1],
        "versionActual": matching[-1],
        "parameterGroupFamily": f"aurora-postgresql{matching[-1].split('.')[0]}",
    }


def get_service_quota(args: Props, region: str) -> Props:
    """The one of Amazon MWAA that the program asks for."""
    if (args.get("serviceCode"), args.get("quotaName")) != ("airflow", "Workers per environment"):
        raise ProviderError("finding Service Quotas Quota: no results found")
    return {
        "id": "-",
        "region": region,
        "serviceCode": "airflow",
        "quotaName": args["quotaName"],
        "value": max_workers(),
        "adjustable": True,
        "globalQuota": False,
        "defaultValue": 25,
    }


def get_vpc_endpoint_service(args: Props, region: str) -> Props:
    """Each service exists in each zone, under its name in the partition `aws`."""
    names = [name for each in args.get("filters") or [] for name in each["values"]]
    name = next((name for name in names if name.startswith(f"com.amazonaws.{region}.")), None)
    if name is None:
        raise ProviderError("no matching EC2 VPC Endpoint Service found")
    return {
        "id": name,
        "region": region,
        "serviceName": name,
        "serviceType": args.get("serviceType"),
        "availabilityZones": get_availability_zones({}, region)["names"],
    }


def get_parameter(args: Props, region: str) -> Props:
    name = str(args["name"])
    decrypt = args.get("withDecryption", True)
    parameter = _public_image(name, region) if name.startswith(PUBLIC_IMAGES) else _parameter(name, decrypt)
    return {
        "id": name,
        "name": name,
        "region": region,
        "arn": parameter["ARN"],
        "type": parameter["Type"],
        "value": parameter["Value"],
        "insecureValue": parameter["Value"] if parameter["Type"] != "SecureString" else None,
        "version": parameter["Version"],
        "withDecryption": decrypt,
    }


def _public_image(name: str, region: str) -> dict[str, Any]:
    image = "ami-0" + hashlib.sha256(name.encode()).hexdigest()[:16]
    return {"Value": image, "Type": "String", "Version": 1, "ARN": f"arn:aws:ssm:{region}::parameter{name}"}


def _parameter(name: str, decrypt: bool) -> dict[str, Any]:
    try:
        answer = client("ssm").get_parameter(Name=name, WithDecryption=decrypt)
    except ClientError as error:
        if error_code(error) == "ParameterNotFound":
            raise ProviderError(f"reading SSM Parameter ({name}): couldn't find resource") from error
        raise as_provider_error(f"reading SSM Parameter ({name})", error) from error
    parameter: dict[str, Any] = answer["Parameter"]
    return parameter


def get_object(args: Props, region: str) -> Props:
    """An S3 object, with its body if `download_body` is true.

    The real function also gives the body of a text without being asked; nobody here relies on that.
    """
    bucket, key = str(args["bucket"]), str(args["key"])
    try:
        answer = client("s3").get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        raise as_provider_error(f"reading S3 Bucket ({bucket}) Object ({key})", error) from error
    body = answer["Body"].read() if args.get("downloadBody") == "true" else None
    return {
        "id": f"{bucket}/{key}",
        "bucket": bucket,
        "key": key,
        "region": region,
        "arn": f"arn:aws:s3:::{bucket}/{key}",
        "body": None,
        "bodyBase64": None if body is None else base64.b64encode(body).decode(),
        "contentType": answer.get("ContentType") or "",
        "contentLength": answer["ContentLength"],
        "etag": answer["ETag"].strip('"'),
        "versionId": answer.get("VersionId") or "",
    }


def get_role(args: Props, _region: str) -> Props:
    name = str(args["name"])
    try:
        role = client("iam").get_role(RoleName=name)["Role"]
    except ClientError as error:
        raise as_provider_error(f"reading IAM Role ({name})", error) from error
    return {
        "id": name,
        "name": name,
        "arn": role["Arn"],
        "path": role["Path"],
        "description": role.get("Description") or "",
        "assumeRolePolicy": json.dumps(role["AssumeRolePolicyDocument"]),
        "permissionsBoundary": (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", ""),
        "uniqueId": role["RoleId"],
    }


def get_principal_policy_simulation(args: Props, _region: str) -> Props:
    """What the emulated AWS judges for the role itself."""
    arn = str(args["policySourceArn"])
    resources = args.get("resourceArns") or ["*"]
    for action in args["actionNames"]:
        if "*" in action:
            raise ProviderError(f"simulating IAM Principal Policy: ValidationError: {action} has a wildcard")
    try:
        key = client("sts").assume_role(RoleArn=arn, RoleSessionName="simulation")["Credentials"]
    except ClientError as error:
        raise as_provider_error("simulating IAM Principal Policy", error) from error
    asked = [(action, resource) for action in args["actionNames"] for resource in resources]
    calls = [{"action": action, "resource": resource} for action, resource in asked]
    verdicts = judge(os.environ["AWS_ENDPOINT_URL"], key["AccessKeyId"], calls).denied
    results = [
        {
            "actionName": action,
            "resourceArn": resource,
            "allowed": denied is None,
            "decision": "allowed" if denied is None else "implicitDeny",
            "decisionDetails": {},
            "matchedStatements": [],
            "missingContextKeys": [],
        }
        for (action, resource), denied in zip(asked, verdicts, strict=True)
    ]
    return {
        "id": "-",
        "policySourceArn": arn,
        "actionNames": args["actionNames"],
        "allAllowed": all(each["allowed"] for each in results),
        "results": results,
    }


FUNCTIONS: dict[str, Callable[[Props, str], Props]] = {
    **lookups.FUNCTIONS,
    "aws:ec2/getInstanceType:getInstanceType": get_instance_type,
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": get_instance_type_offerings,
    "aws:index/getRegion:getRegion": get_region,
    "aws:index/getCallerIdentity:getCallerIdentity": get_caller_identity,
    "aws:index/getPartition:getPartition": get_partition,
    "aws:ec2/getVpcEndpointService:getVpcEndpointService": get_vpc_endpoint_service,
    "aws:index/getAvailabilityZones:getAvailabilityZones": get_availability_zones,
    "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation": get_principal_policy_simulation,
    "aws:iam/getRole:getRole": get_role,
    "aws:rds/getEngineVersion:getEngineVersion": get_engine_version,
    "aws:s3/getObject:getObject": get_object,
    "aws:servicequotas/getServiceQuota:getServiceQuota": get_service_quota,
    "aws:ssm/getParameter:getParameter": get_parameter,
}
