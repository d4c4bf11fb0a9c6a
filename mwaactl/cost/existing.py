"""What AWS would answer about what a stack names and does not make: a network, groups, a role, a bucket; and
the engine about an environment that it has adopted.

All of it is as the program demands, whatever the ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mwaactl.cost.aws_answers import ACCOUNT, Invoke
from mwaactl.stack import GATE

SERVICES = ("airflow.amazonaws.com", "airflow-env.amazonaws.com")
TRUST = {"Effect": "Allow", "Principal": {"Service": SERVICES}, "Action": "sts:AssumeRole"}

DELIVERY = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject"}


def existing(region: str, config: Mapping[str, str]) -> dict[str, Invoke]:
    """`config` as the program gets it: every id and ARN that it names exists."""
    text = json.dumps(dict(config))
    vpc = next(iter(re.findall(r"vpc-[0-9a-f]{8,17}", text)), "vpc-1")
    subnets = sorted(set(re.findall(r"subnet-[0-9a-f]{8,17}", text)))
    accounts = [*re.findall(r"arn:[a-z-]+:iam::(\d{12}):policy/", text), ACCOUNT]
    roles = re.findall(r"arn:[a-z-]+:iam::\d+:role/[\w+=,.@/-]+", text)
    adopted = next((value for key, value in config.items() if key.endswith(":adopted_environment")), "")
    return {
        "pulumi:pulumi:readStackOutputs": lambda _: {"outputs": _with_gate(adopted) if adopted else {}},
        "aws:cloudcontrol/getResource:getResource": lambda args: {
            "properties": json.dumps(_bucket(args["identifier"], region))
        },
        "aws:s3/getBucketPolicy:getBucketPolicy": lambda _: {"policy": json.dumps({"Statement": [DELIVERY]})},
        "aws:s3/getObjects:getObjects": lambda _: {"keys": []},
        "aws:ec2/getVpc:getVpc": lambda _: {
            "id": vpc,
            "cidrBlock": "10.0.0.0/16",
            "cidrBlockAssociations": [],
            "enableDnsSupport": True,
            "enableDnsHostnames": True,
        },
        "aws:ec2/getSubnet:getSubnet": lambda args: {
            "id": args["id"],
            "vpcId": vpc,
            "availabilityZone": f"{region}{'ab'[subnets.index(args['id']) % 2]}",
            "availableIpAddressCount": 4091,
        },
        "aws:ec2/getRouteTables:getRouteTables": lambda _: {"ids": ["rtb-1"]},
        "aws:ec2/getRouteTable:getRouteTable": lambda _: {
            "routes": [_route(cidrBlock="0.0.0.0/0", natGatewayId="nat-1")]
        },
        "aws:ec2/getSecurityGroup:getSecurityGroup": lambda args: {"id": args["id"], "vpcId": vpc},
        "aws:index/getCallerIdentity:getCallerIdentity": lambda _: {"accountId": accounts[0]},
        "aws:iam/getRole:getRole": lambda args: {
            "arn": next(role for role in roles if role.endswith(f"/{args['name']}")),
            "assumeRolePolicy": json.dumps({"Statement": [TRUST]}),
        },
        "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation": lambda _: {"results": []},
    }


def _with_gate(name: str) -> dict[str, Any]:
    """Outputs of a stack whose adoption is complete: before that, the program gives the environment nothing.

    The version is below every other, so that whatever the settings have is none to go back from.
    """
    record = {"identity": {"name": name}, "deployed": {GATE: ""}, "airflow_version": "0"}
    return {"airflow_environments": {"blue": record}}


def _bucket(name: str, region: str) -> dict[str, Any]:
    blocked = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    return {
        "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
        "VersioningConfiguration": {"Status": "Enabled"},
        "PublicAccessBlockConfiguration": dict.fromkeys(blocked, True),
    }


def _route(**targets: str) -> dict[str, Any]:
    targets_of_routes = ("cidrBlock", "gatewayId", "natGatewayId", "vpcEndpointId")
    return dict.fromkeys(targets_of_routes, "") | targets
