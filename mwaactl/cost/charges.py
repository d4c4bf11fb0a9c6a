"""What AWS charges for: the items of each resource, in the units of the table of prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from mwaactl.cost.resources import VPC, Resource
from mwaactl.json_model import Model

HOURS = 730  # of a month, as AWS's calculator has it
BASE_WEBSERVERS = 2
BASE_SCHEDULERS = 2  # in the price of an environment; mw1.micro has one
FORWARDER_METRICS = 5  # that the forwarder reports
SCALING_ALARMS = 2  # that a target tracking policy makes
KIB_PER_GB = 1024 * 1024
DAYS = HOURS / 24


Amount = Annotated[float, Field(ge=0)]


class Usage(Model):
    """What a bill assumes of a month; the defaults are those of a stack in which nothing runs.

    `acu`: of each Aurora instance, None for the minimum; `workers`: at work beside `min_workers`, on average.
    Only the owner's workers work, so `workers`, `log_gb` and `events` are of the whole stack.
    """

    hours: Amount = HOURS
    workers: Amount = 0
    nat_gb: Amount = 0
    endpoint_gb: Amount = 0
    log_gb: Amount = 0
    metadata_gb: Amount = 0
    lineage_gb: Amount = 0
    events: Amount = 0
    event_kib: Amount = 4
    lcu: Amount = 0
    acu: Amount | None = None


@dataclass(frozen=True)
class Charge:
    """`quantity` of an item of the table of prices; `area`: the part of the stack that it belongs to."""

    resource: str
    area: str
    item: str
    quantity: float


Items = Iterator[tuple[str, float]]


def charges(resources: Sequence[Resource], usage: Usage) -> list[Charge]:
    """Everything that these resources are charged for, nothing of quantity 0."""
    result = []
    for resource in resources:
        rule = RULES.get(resource.type)
        if rule is None:
            continue
        area = area_of(resource)
        for item, quantity in rule(resource.inputs, _Context(resources, usage)):
            if quantity:
                result.append(Charge(resource.name, area, item, quantity))
    environments = [each for each in resources if each.kind == "Environment"]
    for item, quantity in _usage(resources, environments, usage):
        if quantity:
            result.append(Charge("(usage)", "usage", item, quantity))
    return result


def assumptions(resources: Sequence[Resource], usage: Usage) -> tuple[str, ...]:
    """The fields of `usage` that these charges depend on: another amount would change them."""
    present = charges(resources, usage)
    # A capacity of n + 1/4 is nobody's minimum.
    others = {key: (value or 0) + 0.25 for key, value in usage.model_dump().items()}
    return tuple(
        key
        for key, other in others.items()
        if charges(resources, usage.model_copy(update={key: other})) != present
    )


def unclassified(resources: Iterable[Resource]) -> list[str]:
    """The types of those resources of which it is not known whether AWS charges for them."""
    known = {*RULES, *FREE}
    return sorted(each.type for each in resources if not each.is_component and each.type not in known)


@dataclass(frozen=True)
class _Context:
    resources: Sequence[Resource]
    usage: Usage

    @property
    def months(self) -> float:
        """Of what AWS charges by the month, prorated."""
        return self.usage.hours / HOURS

    def of_type(self, *types: str) -> list[Resource]:
        return [each for each in self.resources if each.type in types]


def area_of(resource: Resource) -> str:
    """`airflow`, `marquez`, `network`, `monitoring` or `other`, by the component that it belongs to."""
    if resource.type.startswith("aws:cloudwatch/"):
        return "monitoring"
    for area, components in {
        "airflow": (":Mwaa",),
        "marquez": (":Marquez", ":Aurora"),
        "network": (":Network", VPC),
    }.items():
        if any(component in f"{resource.parent}{resource.type}" for component in components):
            return area
    return "other"


def _environment(inputs: Mapping[str, Any], about: _Context) -> Items:
    size = _size(inputs)
    yield f"mwaa.{size}", about.usage.hours
    schedulers = int(inputs.get("schedulers") or BASE_SCHEDULERS)
    yield f"mwaa.scheduler.{size}", max(0, schedulers - BASE_SCHEDULERS) * about.usage.hours
    webservers = int(inputs.get("minWebservers") or BASE_WEBSERVERS)
    yield f"mwaa.webserver.{size}", max(0, webservers - BASE_WEBSERVERS) * about.usage.hours
    workers = int(inputs.get("minWorkers") or 1)
    yield f"mwaa.worker.{size}", (workers - 1) * about.usage.hours
    yield "mwaa.metadata", about.usage.metadata_gb * about.months


def _size(inputs: Mapping[str, Any]) -> str:
    return str(inputs["environmentClass"]).removeprefix("mw1.")


def _usage(resources: Sequence[Resource], environments: Sequence[Resource], usage: Usage) -> Items:
    """What only comes with work, and belongs to no single resource."""
    types = {each.type for each in resources}
    if environments and (size := _size(environments[0].inputs)) != "micro":  # which has one worker
        yield f"mwaa.worker.{size}", usage.workers * usage.hours
    if "aws:ec2/natGateway:NatGateway" in types:
        yield "nat.data", usage.nat_gb
    if any(map(_is_interface, resources)):
        yield "endpoint.data", usage.endpoint_gb
    yield "logs", usage.log_gb
    kinds = {each.kind for each in resources}
    by_day = usage.events if "LostLineage" in kinds else 0  # else Airflow emits none
    events = by_day * usage.hours / 24
    yield "s3.put", events / 1000  # by the task
    if "Marquez" in kinds:
        yield "s3.get", events / 1000  # by the forwarder
    kept = by_day * min(DAYS, usage.hours / 24)
    yield "s3.storage", kept * usage.event_kib / KIB_PER_GB
    if "aws:rds/cluster:Cluster" in types:
        yield "aurora.storage", usage.lineage_gb * usage.hours / HOURS
    if "aws:backup/plan:Plan" in types:
        yield "ebs.snapshot", usage.lineage_gb * usage.hours / HOURS


def _is_interface(resource: Resource) -> bool:
    return resource.kind == "VpcEndpoint" and resource.inputs.get("vpcEndpointType") == "Interface"


def _endpoint(inputs: Mapping[str, Any], about: _Context) -> Items:
    if inputs.get("vpcEndpointType") == "Interface":
        yield "endpoint", len(inputs["subnetIds"]) * about.usage.hours


def _instance(inputs: Mapping[str, Any], about: _Context) -> Items:
    yield f"ec2.{inputs['instanceType']}", about.usage.hours
    yield _volume_item(inputs["rootBlockDevice"]), inputs["rootBlockDevice"]["volumeSize"] * about.months


def _volume(inputs: Mapping[str, Any], about: _Context) -> Items:
    yield f"ebs.{inputs['type']}", inputs["size"] * about.months


def _volume_item(disk: Mapping[str, Any]) -> str:
    return f"ebs.{disk['volumeType']}"


def _group(inputs: Mapping[str, Any], about: _Context) -> Items:
    """As many nodes as the group has at least, each of its launch template, of which a stack has one."""
    (template,) = about.of_type("aws:ec2/launchTemplate:LaunchTemplate")
    nodes = inputs["minSize"]
    yield f"ec2.{template.inputs['instanceType']}", nodes * about.usage.hours
    for each in template.inputs["blockDeviceMappings"]:
        yield _volume_item(each["ebs"]), nodes * int(each["ebs"]["volumeSize"]) * about.months


def _balancer(_inputs: Mapping[str, Any], about: _Context) -> Items:
    yield "alb", about.usage.hours
    yield "alb.lcu", about.usage.lcu * about.usage.hours


def _database(inputs: Mapping[str, Any], about: _Context) -> Items:
    """The capacity of both instances: with promotion tier 1, the reader has the writer's."""
    acu = about.usage.acu
    if acu is None:
        acu = float(inputs["serverlessv2ScalingConfiguration"]["minCapacity"])
    instances = len(about.of_type("aws:rds/clusterInstance:ClusterInstance"))
    yield "aurora.acu", instances * acu * about.usage.hours
    if inputs.get("manageMasterUserPassword"):
        yield "secret", about.months


