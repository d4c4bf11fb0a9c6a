"""A Pulumi stack's AWS resources as a Terraform plan, which is what scanners read best.

The Pulumi provider is made from Terraform's: a property is the argument in camel case, a list of blocks has a
plural name, and a block that can occur once is an object instead of a list. The tables have what these rules
do not give; a type that is in none of them raises, because a scanner passes silently what it does not know.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Resource = Mapping[str, Any]
"""One resource of a stack's state, as `pulumi stack export` has it."""

SECRET = "4dabf18193072939515e22adb298388d"  # the key that marks one in a state
REFERABLE = ("id", "arn", "name", "bucket", "key", "keyId", "zoneId", "clusterIdentifier")
SAME = "aws_{module}_{name}"
TYPES: Mapping[str, str | Mapping[str, str]] = {
    "autoscaling": {"Group": "aws_autoscaling_group", "Policy": "aws_autoscaling_policy"},
    "backup": SAME,
    "cloudwatch": {
        "CompositeAlarm": "aws_cloudwatch_composite_alarm",
        "Dashboard": "aws_cloudwatch_dashboard",
        "EventRule": "aws_cloudwatch_event_rule",
        "EventTarget": "aws_cloudwatch_event_target",
        "LogGroup": "aws_cloudwatch_log_group",
        "LogMetricFilter": "aws_cloudwatch_log_metric_filter",
        "LogResourcePolicy": "aws_cloudwatch_log_resource_policy",
        "MetricAlarm": "aws_cloudwatch_metric_alarm",
    },
    "ebs": SAME,
    "ec2": "aws_{name}",
    "iam": SAME,
    "kms": SAME,
    "lb": {
        "Listener": "aws_lb_listener",
        "ListenerRule": "aws_lb_listener_rule",
        "LoadBalancer": "aws_lb",
        "TargetGroup": "aws_lb_target_group",
    },
    "mwaa": SAME,
    "rds": {
        "Cluster": "aws_rds_cluster",
        "ClusterInstance": "aws_rds_cluster_instance",
        "ClusterParameterGroup": "aws_rds_cluster_parameter_group",
        "SubnetGroup": "aws_db_subnet_group",
    },
    "route53": SAME,
    "s3": {
        "Bucket": "aws_s3_bucket",
        "BucketLifecycleConfiguration": "aws_s3_bucket_lifecycle_configuration",
        "BucketLogging": "aws_s3_bucket_logging",
        "BucketObjectv2": "aws_s3_object",
        "BucketPolicy": "aws_s3_bucket_policy",
        "BucketPublicAccessBlock": "aws_s3_bucket_public_access_block",
        "BucketServerSideEncryptionConfiguration": "aws_s3_bucket_server_side_encryption_configuration",
        "BucketVersioning": "aws_s3_bucket_versioning",
    },
    "secretsmanager": SAME,
    "sns": SAME,
    "ssm": SAME,
    "vpc": "aws_vpc_{name}",
}
# Objects that hold keys of the user's, not arguments.
MAPS = {"tags", "dimensions", "airflowConfigurationOptions"}
# Lists whose Terraform name is not the singular if they hold blocks, or is if they hold texts.
NAMES = {
    "blockDeviceMappings": "block_device_mappings",
    "networkInterfaces": "network_interfaces",
    "tagSpecifications": "tag_specifications",
    "vpcZoneIdentifiers": "vpc_zone_identifier",
    "aliases": "alias",
}
# Arguments of one type with a name of their own.
NAMES_OF_TYPE = {("aws_cloudwatch_metric_alarm", "name"): "alarm_name"}


