"""One Amazon MWAA environment, blue or green: its bucket, role, security group and the environment itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pulumi
import pulumi_aws as aws
from bluegreen.timeline import Colour

from components.airflow.configuration import airflow_logging, airflow_options
from components.airflow.plugins import plugins_zip, requirements_txt
from components.bucket import PrivateBucket, PrivateBucketArgs
from components.config.airflow_versions import major
from components.config.settings import Settings
from components.iam_policies import AirflowExecution, airflow_execution, assume_role
from components.lineage_log import LineageLog
from components.ownership import Names

DAGS = "dags/"
ENDPOINT_MANAGEMENT = "SERVICE"
LOG_GROUPS = ("DAGProcessing", "Scheduler", "Task", "WebServer", "Worker")
# UTC; on different days, so that Amazon never maintains both at once.
MAINTENANCE = {"blue": "TUE:02:00", "green": "THU:02:00"}
# Creating takes 20-30 minutes. A GRACEFUL update waits up to 12 hours for running tasks.
TIMEOUTS = pulumi.CustomTimeouts(create="2h", update="14h", delete="2h")


@dataclass(frozen=True, kw_only=True)
class MwaaArgs:
    """`zones`: the network's two zones; `names`: those of the stack's parameters and secrets."""

    settings: Settings
    colour: Colour
    names: Names
    zones: tuple[str, str]
    vpc_id: pulumi.Input[str]
    private_subnet_ids: pulumi.Input[Sequence[str]]
    lineage_log: LineageLog


def identity(settings: Settings, colour: Colour, zones: Sequence[str]) -> dict[str, Any]:
    """The plain values whose change makes AWS replace an environment, with all its history."""
    return {
        "name": f"{settings.name}-{colour}",
        "region": settings.region,
        "airflow_major": major(settings.environment(colour).airflow_version),
        "vpc_cidr": settings.vpc_cidr,
        "availability_zones": list(zones),
        "kms_key_arn": settings.kms_key_arn or "",
        "endpoint_management": ENDPOINT_MANAGEMENT,
    }


class Files(NamedTuple):
    """The objects that this program puts into the environment's bucket; `dags` is the empty folder."""

    requirements: aws.s3.BucketObjectv2
    plugins: aws.s3.BucketObjectv2
    dags: aws.s3.BucketObjectv2