def _alarm(inputs: Mapping[str, Any], about: _Context) -> Items:
    """By the metric: one of metric math has several."""
    metrics = sum("metric" in each for each in inputs.get("metricQueries") or ()) or 1
    yield "alarm", metrics * about.months


def _log_metric(inputs: Mapping[str, Any], about: _Context) -> Items:
    """Two environments report the same metric, which is charged once: with the first filter that has it."""
    metric = inputs["metricTransformation"]
    of_metric = [
        each.inputs
        for each in about.of_type("aws:cloudwatch/logMetricFilter:LogMetricFilter")
        if each.inputs["metricTransformation"] == metric
    ]
    yield "metric", about.months if of_metric[0] is inputs else 0


def _monthly(item: str, quantity: int = 1) -> Callable[[Mapping[str, Any], _Context], Items]:
    return lambda _inputs, about: iter([(item, quantity * about.months)])


def _hourly(item: str) -> Callable[[Mapping[str, Any], _Context], Items]:
    return lambda _inputs, about: iter([(item, about.usage.hours)])


RULES: Mapping[str, Callable[[Mapping[str, Any], _Context], Items]] = {
    "aws:autoscaling/group:Group": _group,
    "aws:autoscaling/policy:Policy": _monthly("alarm", SCALING_ALARMS),
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": _monthly("alarm.composite"),
    "aws:cloudwatch/dashboard:Dashboard": _monthly("dashboard"),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": _log_metric,
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:ebs/volume:Volume": _volume,
    "aws:ec2/eip:Eip": _hourly("ipv4"),
    "aws:ec2/instance:Instance": _instance,
    "aws:ec2/natGateway:NatGateway": _hourly("nat"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:kms/key:Key": _monthly("key"),
    "aws:lb/loadBalancer:LoadBalancer": _balancer,
    "aws:mwaa/environment:Environment": _environment,
    "aws:rds/cluster:Cluster": _database,
    "aws:route53/zone:Zone": lambda *_: iter([("zone", 1.0)]),  # whole, however short the month
    "aws:secretsmanager/secret:Secret": _monthly("secret"),
    "mwaa-openlineage:index:Marquez": _monthly("metric", FORWARDER_METRICS),
}
# No charge of their own, or one by usage only: requests, traffic, messages, what is stored.
FREE = frozenset(
    f"aws:{each}"
    for each in (
        *("backup/plan:Plan", "backup/selection:Selection", "backup/vault:Vault"),
        *("cloudwatch/eventRule:EventRule", "cloudwatch/eventTarget:EventTarget"),
        *("cloudwatch/logGroup:LogGroup", "ec2/defaultSecurityGroup:DefaultSecurityGroup"),
        *("ec2/flowLog:FlowLog", "ec2/internetGateway:InternetGateway", "ec2/launchTemplate:LaunchTemplate"),
        *("ec2/route:Route", "ec2/routeTable:RouteTable"),
        *("ec2/routeTableAssociation:RouteTableAssociation", "ec2/securityGroup:SecurityGroup"),
        *("ec2/subnet:Subnet", "ec2/volumeAttachment:VolumeAttachment", "ec2/vpc:Vpc"),
        *("iam/instanceProfile:InstanceProfile", "iam/role:Role", "iam/rolePolicy:RolePolicy"),
        *("iam/rolePolicyAttachment:RolePolicyAttachment", "kms/alias:Alias"),
        *("lb/listener:Listener", "lb/listenerRule:ListenerRule", "lb/targetGroup:TargetGroup"),
        *("rds/clusterInstance:ClusterInstance", "rds/clusterParameterGroup:ClusterParameterGroup"),
        *("rds/subnetGroup:SubnetGroup", "route53/record:Record"),
        *("s3/bucket:Bucket", "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"),
        *("s3/bucketLogging:BucketLogging", "s3/bucketObjectv2:BucketObjectv2"),
        *("s3/bucketPolicy:BucketPolicy", "s3/bucketPublicAccessBlock:BucketPublicAccessBlock"),
        "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        *("s3/bucketVersioning:BucketVersioning", "secretsmanager/secretVersion:SecretVersion"),
        *("sns/topic:Topic", "sns/topicPolicy:TopicPolicy", "sns/topicSubscription:TopicSubscription"),
        "ssm/parameter:Parameter",
        *("vpc/securityGroupEgressRule:SecurityGroupEgressRule",),
        *("vpc/securityGroupIngressRule:SecurityGroupIngressRule",),
    )
) | {
    "pulumi:index:Stash",
    "random:index/randomId:RandomId",
    "random:index/randomPassword:RandomPassword",
}
