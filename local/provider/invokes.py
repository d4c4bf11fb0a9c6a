"""The functions of the `aws` package that a program may call."""

from __future__ import annotations

import hashlib
from typing import Any

from local.home import ACCOUNT
from local.provider.values import Props, ProviderError

LETTERS = {"us-east-1": "abcdef", "us-west-2": "abcd"}  # other regions: three zones
# Amazon's own parameters exist in every account; the emulated one has none.
PUBLIC_IMAGES = "/aws/service/ami-"


def invoke(function: str, args: Props, region: str) -> Props:
    """The function's result. Raises ProviderError for an unknown function, or as the real one does."""
    name = function.rsplit(":", 1)[-1]
    if name == "getRegion":
        region = args.get("region") or args.get("name") or region
        return {
            "id": region,
            "name": region,
            "region": region,
            "description": region,
            "endpoint": f"ec2.{region}.amazonaws.com",
        }
    if name == "getCallerIdentity":
        return {
            "id": ACCOUNT,
            "accountId": ACCOUNT,
            "arn": f"arn:aws:iam::{ACCOUNT}:user/local",
            "userId": "AIDALOCAL",
        }
    if name == "getPartition":
        return {
            "id": "aws",
            "partition": "aws",
            "dnsSuffix": "amazonaws.com",
            "reverseDnsPrefix": "com.amazonaws",
        }
    if name == "getAvailabilityZones":
        letters = LETTERS.get(region, "abc")
        return {
            "id": region,
            "region": region,
            "names": [f"{region}{letter}" for letter in letters],
            "zoneIds": [f"{_short(region)}-az{i}" for i in range(1, len(letters) + 1)],
            "groupNames": [f"{region}-zg-1"],
        }
    if function == "aws:ssm/getParameter:getParameter":
        return _parameter(args, region)
    raise ProviderError(
        f"the local cloud does not know the function {function} yet (local/provider/invokes.py)"
    )


def _short(region: str) -> str:
    """`use1` of us-east-1."""
    parts = region.split("-")
    return parts[0] + "".join(part[0] for part in parts[1:-1]) + parts[-1]


def _parameter(args: Props, region: str) -> Props:
    from botocore.exceptions import ClientError

    from local.provider.services import client, error_code, said

    name = str(args["name"])
    if name.startswith(PUBLIC_IMAGES):
        image = "ami-0" + hashlib.sha256(name.encode()).hexdigest()[:16]
        found: dict[str, Any] = {
            "Value": image,
            "Type": "String",
            "Version": 1,
            "ARN": f"arn:aws:ssm:{region}::parameter{name}",
        }
    else:
        try:
            found = client("ssm").get_parameter(Name=name, WithDecryption=args.get("withDecryption", True))[
                "Parameter"
            ]
        except ClientError as error:
            if error_code(error) == "ParameterNotFound":
                raise ProviderError(f"reading SSM Parameter ({name}): couldn't find resource") from error
            raise said(f"reading SSM Parameter ({name})", error) from error
    return {
        "id": name,
        "name": name,
        "region": region,
        "arn": found["ARN"],
        "type": found["Type"],
        "value": found["Value"],
        "insecureValue": found["Value"] if found["Type"] != "SecureString" else None,
        "version": found["Version"],
        "withDecryption": args.get("withDecryption", True),
    }
