"""One Amazon MWAA environment, blue or green: its bucket, role, security group and the environment itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.airflow_versions import major
from components.bucket import PrivateBucket, PrivateBucketArgs
from components.iam_policies import AirflowExecution, airflow_execution, assume_role
from components.lineage_log import EVENTS, LineageLog
from components.ownership import Names
from components.plugins import plugins_zip, requirements_txt
from components.settings import Colour, Settings

DAGS = "dags/"
ENDPOINT_MANAGEMENT = "SERVICE"
LOG_LEVELS = {
    "dag_processing": "WARNING",
    "scheduler": "INFO",
    "task": "INFO",
    "webserver": "WARNING",
    "worker": "WARNING",
}
LOG_GROUPS = ("DAGProcessing", "Scheduler", "Task", "WebServer", "Worker")
# UTC; on different days, so that Amazon never works on both at once.
MAINTENANCE = {"blue": "TUE:02:00", "green": "THU:02:00"}
# Creating takes 20-30 minutes. A GRACEFUL update waits up to 12 hours for running tasks.
TIMEOUTS = pulumi.CustomTimeouts(create="2h", update="14h", delete="2h")
SECRETS_BACKEND = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"


@dataclass(frozen=True, kw_only=True)
class MwaaArgs:
    """`zones` are the network's two; `names` what the whole stack shares (parameters, secrets)."""

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


