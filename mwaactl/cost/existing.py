"""What AWS would answer about what a stack names and does not make: a network, groups, a role, a bucket.

All of it is as the program demands, whatever the ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mwaactl.cost.aws_answers import Invoke

SERVICES = ("airflow.amazonaws.com", "airflow-env.amazonaws.com")
TRUST = {"Effect": "Allow", "Principal": {"Service": SERVICES}, "Action": "sts:AssumeRole"}

DELIVERY = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject"}


def existing(region: str, config: Mapping[str, str]) -> dict[str, Invoke]:
    """`config` as the program gets it: every id and ARN that it names exists."""
    text = json.dumps(dict(config))
    vpc = next(iter(re.findall(r"vpc-[0-9a-f]{8,17}", text)), "vpc-1")
    subnets = sorted(set(re.findall(r"subnet-[0-9a-f]{8,17}", text)))
    roles = re.findall(r"arn:[a-z-]+:iam::\d+:role/[\w+=,.@/-]+", text)
    return {
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
        "aws:iam/getRole:getRole": lambda args: {
            "arn": next(role for role in roles if role.endswith(f"/{args['name']}")),
            "assumeRolePolicy": json.dumps({"Statement": [TRUST]}),
        },
        "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation": lambda _: {"results": []},
    }


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
