"""The database of the highly available Marquez: Aurora PostgreSQL, writer and reader in different zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_random as random

from components.marquez.userdata import DATABASE, DATABASE_USER

ENGINE = aws.rds.EngineType.AURORA_POSTGRESQL
NO_SUCH_VERSION = "no RDS engine versions match the criteria"  # what the provider says
PORT = 5432


@dataclass(frozen=True, kw_only=True)
class AuroraArgs:
    """`name`: physical prefix; capacities in ACU; `production`: protected, and with a final snapshot;
    `backup_days`: how long AWS keeps backups, by default 14 in production, else 1.

    `version`: `16` or `16.8`, as the settings have it; `version_kept`: the stack has a cluster with it.
    """

    name: str
    subnet_ids: pulumi.Input[Sequence[str]]
    availability_zones: Sequence[str]
    security_group_id: pulumi.Input[str]
    version: str
    version_kept: bool
    min_capacity: float
    max_capacity: float
    production: bool
    backup_days: int | None
    kms_key_arn: pulumi.Input[str] | None
    tags: Mapping[str, str]


class Aurora(pulumi.ComponentResource):
    """`secret_arn`: the login, which RDS keeps and rotates. `database_id`: changes with a new database.
    `cluster`: its identifier."""

    endpoint: pulumi.Output[str]
    secret_arn: pulumi.Output[str]
    database_id: pulumi.Output[str]
    cluster: pulumi.Output[str]

    def __init__(self, name: str, args: AuroraArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Aurora", name, None, opts)
        self._name = name
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        subnets = aws.rds.SubnetGroup(
            name, subnet_ids=args.subnet_ids, description="Database of Marquez", opts=self._child
        )
        cluster = self._cluster(subnets, self._parameters())
        instances = self._instances(cluster, subnets)
        # Ready once there is an instance to connect to, not when the empty cluster exists.
        self.endpoint = pulumi.Output.all(cluster.endpoint, *[each.id for each in instances]).apply(
            lambda values: str(values[0])
        )
        self.secret_arn = cluster.master_user_secrets.apply(lambda secrets: str(secrets[0].secret_arn))
        self.database_id = cluster.cluster_resource_id
        self.cluster = cluster.cluster_identifier
        self.register_outputs(
            {"endpoint": self.endpoint, "secret_arn": self.secret_arn, "database_id": self.database_id}
        )

    def _cluster(
        self, subnets: aws.rds.SubnetGroup, parameters: aws.rds.ClusterParameterGroup
    ) -> aws.rds.Cluster:
        args = self._args
        return aws.rds.Cluster(
            self._name,
            engine=ENGINE,
            engine_version=self._engine_version(),
            allow_major_version_upgrade=True,  # whoever changes the setting wants it
            database_name=DATABASE,
            master_username=DATABASE_USER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=args.kms_key_arn,
            storage_encrypted=True,
            kms_key_id=args.kms_key_arn,
            iam_database_authentication_enabled=True,  # allows nothing until a user is granted rds_iam
            port=PORT,
            db_subnet_group_name=subnets.name,
            db_cluster_parameter_group_name=parameters.name,
            vpc_security_group_ids=[args.security_group_id],
            serverlessv2_scaling_configuration=aws.rds.ClusterServerlessv2ScalingConfigurationArgs(
                min_capacity=args.min_capacity, max_capacity=args.max_capacity
            ),
            backup_retention_period=args.backup_days or (14 if args.production else 1),
            # RDS's log group outlives the cluster: not for a stack that must be removed completely.
            enabled_cloudwatch_logs_exports=["postgresql"] if args.production else None,
            copy_tags_to_snapshot=True,
            deletion_protection=args.production,
            skip_final_snapshot=not args.production,
            final_snapshot_identifier=self._final_snapshot_name(),
            apply_immediately=True,
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions(
                parent=self,
                # AWS raises minor versions by itself, and nothing here must lower them again.
                ignore_changes=["engine_version"] if args.version_kept else [],
            ),
        )

    def _engine_version(self) -> str:
        """The version to create, or to upgrade to. Raises pulumi.RunError if AWS no longer has it."""
        args = self._args
        if args.version_kept:
            return args.version
        try:
            return aws.rds.get_engine_version(engine=ENGINE, version=args.version, latest=True).version_actual
        except Exception as error:  # an invoke raises nothing narrower
            if NO_SUCH_VERSION not in str(error):
                raise
            raise pulumi.RunError(
                f"AWS does not create Aurora PostgreSQL {args.version} in this region (any more). "
                "Choose one of those that it lists:\n"
                f"  aws rds describe-db-engine-versions --engine {ENGINE.value}"
                " --query 'DBEngineVersions[].EngineVersion'\n"
                f"  pulumi config set aurora_version <version> -s {pulumi.get_stack()}"
            ) from error

    def _parameters(self) -> aws.rds.ClusterParameterGroup:
        return aws.rds.ClusterParameterGroup(
            self._name,
            family=f"aurora-postgresql{self._args.version.split('.')[0]}",
            description="Database of Marquez",
            parameters=[
                aws.rds.ClusterParameterGroupParameterArgs(name="rds.force_ssl", value="1"),
            ],
            opts=self._child,
        )

    def _final_snapshot_name(self) -> pulumi.Output[str] | None:
        """A new name for each new database: two snapshots cannot share one."""
        life = random.RandomId(
            f"{self._name}-life",
            byte_length=4,
            keepers={"kms_key_arn": "" if self._args.kms_key_arn is None else self._args.kms_key_arn},
            opts=self._child,
        )
        if not self._args.production:
            return None
        return pulumi.Output.concat(self._args.name, "-marquez-", life.hex)

    def _instances(
        self, cluster: aws.rds.Cluster, subnets: aws.rds.SubnetGroup
    ) -> list[aws.rds.ClusterInstance]:
        return [
            aws.rds.ClusterInstance(
                f"{self._name}-{number}",
                cluster_identifier=cluster.id,
                engine=ENGINE,
                instance_class="db.serverless",
                availability_zone=zone,
                db_subnet_group_name=subnets.name,
                promotion_tier=1,  # the reader keeps the writer's size, ready to take over
                auto_minor_version_upgrade=True,  # in the maintenance window; AWS retires minor versions
                publicly_accessible=False,
                copy_tags_to_snapshot=True,
                apply_immediately=True,
                tags=dict(self._args.tags),
                opts=self._child,
            )
            for number, zone in enumerate(self._args.availability_zones, start=1)
        ]
