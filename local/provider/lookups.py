"""The functions of the `aws` package that look up networks and buckets which the program did not make.

They are in the emulated AWS, where somebody has created them with `aws ec2` and `aws s3api`. What a program
makes of a network is only recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

from botocore.exceptions import ClientError

from local.provider.services.service import as_provider_error, client, error_code
from local.provider.values import Props, ProviderError

RESERVED = 5  # addresses of each subnet that AWS keeps
TARGETS = {
    "cidrBlock": "DestinationCidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "transitGatewayId": "TransitGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
}


def get_vpc(args: Props, region: str) -> Props:
    vpc = _one("Vpcs", "describe_vpcs", VpcIds=[args["id"]])

    def enabled(attribute: str) -> bool:
        answer = client("ec2").describe_vpc_attribute(VpcId=args["id"], Attribute=attribute)
        return bool(answer[attribute[:1].upper() + attribute[1:]]["Value"])

    associations = [
        {"cidrBlock": each["CidrBlock"], "state": each["CidrBlockState"]["State"], "associationId": "-"}
        for each in vpc.get("CidrBlockAssociationSet") or ()
    ]
    return {
        "id": vpc["VpcId"],
        "region": region,
        "cidrBlock": vpc["CidrBlock"],
        "cidrBlockAssociations": associations,
        "enableDnsSupport": enabled("enableDnsSupport"),
        "enableDnsHostnames": enabled("enableDnsHostnames"),
    }


def get_subnet(args: Props, region: str) -> Props:
    """All its addresses are free: nothing here has an address."""
    subnet = _one("Subnets", "describe_subnets", SubnetIds=[args["id"]])
    return {
        "id": subnet["SubnetId"],
        "region": region,
        "vpcId": subnet["VpcId"],
        "availabilityZone": subnet["AvailabilityZone"],
        "cidrBlock": subnet["CidrBlock"],
        "availableIpAddressCount": IPv4Network(subnet["CidrBlock"]).num_addresses - RESERVED,
    }


def get_route_tables(args: Props, region: str) -> Props:
    tables = _all("RouteTables", "describe_route_tables", Filters=_filters(args))
    return {"id": region, "region": region, "ids": [each["RouteTableId"] for each in tables]}


def get_route_table(args: Props, region: str) -> Props:
    own = {"RouteTableIds": [args["routeTableId"]]} if args.get("routeTableId") else {}
    table = _one("RouteTables", "describe_route_tables", **own, Filters=_filters(args))
    routes = [
        {ours: route.get(theirs) or "" for ours, theirs in TARGETS.items()}
        | {"vpcEndpointId": route["GatewayId"] if route.get("GatewayId", "").startswith("vpce-") else ""}
        for route in table.get("Routes") or ()
        if route.get("GatewayId") != "local"  # the provider leaves it out
    ]
    return {"id": table["RouteTableId"], "region": region, "vpcId": table["VpcId"], "routes": routes}


def get_security_group(args: Props, region: str) -> Props:
    group = _one("SecurityGroups", "describe_security_groups", GroupIds=[args["id"]])
    return {"id": group["GroupId"], "region": region, "name": group["GroupName"], "vpcId": group["VpcId"]}


def get_vpc_endpoint(args: Props, region: str) -> Props:
    filters = {"vpc-id": args["vpcId"], "service-name": args["serviceName"]}
    endpoint = _one(
        "VpcEndpoints",
        "describe_vpc_endpoints",
        Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()],
    )
    return {"id": endpoint["VpcEndpointId"], "region": region, "vpcId": endpoint["VpcId"]}


def get_resource(args: Props, region: str) -> Props:
    """A bucket, as Cloud Control has it: the properties of CloudFormation, those alone that are set."""
    name = str(args["identifier"])
    if args["typeName"] != "AWS::S3::Bucket":
        raise ProviderError(f"reading Cloud Control API Resource ({args['typeName']}): not supported here")
    try:
        client("s3").head_bucket(Bucket=name)
    except ClientError as error:
        raise ProviderError(
            f"reading Cloud Control API ({args['typeName']}) Resource ({name}): couldn't find resource"
        ) from error
    where = _of_bucket("get_bucket_location", name).get("LocationConstraint") or "us-east-1"
    properties: dict[str, Any] = {
        "BucketName": name,
        "Arn": f"arn:aws:s3:::{name}",
        "RegionalDomainName": f"{name}.s3.{where}.amazonaws.com",
    }
    versioning = _of_bucket("get_bucket_versioning", name)
    if versioning.get("Status"):
        properties["VersioningConfiguration"] = {"Status": versioning["Status"]}
    blocked = _of_bucket("get_public_access_block", name).get("PublicAccessBlockConfiguration")
    if blocked:
        properties["PublicAccessBlockConfiguration"] = blocked
    encryption = _of_bucket("get_bucket_encryption", name).get("ServerSideEncryptionConfiguration", {})
    rules = [
        {"ServerSideEncryptionByDefault": each.get("ApplyServerSideEncryptionByDefault", {})}
        for each in encryption.get("Rules", ())
    ]
    if rules:
        properties["BucketEncryption"] = {"ServerSideEncryptionConfiguration": rules}
    if lifecycle := _of_bucket("get_bucket_lifecycle_configuration", name).get("Rules"):
        properties["LifecycleConfiguration"] = {"Rules": [_rule(each) for each in lifecycle]}
    return {
        "id": name,
        "region": region,
        "typeName": args["typeName"],
        "identifier": name,
        "properties": json.dumps(properties),
    }


def _of_bucket(operation: str, name: str) -> dict[str, Any]:
    """The answer, empty if nothing of the kind is set."""
    try:
        answer: dict[str, Any] = getattr(client("s3"), operation)(Bucket=name)
    except ClientError as error:
        if "NoSuch" in error_code(error) or "NotFound" in error_code(error):
            return {}
        raise as_provider_error(f"{operation} of {name}", error) from error
    return answer


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    """A lifecycle rule of S3 as CloudFormation writes it."""
    prefix = rule.get("Prefix") or rule.get("Filter", {}).get("Prefix")
    expiration = rule.get("Expiration", {})
    given = {
        "Id": rule.get("ID"),
        "Status": rule["Status"],
        "Prefix": prefix,
        "ExpirationInDays": expiration.get("Days"),
        "ExpirationDate": str(expiration["Date"]) if "Date" in expiration else None,
    }
    return {key: value for key, value in given.items() if value is not None}


def get_bucket_policy(args: Props, region: str) -> Props:
    name = str(args["bucket"])
    try:
        policy = client("s3").get_bucket_policy(Bucket=name)["Policy"]
    except ClientError as error:
        raise as_provider_error(f"reading S3 Bucket ({name}) Policy", error) from error
    return {"id": name, "bucket": name, "region": region, "policy": policy}


def get_objects(args: Props, region: str) -> Props:
    """The keys below a prefix, 1,000 if no number is given."""
    bucket, most = str(args["bucket"]), int(args.get("maxKeys") or 1000)
    try:
        pages = client("s3").get_paginator("list_objects_v2")
        found = [
            each["Key"]
            for page in pages.paginate(Bucket=bucket, Prefix=args.get("prefix") or "")
            for each in page.get("Contents", ())
        ]
    except ClientError as error:
        raise as_provider_error(f"listing S3 Bucket ({bucket}) Objects", error) from error
    return {"id": bucket, "bucket": bucket, "region": region, "keys": found[:most]}


def _filters(args: Props) -> list[dict[str, Any]]:
    filters = [{"Name": each["name"], "Values": each["values"]} for each in args.get("filters") or ()]
    return filters + ([{"Name": "vpc-id", "Values": [args["vpcId"]]}] if args.get("vpcId") else [])


def _one(kind: str, operation: str, **arguments: Any) -> dict[str, Any]:
    found = _all(kind, operation, **arguments)
    if len(found) != 1:
        reason = "no matching EC2" if not found else "multiple EC2"
        raise ProviderError(f"reading EC2 {kind}: {reason} {kind} found")
    return found[0]


def _all(kind: str, operation: str, **arguments: Any) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = getattr(client("ec2"), operation)(**arguments)[kind]
    except ClientError as error:
        raise as_provider_error(f"reading EC2 {kind}", error) from error
    return found


FUNCTIONS: dict[str, Callable[[Props, str], Props]] = {
    "aws:cloudcontrol/getResource:getResource": get_resource,
    "aws:ec2/getRouteTable:getRouteTable": get_route_table,
    "aws:ec2/getRouteTables:getRouteTables": get_route_tables,
    "aws:ec2/getSecurityGroup:getSecurityGroup": get_security_group,
    "aws:ec2/getSubnet:getSubnet": get_subnet,
    "aws:ec2/getVpc:getVpc": get_vpc,
    "aws:ec2/getVpcEndpoint:getVpcEndpoint": get_vpc_endpoint,
    "aws:s3/getBucketPolicy:getBucketPolicy": get_bucket_policy,
    "aws:s3/getObjects:getObjects": get_objects,
}