def plan(resources: Sequence[Resource]) -> dict[str, Any]:
    """The plan (the JSON of `terraform show`) that would create the AWS resources among these."""
    ours = [each for each in resources if each["type"].startswith("aws:")]
    addresses = {each["urn"]: f"{terraform_type(each['type'])}.{_label(each)}" for each in ours}
    if len(set(addresses.values())) != len(ours):
        raise ValueError("two resources have the same Terraform address")
    references = _References(ours, addresses)
    planned, configured = [], []
    for each in ours:
        kind, address = terraform_type(each["type"]), addresses[each["urn"]]
        common = {"address": address, "mode": "managed", "type": kind, "name": _label(each)}
        values, expressions = _values(each, references)
        planned.append({**common, "provider_name": "registry.terraform.io/hashicorp/aws", "values": values})
        configured.append({**common, "provider_config_key": "aws", "expressions": expressions})
    return {
        "format_version": "1.2",
        "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": planned}},
        "resource_changes": [
            {**each, "change": {"actions": ["create"], "before": None, "after": each["values"]}}
            for each in planned
        ],
        "configuration": {"root_module": {"resources": configured}},
    }


def terraform_type(token: str) -> str:
    """`aws_lb` for `aws:lb/loadBalancer:LoadBalancer`. Raises LookupError for one that the tables lack."""
    _, module, name = token.split(":")
    module = module.split("/")[0]
    rule = TYPES.get(module)
    if not isinstance(rule, str):
        rule = (rule or {}).get(name)
    if rule is None:
        raise LookupError(f"{token}: tests/scan/terraform.py does not know Terraform's name of this type")
    return rule.format(module=module, name=snake_case(name))


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _label(resource: Resource) -> str:
    return re.sub(r"[^\w-]", "-", resource["urn"].rsplit("::", 1)[1])


class _References:
    """Which resource a value came from."""

    def __init__(self, resources: Sequence[Resource], addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for each in resources:
            for attribute in REFERABLE:
                value = each["id"] if attribute == "id" else each["outputs"].get(attribute)
                if isinstance(value, str) and value:
                    self._found[value].append((each["urn"], attribute))

    def of(self, value: str, resource: Resource, dependencies: Sequence[str]) -> str | None:
        """`aws_vpc.network.id`, if the value is that; a dependency goes before another of the same value."""
        found = [each for each in self._found.get(value, ()) if each[0] != resource["urn"]]
        of_dependencies = [each for each in found if each[0] in dependencies]
        for urn, attribute in of_dependencies or (found if len({urn for urn, _ in found}) == 1 else []):
            return f"{self._addresses[urn]}.{snake_case(attribute)}"
        return None

    def among(self, dependencies: Sequence[str]) -> list[str]:
        return [self._addresses[urn] for urn in dependencies if urn in self._addresses]


def _values(resource: Resource, references: _References) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a plan knows of the arguments, and from which resources they come.

    As in a real plan, an argument that only refers to another resource has no value.
    """
    values, expressions = {}, {}
    dependencies = resource.get("propertyDependencies") or {}
    for key, value in resource["inputs"].items():
        if key.startswith("__") or value is None:
            continue
        name, rendered = _argument(key, value)
        name = NAMES_OF_TYPE.get((terraform_type(resource["type"]), key), name)
        own = dependencies.get(key, [])
        reference = references.of(value, resource, own) if isinstance(value, str) else None
        if reference is None:
            values[name] = rendered
            texts = [text for text in _texts(value) if text]
            found = [references.of(text, resource, own) for text in texts]
            all_references = [each for each in found if each] or references.among(own)
        else:
            all_references = [reference, reference.rpartition(".")[0]]
        if all_references:
            expressions[name] = {"references": list(dict.fromkeys(all_references))}
    return values, expressions


def _argument(key: str, value: Any) -> tuple[str, Any]:
    """The argument's name and value in Terraform."""
    name = NAMES.get(key) or snake_case(key)
    if isinstance(value, Mapping):
        if SECRET in value:
            return name, "(secret)"
        if key in MAPS:
            return name, dict(value)
        return name, [_block(value)]
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return name if key in NAMES else re.sub(r"s$", "", name), [_block(each) for each in value]
    return name, value


def _block(value: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_argument(key, each) for key, each in value.items() if not key.startswith("__"))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