class Mwaa(pulumi.ComponentResource):
    """One environment. Blue and green differ only in their settings and their names."""

    bucket: pulumi.Output[str]
    outputs: dict[str, Any]
    """What the stack exports about the environment."""

    def __init__(self, name: str, args: MwaaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Mwaa", name, None, opts)
        self._name = name
        self._args = args
        self._environment_name = f"{args.settings.name}-{args.colour}"
        self._child = pulumi.ResourceOptions(parent=self)

        bucket = self._bucket()
        files = self._files(bucket)
        role, policy = self._execution_role(bucket)
        group, rules = self._security_group()
        logs = self._log_groups()
        environment = self._environment(
            bucket, files, role, group, depends_on=[bucket, files.dags, policy, *rules, *logs]
        )
        self.bucket = bucket.bucket
        self.outputs = self._exported(environment, bucket, role)
        self.register_outputs({"bucket": self.bucket})

    def _bucket(self) -> PrivateBucket:
        settings = self._args.settings
        return PrivateBucket(
            self._name,
            # A failed update goes back to the previous requirements and plugins: they must still be there.
            PrivateBucketArgs(keep=settings.production, old_versions=5, kms_key_arn=settings.kms_key_arn),
            self._child,
        )

    def _files(self, bucket: PrivateBucket) -> Files:
        # An object written before the bucket is versioned would have no version to pass on.
        in_bucket = pulumi.ResourceOptions(parent=self, depends_on=[bucket])
        return Files(
            requirements=aws.s3.BucketObjectv2(
                f"{self._name}-requirements",
                bucket=bucket.bucket,
                key="requirements.txt",
                content=requirements_txt(self._args.settings.environment(self._args.colour)),
                content_type="text/plain",
                opts=in_bucket,
            ),
            plugins=aws.s3.BucketObjectv2(
                f"{self._name}-plugins",
                bucket=bucket.bucket,
                key="plugins.zip",
                content_base64=base64.b64encode(plugins_zip()).decode(),
                content_type="application/zip",
                opts=in_bucket,
            ),
            # The folder exists from the start, also in a file browser.
            dags=aws.s3.BucketObjectv2(
                f"{self._name}-dags",
                bucket=bucket.bucket,
                key=DAGS,
                content_type="application/x-directory",
                opts=in_bucket,
            ),
        )

    def _execution_role(self, bucket: PrivateBucket) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        args = self._args
        role = aws.iam.Role(
            self._name,
            assume_role_policy=assume_role("airflow.amazonaws.com", "airflow-env.amazonaws.com"),
            description=f"Execution role of the Airflow environment {self._environment_name}",
            force_detach_policies=True,  # `mwaactl failover --fence` adds one, which must not stop a destroy
            opts=self._child,
        )
        policy = aws.iam.RolePolicy(
            self._name,
            role=role.name,
            policy=airflow_execution(
                AirflowExecution(
                    role_arn=role.arn,
                    region=args.settings.region,
                    environment=self._environment_name,
                    bucket_arn=bucket.arn,
                    lineage_log_arn=args.lineage_log.bucket_arn,
                    ownership_parameter=args.names.ownership_parameter,
                    secret_prefixes=(args.names.connections_prefix, args.names.variables_prefix),
                    kms_key_arn=args.settings.kms_key_arn,
                )
            ),
            opts=self._child,
        )
        return role, policy

    def _security_group(self) -> tuple[aws.ec2.SecurityGroup, list[pulumi.Resource]]:
        group = aws.ec2.SecurityGroup(
            self._name,
            description="Schedulers, workers and web servers of Airflow",
            vpc_id=self._args.vpc_id,
            opts=self._child,
        )
        within = aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-within",
            security_group_id=group.id,
            description="Parts of the environment among themselves, as Amazon MWAA demands",
            referenced_security_group_id=group.id,
            ip_protocol="-1",
            opts=self._child,
        )
        out = aws.vpc.SecurityGroupEgressRule(
            f"{self._name}-out",
            security_group_id=group.id,
            description="Tasks reach whatever their DAGs work with",
            cidr_ipv4="0.0.0.0/0",
            ip_protocol="-1",
            opts=self._child,
        )
        return group, [within, out]

    def _log_groups(self) -> list[pulumi.Resource]:
        """The log groups. Amazon MWAA would create them itself and leave them behind; these expire."""
        return [
            aws.cloudwatch.LogGroup(
                f"{self._name}-{group.lower()}-log",
                name=f"airflow-{self._environment_name}-{group}",
                retention_in_days=365 if self._args.settings.production else 30,
                opts=self._child,
            )
            for group in LOG_GROUPS
        ]

    def _environment(
        self,
        bucket: PrivateBucket,
        files: Files,
        role: aws.iam.Role,
        group: aws.ec2.SecurityGroup,
        *,
        depends_on: list[pulumi.Resource],
    ) -> aws.mwaa.Environment:
        args, own = self._args, self._args.settings.environment(self._args.colour)
        return aws.mwaa.Environment(
            self._name,
            name=self._environment_name,
            airflow_version=own.airflow_version,
            environment_class=own.environment_class,
            min_workers=own.min_workers,
            max_workers=own.max_workers,
            schedulers=own.schedulers,
            webserver_access_mode=own.webserver_access,
            worker_replacement_strategy=own.worker_replacement_strategy,
            endpoint_management=ENDPOINT_MANAGEMENT,
            execution_role_arn=role.arn,
            kms_key=args.settings.kms_key_arn,
            source_bucket_arn=bucket.arn,
            dag_s3_path=DAGS,
            requirements_s3_path=files.requirements.key,
            requirements_s3_object_version=files.requirements.version_id,
            plugins_s3_path=files.plugins.key,
            plugins_s3_object_version=files.plugins.version_id,
            airflow_configuration_options=airflow_options(
                args.settings, args.colour, args.names, args.lineage_log.bucket
            ),
            network_configuration=aws.mwaa.EnvironmentNetworkConfigurationArgs(
                security_group_ids=[group.id], subnet_ids=args.private_subnet_ids
            ),
            logging_configuration=airflow_logging(),
            weekly_maintenance_window_start=MAINTENANCE[args.colour],
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on, custom_timeouts=TIMEOUTS),
        )

    def _exported(
        self, environment: aws.mwaa.Environment, bucket: PrivateBucket, role: aws.iam.Role
    ) -> dict[str, Any]:
        args, own = self._args, self._args.settings.environment(self._args.colour)
        return {
            "name": self._environment_name,
            "arn": environment.arn,
            "webserver_url": environment.webserver_url,
            "bucket": bucket.bucket,
            "dags_prefix": DAGS,
            "execution_role_arn": role.arn,
            "airflow_version": own.airflow_version,
            "environment_class": own.environment_class,
            "lineage_namespace": args.settings.namespace(args.colour),
            "log_group_prefix": f"airflow-{self._environment_name}-",
            "identity": identity(args.settings, args.colour, args.zones),
        }
