"""One Amazon MWAA environment, blue or green: its bucket, role, security group and the environment itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pulumi
import pulumi_aws as aws
from bluegreen.proof import PROBE_FILE
from bluegreen.timeline import Colour

from components.airflow import adoption
from components.airflow.definition import PLUGINS, REQUIREMENTS, STARTUP, Parts, arguments
from components.airflow.execution_role import ExecutionRole, ExecutionRoleArgs, execution_role
from components.airflow.life import Life, LifeArgs
from components.airflow.plugins import plugins_files, requirements_txt
from components.airflow.probe import dag_file
from components.bucket import AccessLog, Bucket, ExistingBucket, PrivateBucket, PrivateBucketArgs
from components.config.files import startup_script
from components.config.settings import Settings
from components.lineage_log import PUSHES, LineageLog
from components.ownership import Names
from components.python_archive import built

LOG_GROUPS = ("DAGProcessing", "Scheduler", "Task", "WebServer", "Worker")
# Creating takes 20-30 minutes. A GRACEFUL update waits up to 12 hours for running tasks.
TIMEOUTS = pulumi.CustomTimeouts(create="2h", update="14h", delete="2h")


@dataclass(frozen=True, kw_only=True)
class MwaaArgs:
    """`plan`: as `planned` has it; `names`: those of the stack's parameters and secrets.

    `kms_key_arn`: the stack's key; `reached_through`: what must be there before the environment starts;
    `previous_life`: that of the environment of this colour which the stack had before this run; `updated`:
    this run changes it; `refusal`: what may stop that; `held`: it was adopted, and stays as it is.
    `dags_bucket`: the bucket that exists for its DAGs and files; None: the program makes one.
    """

    settings: Settings
    colour: Colour
    names: Names
    plan: Mapping[str, Any]
    vpc_id: pulumi.Input[str]
    private_subnet_ids: pulumi.Input[Sequence[str]]
    lineage_log: LineageLog
    kms_key_arn: pulumi.Input[str] | None
    access_log: AccessLog | None = None
    reached_through: Sequence[pulumi.Resource] = ()
    dags_bucket: str | None = None
    previous_life: str | None = None
    updated: bool = False
    refusal: pulumi.ResourceHook | None = None
    held: bool = False


class Files(NamedTuple):
    """The objects that the environment needs in its bucket; `dags` is the empty folder."""

    requirements: aws.s3.BucketObjectv2
    plugins: aws.s3.BucketObjectv2
    startup: aws.s3.BucketObjectv2
    dags: aws.s3.BucketObjectv2
    probe: aws.s3.BucketObjectv2


class Mwaa(pulumi.ComponentResource):
    """One environment. Blue and green differ only in their settings and their names."""

    bucket: pulumi.Output[str]
    life: Life
    role_name: pulumi.Output[str]
    """Of its execution role."""
    task_log: pulumi.Output[str]
    scheduler_log: pulumi.Output[str]
    """The names of the log groups of its tasks and of its schedulers."""
    execution_policy: pulumi.Output[str]
    """What its execution role must allow (JSON)."""
    outputs: dict[str, Any]
    """What the stack exports about the environment."""

    def __init__(self, name: str, args: MwaaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Mwaa", name, None, opts)
        self._name = name
        self._args = args
        self._environment_name = args.settings.environment_name(args.colour)
        self._adopted = args.colour == adoption.ADOPTS and args.settings.adopted_environment is not None
        self._child = pulumi.ResourceOptions(parent=self)

        bucket = self._bucket()
        files = self._files(bucket)
        role = self._execution_role(bucket)
        group, rules = self._security_group()
        logs = self._log_groups()
        stands_on = [*bucket.ready, *files, *role.permissions, *rules, *logs, *args.reached_through]
        self.life = Life(
            name,
            LifeArgs(
                identity=args.plan["identity"],
                previous=args.previous_life,
                stack=args.settings.stack,
                refusal=args.refusal,
                after=stands_on,
            ),
            self._child,
        )
        environment = self._environment(bucket, files, role, group, depends_on=stands_on)
        if args.settings.endpoint_management == "CUSTOMER":
            self._endpoints(environment, group)
        self.execution_policy = role.document
        self.bucket, self.role_name = bucket.bucket, role.name
        self.task_log = self._log("Task", logs)
        self.scheduler_log = self._log("Scheduler", logs)
        self.outputs = self._exported(environment, bucket, role)
        self.register_outputs({"bucket": self.bucket})

    def _bucket(self) -> Bucket:
        args = self._args
        if args.dags_bucket is not None:
            return ExistingBucket.named(args.dags_bucket)
        return PrivateBucket(
            self._name,
            # A failed update goes back to the previous requirements and plugins: they must still be there.
            PrivateBucketArgs(
                keep=args.settings.production,
                name_prefix=args.settings.bucket_prefix,
                old_versions_days=args.settings.old_versions_days,
                old_versions=5,
                passing=(PUSHES,),  # each push removes its own, and their names never come back
                kms_key_arn=args.kms_key_arn,
                access_log=args.access_log,
            ),
            self._child,
        )

    def _files(self, bucket: Bucket) -> Files:
        # An object written before the bucket is versioned would have no version to pass on.
        in_bucket = pulumi.ResourceOptions(parent=self, depends_on=bucket.ready)
        own = self._args.settings.environment(self._args.colour)
        stays = pulumi.ResourceOptions(
            parent=self,
            depends_on=bucket.ready,
            retain_on_delete=self._args.dags_bucket
            is not None,  # else all versions go, also those before ours
        )
        return Files(
            requirements=aws.s3.BucketObjectv2(
                f"{self._name}-requirements",
                bucket=bucket.bucket,
                key=REQUIREMENTS,
                # It and the script may hold the token of an index: a secret stands encrypted in the state.
                content=pulumi.Output.secret(requirements_txt(own)),
                content_type="text/plain",
                opts=stays,
            ),
            plugins=aws.s3.BucketObjectv2(
                f"{self._name}-plugins",
                bucket=bucket.bucket,
                key=PLUGINS,
                # The state keeps its hash: wheels may make it large.
                source=pulumi.FileAsset(str(built("plugins", plugins_files(own)))),
                content_type="application/zip",
                opts=stays,
            ),
            # Always: the provider cannot take a script away from an environment again.
            startup=aws.s3.BucketObjectv2(
                f"{self._name}-startup",
                bucket=bucket.bucket,
                key=STARTUP,
                content=pulumi.Output.secret(startup_script(own.startup_script).decode()),
                content_type="text/x-shellscript",
                opts=stays,
            ),
            # The folder exists from the start, also in a file browser.
            dags=aws.s3.BucketObjectv2(
                f"{self._name}-dags",
                bucket=bucket.bucket,
                key=own.dags_folder,
                content_type="application/x-directory",
                opts=stays,
            ),
            probe=aws.s3.BucketObjectv2(
                f"{self._name}-probe",
                bucket=bucket.bucket,
                key=f"{own.dags_folder}{PROBE_FILE}",
                content=dag_file(self._args.settings.gate_probe_minutes, requirements_txt(own)),
                content_type="text/x-python",
                opts=in_bucket,
            ),
        )

    def _execution_role(self, bucket: Bucket) -> ExecutionRole:
        args = self._args
        return execution_role(
            self._name,
            ExecutionRoleArgs(
                settings=args.settings,
                own=args.settings.environment(args.colour),
                environment=self._environment_name,
                bucket_arn=bucket.arn,
                lineage_log_arn=args.lineage_log.bucket_arn,
                ownership_parameter=args.names.ownership_parameter,
                secret_prefixes=(args.names.connections_prefix, args.names.variables_prefix),
                kms_key_arn=args.kms_key_arn,
                used=not args.held,
                adopting=self._adopted and adoption.updates(args.settings),
            ),
            self._child,
        )

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

    def _log_groups(self) -> list[aws.cloudwatch.LogGroup]:
        """The log groups. Amazon MWAA would create them itself and leave them behind; these expire.

        Those of an adopted environment are there, and keep what they have for as long as their owner said.
        """
        if self._adopted:
            return []
        settings = self._args.settings
        return [
            aws.cloudwatch.LogGroup(
                f"{self._name}-{group.lower()}-log",
                name=f"airflow-{self._environment_name}-{group}",
                retention_in_days=settings.log_retention_days or (365 if settings.production else 30),
                kms_key_id=self._args.kms_key_arn,
                opts=self._child,
            )
            for group in LOG_GROUPS
        ]

    def _log(self, kind: str, groups: list[aws.cloudwatch.LogGroup]) -> pulumi.Output[str]:
        """The name of a log group, known to whoever needs the group when it is there."""
        if not groups:
            return pulumi.Output.from_input(f"airflow-{self._environment_name}-{kind}")
        return groups[LOG_GROUPS.index(kind)].name

    def _environment(
        self,
        bucket: Bucket,
        files: Files,
        role: ExecutionRole,
        group: aws.ec2.SecurityGroup,
        *,
        depends_on: list[pulumi.Resource],
    ) -> aws.mwaa.Environment:
        args = self._args
        parts = Parts(
            role_arn=role.arn,
            bucket_arn=bucket.arn,
            requirements_version=files.requirements.version_id,
            plugins_version=files.plugins.version_id,
            startup_version=files.startup.version_id,
            security_group_id=group.id,
            subnet_ids=args.private_subnet_ids,
            lineage_bucket=args.lineage_log.bucket,
            life=self.life.value,
            kms_key_arn=args.kms_key_arn,
        )
        given = arguments(args.settings, args.colour, args.names, parts)
        opts = pulumi.ResourceOptions(
            parent=self,
            depends_on=depends_on,
            custom_timeouts=TIMEOUTS,
            delete_before_replace=True,  # two cannot share the name
            # A new life is a new environment, with a new database; an import has been born before its life.
            replacement_trigger=None if args.held else self.life.value,
            hooks=self.life.hooks,
        )
        if self._adopted:
            adopted = adoption.options(self._environment_name, given, held=args.held)
            opts = pulumi.ResourceOptions.merge(opts, adopted)
        if args.held:
            given = {key: given[key] for key in adoption.REQUIRED}
        return aws.mwaa.Environment(
            self._name,
            **given,
            # Of an update, not of the environment: AWS gives back that of the last one, and after a creation
            # none. Given without another change, it would be an update of its own.
            worker_replacement_strategy=(
                args.settings.environment(args.colour).worker_replacement_strategy if args.updated else None
            ),
            opts=opts,
        )

    def _endpoints(self, environment: aws.mwaa.Environment, group: aws.ec2.SecurityGroup) -> None:
        """Those that Amazon MWAA would make itself. The environment waits for them (PENDING)."""
        services = {"database": environment.database_vpc_endpoint_service}
        own = self._args.settings.environment(self._args.colour)
        if own.webserver_access != "PUBLIC_ONLY":
            services["webserver"] = environment.webserver_vpc_endpoint_service
        for role, service in services.items():
            aws.ec2.VpcEndpoint(
                f"{self._name}-{role}",
                vpc_id=self._args.vpc_id,
                vpc_endpoint_type="Interface",
                service_name=service,
                subnet_ids=self._args.private_subnet_ids,
                security_group_ids=[group.id],
                opts=self._child,
            )

    def _exported(
        self, environment: aws.mwaa.Environment, bucket: Bucket, role: ExecutionRole
    ) -> dict[str, Any]:
        args = self._args
        # The state keeps it with the environment: `pulumi up --target` of other parts leaves it as it is.
        record = pulumi.Stash(
            f"{self._name}-deployed",
            input=adoption.record(environment, args.plan, args.settings) if args.held else dict(args.plan),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[environment]),
        )
        return {
            "name": self._environment_name,
            "life": self.life.value,
            "arn": environment.arn,
            "webserver_url": environment.webserver_url,
            "vpc_endpoint_services": {
                "database": environment.database_vpc_endpoint_service,
                "webserver": environment.webserver_vpc_endpoint_service,
            },
            "bucket": bucket.bucket,
            # What is deployed: a rollout leaves this side as it is for hours, and people push DAGs meanwhile.
            "dags_prefix": record.input["deployed"]["dag_s3_path"],
            # the plain text: known, also while the role itself is being checked
            "execution_role_arn": args.settings.environment(args.colour).execution_role_arn or role.arn,
            "airflow_version": environment.airflow_version,
            "environment_class": environment.environment_class,
            "lineage_namespace": args.settings.namespace(args.colour),
            "log_group_prefix": f"airflow-{self._environment_name}-",
            "last_worker_replacement": environment.worker_replacement_strategy.apply(lambda last: last or ""),
            "identity": record.input["identity"],
            "deployed": record.input["deployed"],
        }