class Mwaa(pulumi.ComponentResource):
    """One environment. Blue and green differ by what their settings say, and by name; nothing else."""

    bucket: pulumi.Output[str]
    outputs: dict[str, Any]
    """What the stack exports about it."""

    def __init__(self, name: str, args: MwaaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Mwaa", name, None, opts)
        settings, own = args.settings, args.settings.environment(args.colour)
        child = pulumi.ResourceOptions(parent=self)
        environment_name = f"{settings.name}-{args.colour}"
        bucket = PrivateBucket(
            name,
            # A failed update goes back to the requirements and plugins before it: they must still be there.
            PrivateBucketArgs(keep=settings.production, old_versions=5, kms_key_arn=settings.kms_key_arn),
            child,
        )
        # An object written before the bucket is versioned would have no version to pass on.
        in_bucket = pulumi.ResourceOptions(parent=self, depends_on=[bucket])
        requirements = aws.s3.BucketObjectv2(
            f"{name}-requirements",
            bucket=bucket.bucket,
            key="requirements.txt",
            content=requirements_txt(own),
            content_type="text/plain",
            opts=in_bucket,
        )
        plugins = aws.s3.BucketObjectv2(
            f"{name}-plugins",
            bucket=bucket.bucket,
            key="plugins.zip",
            content_base64=base64.b64encode(plugins_zip()).decode(),
            content_type="application/zip",
            opts=in_bucket,
        )
        # The folder is there from the start, also for those who look with a file browser.
        dags = aws.s3.BucketObjectv2(
            f"{name}-dags",
            bucket=bucket.bucket,
            key=DAGS,
            content_type="application/x-directory",
            opts=in_bucket,
        )
        role = aws.iam.Role(
            name,
            assume_role_policy=assume_role("airflow.amazonaws.com", "airflow-env.amazonaws.com"),
            description=f"Execution role of the Airflow environment {environment_name}",
            force_detach_policies=True,  # `mwaactl failover --fence` adds one; destroy must not stop at it
            opts=child,
        )
        policy = aws.iam.RolePolicy(
            name,
            role=role.name,
            policy=airflow_execution(
                AirflowExecution(
                    role_arn=role.arn,
                    region=settings.region,
                    environment=environment_name,
                    bucket_arn=bucket.arn,
                    lineage_log_arn=args.lineage_log.bucket_arn,
                    ownership_parameter=args.names.ownership_parameter,
                    secret_prefixes=(args.names.connections_prefix, args.names.variables_prefix),
                    kms_key_arn=settings.kms_key_arn,
                )
            ),
            opts=child,
        )
        group, rules = self._security_group(name, args.vpc_id)
        logs = self._log_groups(name, environment_name, days=365 if settings.production else 30)
        environment = aws.mwaa.Environment(
            name,
            name=environment_name,
            airflow_version=own.airflow_version,
            environment_class=own.environment_class,
            min_workers=own.min_workers,
            max_workers=own.max_workers,
            schedulers=own.schedulers,
            webserver_access_mode=own.webserver_access,
            worker_replacement_strategy=own.worker_replacement_strategy,
            endpoint_management=ENDPOINT_MANAGEMENT,
            execution_role_arn=role.arn,
            kms_key=settings.kms_key_arn,
            source_bucket_arn=bucket.arn,
            dag_s3_path=DAGS,
            requirements_s3_path=requirements.key,
            requirements_s3_object_version=requirements.version_id,
            plugins_s3_path=plugins.key,
            plugins_s3_object_version=plugins.version_id,
            airflow_configuration_options=self._options(args),
            network_configuration=aws.mwaa.EnvironmentNetworkConfigurationArgs(
                security_group_ids=[group.id], subnet_ids=args.private_subnet_ids
            ),
            logging_configuration=_logging(),
            weekly_maintenance_window_start=MAINTENANCE[args.colour],
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[bucket, dags, policy, *rules, *logs], custom_timeouts=TIMEOUTS
            ),
        )
        self.bucket = bucket.bucket
        self.outputs = {
            "name": environment_name,
            "arn": environment.arn,
            "webserver_url": environment.webserver_url,
            "bucket": bucket.bucket,
            "dags_prefix": DAGS,
            "execution_role_arn": role.arn,
            "airflow_version": own.airflow_version,
            "environment_class": own.environment_class,
            "lineage_namespace": settings.namespace(args.colour),
            "log_group_prefix": f"airflow-{environment_name}-",
            "identity": identity(settings, args.colour, args.zones),
        }
        self.register_outputs({"bucket": self.bucket})

    def _log_groups(self, name: str, environment: str, *, days: int) -> list[pulumi.Resource]:
        """The groups that Amazon MWAA would make by itself and leave behind: made here, they expire."""
        return [
            aws.cloudwatch.LogGroup(
                f"{name}-{group.lower()}-log",
                name=f"airflow-{environment}-{group}",
                retention_in_days=days,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for group in LOG_GROUPS
        ]

    def _security_group(
        self, name: str, vpc_id: pulumi.Input[str]
    ) -> tuple[aws.ec2.SecurityGroup, list[pulumi.Resource]]:
        child = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            name, description="Schedulers, workers and web servers of Airflow", vpc_id=vpc_id, opts=child
        )
        within = aws.vpc.SecurityGroupIngressRule(
            f"{name}-within",
            security_group_id=group.id,
            description="Parts of the environment among themselves, as Amazon MWAA demands",
            referenced_security_group_id=group.id,
            ip_protocol="-1",
            opts=child,
        )
        out = aws.vpc.SecurityGroupEgressRule(
            f"{name}-out",
            security_group_id=group.id,
            description="Tasks reach whatever their DAGs work with",
            cidr_ipv4="0.0.0.0/0",
            ip_protocol="-1",
            opts=child,
        )
        return group, [within, out]

    @staticmethod
    def _options(args: MwaaArgs) -> dict[str, pulumi.Input[str]]:
        """Airflow's configuration. All of it is there from the first deploy in every mode.

        A later change would be an environment update of 20-30 minutes.
        """
        settings, names = args.settings, args.names
        transport = {
            "type": "bluegreen.transport.LineageLogTransport",
            "bucket": args.lineage_log.bucket,
            "prefix": EVENTS,
        }
        secrets = {
            "connections_prefix": names.connections_prefix,
            "variables_prefix": names.variables_prefix,
            # Amazon's own default, which these options replace: its own connection costs no request
            "connections_lookup_pattern": "^(?!aws_default$).*$",
            # dags/load_factory.py asks for it at each parse: in Airflow's own database, where that is free
            "variables_lookup_pattern": "^(?!load_dags$).*$",
            "config_prefix": None,
        }
        return {
            **settings.environment(args.colour).airflow_options,
            "bluegreen.environment": args.colour,
            "bluegreen.parameter": names.ownership_parameter,
            "bluegreen.lead_seconds": f"{settings.switch_lead_seconds:g}",
            "bluegreen.max_age_seconds": "300",
            "bluegreen.wait_seconds": "60",
            "openlineage.namespace": settings.namespace(args.colour),
            "openlineage.transport": pulumi.Output.json_dumps(transport),
            "secrets.backend": SECRETS_BACKEND,
            "secrets.backend_kwargs": json.dumps(secrets),
            # Their defaults differ between Airflow 2 and 3: an upgrade would shift the data intervals.
            "scheduler.create_cron_data_intervals": "True",
            "scheduler.catchup_by_default": "False",
        }


def _logging() -> aws.mwaa.EnvironmentLoggingConfigurationArgs:
    kinds = {
        "dag_processing": aws.mwaa.EnvironmentLoggingConfigurationDagProcessingLogsArgs,
        "scheduler": aws.mwaa.EnvironmentLoggingConfigurationSchedulerLogsArgs,
        "task": aws.mwaa.EnvironmentLoggingConfigurationTaskLogsArgs,
        "webserver": aws.mwaa.EnvironmentLoggingConfigurationWebserverLogsArgs,
        "worker": aws.mwaa.EnvironmentLoggingConfigurationWorkerLogsArgs,
    }
    logs: dict[str, Any] = {
        f"{kind}_logs": made(enabled=True, log_level=LOG_LEVELS[kind]) for kind, made in kinds.items()
    }
    return aws.mwaa.EnvironmentLoggingConfigurationArgs(**logs)
