"""The contract of both lineage back ends, and the parts they share.

The contract: one private name and port for users and other producers of lineage, a command that opens the
web pages on the user's machine, and nodes that forward the lineage log to Marquez. Marquez has no
authentication, so only the VPC's own addresses can reach it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pulumi
import pulumi_aws as aws

from components import iam_policies
from components.config.settings import Settings
from components.lineage_log import CHECKPOINTS, DEPLOY, LineageLog
from components.marquez.forwarder_archive import forwarder_archive
from components.marquez.images import Images, without_digest
from components.marquez.userdata import DATABASE_USER, INTAKE_PORT
from components.monitoring.alarm import Alarm, Metric
from components.monitoring.marquez_alarms import METRICS_NAMESPACE, Watched, sink_alarms
from components.partition import Partition
from components.role import Added, RoleArgs, create_role
from components.traffic_logs import AccessLogs

API_PORT = 5000
ADMIN_PORT = 5001
WEB_PORT = 3000
LOCAL_PORT = 8080  # where `open_command` serves the web pages
ANYWHERE = "0.0.0.0/0"
SSM_CORE = "AmazonSSMManagedInstanceCore"
# The images are published for x86_64. EC2 resolves the parameter to the newest Amazon Linux 2023 image.
AMI_PARAMETER = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


@dataclass(frozen=True, kw_only=True)
class MarquezArgs:
    """`name`: the deployment's physical prefix, `{project}-{stack}`.

    `private_subnet_ids` and `availability_zones` are in the same order: the first subnet lies in the
    first zone. `kms_key_arn`: the stack's key; `aurora_version_kept`: the stack has a cluster of the same
    `aurora_version`. `topics`: ARNs of whom alarms tell.
    """

    name: str
    region: str
    settings: Settings
    vpc_id: pulumi.Input[str]
    vpc_cidrs: Sequence[str]
    private_subnet_ids: pulumi.Input[Sequence[str]]
    availability_zones: Sequence[str]
    lineage_log: LineageLog
    kms_key_arn: pulumi.Input[str] | None
    aurora_version_kept: bool = False
    topics: Sequence[pulumi.Input[str]] = ()
    access_logs: AccessLogs | None = None


class Marquez(pulumi.ComponentResource):
    """The base of both back ends. `watched`: what CloudWatch knows of it.

    Both have this type, and the program gives both the same name. So the private zone and its record keep
    their URNs when the mode changes: the record is updated in place, and no second zone of the same name is
    created, which AWS would reject.
    """

    url: pulumi.Output[str]
    intake_url: str
    open_command: pulumi.Output[str]
    backend: pulumi.Output[str]
    watched: Watched

    def __init__(self, name: str, args: MarquezArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Marquez", name, None, opts)
        self._name = name
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self._partition = Partition.current()
        self._host = f"marquez.{args.name}.internal"
        self._zone = aws.route53.Zone(
            f"{name}-zone",
            name=f"{args.name}.internal",
            comment="Private names of the lineage back end",
            vpcs=[aws.route53.ZoneVpcArgs(vpc_id=args.vpc_id)],
            tags=self._tags("zone"),
            opts=self._child,
        )
        self._images = Images.of(args.settings)
        self._intake = args.settings.lineage_intake
        self._warn_of_tags()
        self._forwarder = self._forwarder_archive()
        self._alarms()

    def _forwarder_archive(self) -> aws.s3.BucketObjectv2:
        """The archive that the nodes fetch at boot. New content changes its key, and so the boot script."""
        archive, log = forwarder_archive(self._args.settings.sinks), self._args.lineage_log
        return aws.s3.BucketObjectv2(
            f"{self._name}-forwarder",
            bucket=log.bucket,
            key=f"{DEPLOY}{archive.name}",
            source=pulumi.FileAsset(str(archive)),  # the state keeps its hash, not the megabyte itself
            content_type="application/zip",
            # The bucket must be private and encrypted before it contains anything.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[log]),
        )

    def _warn_of_tags(self) -> None:
        settings = self._args.settings
        keys = without_digest(settings)
        if settings.production and keys:
            pulumi.warn(
                f"{', '.join(keys)}: a new node may run another image than this one, because a tag can move. "
                f"Add the digests:\n  mwaactl images pin -s {settings.stack}"
            )

    def _alarms(self) -> None:
        """On what the forwarder reports each minute."""
        dimensions = {"LineageLog": self._args.lineage_log.bucket}
        self._sinks_alarms()
        for role, alarm in {
            "behind": Alarm(
                description="Lineage has been more than 5 minutes behind, or without a forwarder, for 10 "
                "minutes: mwaactl lineage status",
                metrics=[Metric(METRICS_NAMESPACE, "SecondsBehind", dimensions)],
                threshold=300,
                minutes=1,
                periods=10,
                missing="breaching",
                tags=self._tags("behind"),
            ),
            "set-aside": Alarm(
                description="Marquez has permanently rejected lineage events: mwaactl lineage set-aside list",
                metrics=[Metric(METRICS_NAMESPACE, "SetAside", dimensions, "Sum")],
                threshold=0,
                minutes=1,
                periods=1,
                tags=self._tags("set-aside"),
            ),
        }.items():
            alarm.create(f"{self._name}-{role}", self._args.topics, self._child)

    def _sinks_alarms(self) -> None:
        for sink in self._args.settings.sinks:
            dimensions: dict[str, pulumi.Input[str]] = {
                "LineageLog": self._args.lineage_log.bucket,
                "Sink": sink.name,
            }
            for role, alarm in sink_alarms(sink.name, dimensions).items():
                alarm.create(f"{self._name}-sink-{sink.name}-{role}", self._args.topics, self._child)

    def _publish(
        self,
        *,
        backend: str,
        scheme: str,
        target: pulumi.Input[str],
        port: int,
        address: pulumi.Input[str] | None = None,
        alias: aws.route53.RecordAliasArgs | None = None,
    ) -> None:
        """Point the private name at the back end, and set the outputs.

        Either `address` (IPv4) or `alias` (a load balancer). `target`: a shell word that yields the instance
        through which `port` is forwarded.
        """
        aws.route53.Record(
            f"{self._name}-record",
            zone_id=self._zone.zone_id,
            name=self._host,
            type="A",  # in both back ends, so that the record is updated and not replaced
            records=None if address is None else [address],
            ttl=None if address is None else 30,
            aliases=None if alias is None else [alias],
            opts=self._child,
        )
        self.backend = pulumi.Output.from_input(backend)
        self.url = pulumi.Output.from_input(f"{scheme}://{self._host}")
        self.intake_url = f"{scheme}://{self._host}:{INTAKE_PORT}" if self._intake else ""
        self.open_command = pulumi.Output.concat(
            f"aws ssm start-session --region {self._args.region} --target ",
            target,
            " --document-name AWS-StartPortForwardingSession"
            f" --parameters portNumber={port},localPortNumber={LOCAL_PORT}",
        )
        self.register_outputs({"url": self.url, "open_command": self.open_command, "backend": self.backend})

    def _tags(self, role: str) -> dict[str, str]:
        return {"Name": f"{self._args.name}-marquez-{role}"}

    def _checkpoint(self, database_id: pulumi.Input[str]) -> pulumi.Output[str]:
        """The key of the forwarder's checkpoint: one per database, so a new one is filled from the start."""
        return pulumi.Output.concat(CHECKPOINTS, database_id, ".json")

    def _boot(self, values: Mapping[str, str]) -> dict[str, Any]:
        """The fields of `userdata.NodeBoot`, from the settings and from `values`, those of the outputs."""
        settings = self._args.settings
        return {
            "region": self._args.region,
            "images": self._images,
            "database_secret_arn": values["secret"],
            "lineage_bucket": values["bucket"],
            "forwarder_key": values["key"],
            "forwarder_checkpoint": values["checkpoint"],
            "retention_days": settings.lineage_retention_days,
            "intake": self._intake,
        }

    def _security_group(self, role: str, description: str) -> aws.ec2.SecurityGroup:
        return aws.ec2.SecurityGroup(
            f"{self._name}-{role}",
            description=description,
            vpc_id=self._args.vpc_id,
            tags=self._tags(role),
            opts=self._child,
        )

    def _from_network(self, group: aws.ec2.SecurityGroup, role: str, ports: Sequence[int]) -> None:
        """Allow `ports` from the VPC's own addresses."""
        for number, port in product(range(len(self._args.vpc_cidrs)), ports):
            aws.vpc.SecurityGroupIngressRule(
                f"{self._name}-{role}-from-vpc-{port}" + (f"-{number + 1}" if number else ""),
                security_group_id=group.id,
                description="Lineage API and web pages, from inside the VPC",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                cidr_ipv4=self._args.vpc_cidrs[number],
                opts=self._child,
            )

    def _between(
        self, source: aws.ec2.SecurityGroup, target: aws.ec2.SecurityGroup, rules: Mapping[str, int]
    ) -> None:
        """Allow traffic from `source` to `target` only: `{logical name: port}`."""
        for rule, port in rules.items():
            aws.vpc.SecurityGroupEgressRule(
                f"{self._name}-{rule}-out",
                security_group_id=source.id,
                description=rule,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                referenced_security_group_id=target.id,
                opts=self._child,
            )
            aws.vpc.SecurityGroupIngressRule(
                f"{self._name}-{rule}-in",
                security_group_id=target.id,
                description=rule,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                referenced_security_group_id=source.id,
                opts=self._child,
            )

    def _to_https(self, group: aws.ec2.SecurityGroup, role: str) -> None:
        """Allow HTTPS to AWS's APIs and the image registries, none of which has fixed addresses."""
        aws.vpc.SecurityGroupEgressRule(
            f"{self._name}-{role}-to-https",
            security_group_id=group.id,
            description="AWS APIs, image registries",
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            cidr_ipv4=ANYWHERE,
            opts=self._child,
        )

    def _node_profile(
        self, role: str, *, secret_arn: pulumi.Input[str], group_name: str | None = None
    ) -> tuple[aws.iam.InstanceProfile, list[pulumi.Resource]]:
        """A node's instance profile, and the permissions that must exist before the node boots."""
        settings = self._args.settings
        made = create_role(
            f"{self._name}-{role}",
            RoleArgs(
                settings=settings,
                description="Marquez node",
                services=["ec2.amazonaws.com"],
                managed={"session": self._partition.managed_policy(SSM_CORE)},
                policy=lambda _: iam_policies.marquez_node(
                    partition=self._partition,
                    region=self._args.region,
                    log_bucket_arn=self._args.lineage_log.bucket_arn,
                    secret_arn=secret_arn,
                    metrics_namespace=METRICS_NAMESPACE,
                    repositories=list(self._images.repositories(self._partition.name)),
                    kms_key_arn=self._args.kms_key_arn,
                    group_name=group_name,
                    secrets=[sink.header_arn for sink in settings.sinks if sink.header_arn],
                    domains=[sink.datazone_domain for sink in settings.sinks if sink.datazone_domain],
                    intake=self._intake,
                ),
                added=Added(policy=settings.marquez_policy, policy_arns=settings.marquez_policy_arns),
            ),
            self._child,
        )
        profile = aws.iam.InstanceProfile(
            f"{self._name}-{role}", path=settings.iam_path, role=made.role.name, opts=self._child
        )
        return profile, made.permissions


def database_login(password: pulumi.Output[str]) -> pulumi.Output[str]:
    """The secret's value, in the same format as Aurora's own."""
    return pulumi.Output.json_dumps({"username": DATABASE_USER, "password": password})
