"""Marquez that survives the loss of a node or a zone: the back end of the modes with `enable_ha_marquez`.

Two kinds of health checks: the load balancer calls each node's `/healthcheck`, which includes the database,
and routes only to nodes that pass. The checks that REPLACE nodes never depend on the database: EC2's own, and
those of the node's watchdog (disk, Docker, web pages, `/ping`), which switches off a node that cannot serve.
Else a failover of Aurora would churn nodes that cannot start without it.
"""

from __future__ import annotations

import base64
import hashlib

import pulumi
import pulumi_aws as aws

from components.config.files import located
from components.lineage_log import DEPLOY
from components.marquez.aurora import PORT as DATABASE_PORT
from components.marquez.aurora import Aurora, AuroraArgs
from components.marquez.back_end import ADMIN_PORT, AMI_PARAMETER, API_PORT, WEB_PORT, Marquez, MarquezArgs
from components.marquez.userdata import INTAKE_PORT, LAUNCH_HOOK, HaBoot, ha_user_data
from components.monitoring.marquez_alarms import WatchedHa

MIN_NODES = 2
MAX_NODES = 4
TO_NODES = {"balancer-to-api": API_PORT, "balancer-to-web": WEB_PORT, "balancer-to-health": ADMIN_PORT}
TARGET_CPU = 60.0  # percent
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"


class MarquezHa(Marquez):
    """Internal load balancer, nodes in both zones, Aurora PostgreSQL.

    In production Aurora is protected from deletion: a change to a mode without it moves the lineage, then
    stops at the cluster until `aws rds modify-db-cluster --no-deletion-protection` lifts the protection. The
    cluster then leaves a final snapshot.
    """

    def __init__(self, name: str, args: MarquezArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        certificate = args.settings.marquez_certificate_arn
        balancer_group = self._security_group("balancer", "Marquez load balancer")
        node_group = self._security_group("nodes", "Marquez nodes")
        database_group = self._security_group("database", "Marquez database")
        ports, to_nodes = [80, 443] if certificate else [80], dict(TO_NODES)
        if self._intake:
            ports, to_nodes = [*ports, INTAKE_PORT], {**to_nodes, "balancer-to-intake": INTAKE_PORT}
        self._from_network(balancer_group, "balancer", ports)
        self._between(balancer_group, node_group, to_nodes)
        self._between(node_group, database_group, {"nodes-to-database": DATABASE_PORT})
        self._to_https(node_group, "nodes")

        database = self._database(database_group)
        balancer, targets = self._balancer(balancer_group, certificate)
        group = self._nodes(node_group, database, targets)
        self.watched = WatchedHa(
            balancer=balancer.arn_suffix,
            api=targets[0].arn_suffix,
            group=group.name,
            cluster=database.cluster,
            nodes=MIN_NODES,
        )
        self._publish(
            backend="ha",
            scheme="https" if certificate else "http",
            # Any node in service: each serves the web pages, including /api/.
            target=pulumi.Output.concat(
                f'"$(aws autoscaling describe-auto-scaling-groups --region {args.region}'
                " --auto-scaling-group-names ",
                group.name,
                " --query 'AutoScalingGroups[0].Instances[?LifecycleState==`InService`].InstanceId | [0]'"
                ' --output text)"',
            ),
            port=WEB_PORT,
            alias=aws.route53.RecordAliasArgs(
                name=balancer.dns_name, zone_id=balancer.zone_id, evaluate_target_health=False
            ),
        )

    def _database(self, group: aws.ec2.SecurityGroup) -> Aurora:
        args, settings = self._args, self._args.settings
        return Aurora(
            f"{self._name}-database",
            AuroraArgs(
                name=args.name,
                subnet_ids=args.private_subnet_ids,
                availability_zones=args.availability_zones,
                security_group_id=group.id,
                version=settings.aurora_version,
                version_kept=args.aurora_version_kept,
                min_capacity=settings.aurora_min_capacity,
                max_capacity=settings.aurora_max_capacity,
                production=settings.production,
                backup_days=settings.backup_retention_days,
                kms_key_arn=args.kms_key_arn,
                tags=self._tags("database"),
            ),
            self._child,
        )

    def _balancer(
        self, group: aws.ec2.SecurityGroup, certificate: str | None
    ) -> tuple[aws.lb.LoadBalancer, list[aws.lb.TargetGroup]]:
        balancer = aws.lb.LoadBalancer(
            self._name,
            internal=True,
            load_balancer_type="application",
            security_groups=[group.id],
            subnets=self._args.private_subnet_ids,
            drop_invalid_header_fields=True,
            access_logs=self._access_logs(),
            tags=self._tags("balancer"),
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=self._args.access_logs.ready if self._args.access_logs else []
            ),
        )
        # If the database hangs, its check answers after 5 s: this timeout must be longer.
        api = self._target_group("api", API_PORT, check_port=ADMIN_PORT, timeout=8)
        web = self._target_group("web", WEB_PORT, check_port=WEB_PORT, timeout=5)
        targets = [api, web]
        if self._intake:
            intake = self._target_group("intake", INTAKE_PORT, check_port=INTAKE_PORT, timeout=5)
            self._serve("intake", balancer, intake, INTAKE_PORT, certificate)
            targets.append(intake)
        listener = self._listener(balancer, web, certificate)
        aws.lb.ListenerRule(
            f"{self._name}-api",
            listener_arn=listener.arn,
            priority=10,
            conditions=[
                aws.lb.ListenerRuleConditionArgs(
                    path_pattern=aws.lb.ListenerRuleConditionPathPatternArgs(values=["/api/*"])
                )
            ],
            actions=[aws.lb.ListenerRuleActionArgs(type="forward", target_group_arn=api.arn)],
            opts=self._child,
        )
        return balancer, targets

    def _access_logs(self) -> aws.lb.LoadBalancerAccessLogsArgs | None:
        logs = self._args.access_logs
        if logs is None:
            return None
        return aws.lb.LoadBalancerAccessLogsArgs(bucket=logs.bucket, prefix=logs.of_balancer, enabled=True)

    def _listener(
        self, balancer: aws.lb.LoadBalancer, web: aws.lb.TargetGroup, certificate: str | None
    ) -> aws.lb.Listener:
        """The listener that serves: HTTPS with a certificate (and HTTP redirects to it), else HTTP."""
        if not certificate:
            return self._serve("http", balancer, web, 80, None)
        to_https = aws.lb.ListenerDefaultActionArgs(
            type="redirect",
            redirect=aws.lb.ListenerDefaultActionRedirectArgs(
                port="443", protocol="HTTPS", status_code="HTTP_301"
            ),
        )
        aws.lb.Listener(
            f"{self._name}-http",
            load_balancer_arn=balancer.arn,
            port=80,
            protocol="HTTP",
            default_actions=[to_https],
            opts=self._child,
        )
        return self._serve("https", balancer, web, 443, certificate)

    def _serve(
        self,
        role: str,
        balancer: aws.lb.LoadBalancer,
        target: aws.lb.TargetGroup,
        port: int,
        certificate: str | None,
    ) -> aws.lb.Listener:
        return aws.lb.Listener(
            f"{self._name}-{role}",
            load_balancer_arn=balancer.arn,
            port=port,
            protocol="HTTPS" if certificate else "HTTP",
            ssl_policy=TLS_POLICY if certificate else None,
            certificate_arn=certificate,
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=target.arn)],
            opts=self._child,
        )

    def _target_group(self, role: str, port: int, *, check_port: int, timeout: int) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            f"{self._name}-{role}",
            port=port,
            protocol="HTTP",
            target_type="instance",
            vpc_id=self._args.vpc_id,
            deregistration_delay=30,
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                path="/healthcheck",
                port=str(check_port),
                protocol="HTTP",
                matcher="200",
                interval=10,
                timeout=timeout,
                healthy_threshold=2,
                unhealthy_threshold=3,
            ),
            tags=self._tags(role),
            opts=self._child,
        )

    def _launch_template(
        self, node_group: aws.ec2.SecurityGroup, database: Aurora, group_name: str
    ) -> tuple[aws.ec2.LaunchTemplate, list[pulumi.Resource]]:
        settings = self._args.settings
        profile, permissions = self._node_profile(
            "nodes", secret_arn=database.secret_arn, group_name=group_name
        )
        template = aws.ec2.LaunchTemplate(
            f"{self._name}-nodes",
            # Resolved by EC2 at each launch: new nodes are patched, and a newer image changes nothing here.
            image_id=f"resolve:ssm:{AMI_PARAMETER}",
            instance_type=settings.marquez_instance_type,
            instance_initiated_shutdown_behavior="terminate",  # how a node that cannot serve gives itself up
            update_default_version=True,
            iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=profile.arn),
            network_interfaces=[
                aws.ec2.LaunchTemplateNetworkInterfaceArgs(
                    associate_public_ip_address="false",
                    security_groups=[node_group.id],
                    delete_on_termination="true",
                )
            ],
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                http_endpoint="enabled",
                http_tokens="required",
                http_put_response_hop_limit=1,  # no container may use the node's role
            ),
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name="/dev/xvda",
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                        encrypted="true", volume_type="gp3", volume_size=20, delete_on_termination="true"
                    ),
                )
            ],
            tag_specifications=[
                aws.ec2.LaunchTemplateTagSpecificationArgs(
                    resource_type=kind, tags={**settings.all_tags, **self._tags("node")}
                )
                for kind in ("instance", "volume")
            ],
            user_data=self._user_data(database, group_name).apply(
                lambda text: base64.b64encode(text.encode()).decode()
            ),
            opts=self._child,
        )
        return template, permissions

    def _user_data(self, database: Aurora, group_name: str) -> pulumi.Output[str]:
        return pulumi.Output.all(
            secret=database.secret_arn,
            host=database.endpoint,
            bucket=self._args.lineage_log.bucket,
            key=self._forwarder.key,
            checkpoint=self._checkpoint(database.database_id),
            authorities=self._authorities(),
        ).apply(
            lambda values: ha_user_data(
                HaBoot(
                    **self._boot(values),
                    database_host=values["host"],
                    group_name=group_name,
                    authorities_key=values["authorities"],
                )
            )
        )

    def _authorities(self) -> pulumi.Input[str]:
        """The key of the database's certificate authorities in the lineage log's bucket; empty without."""
        path, log = self._args.settings.aurora_authorities_file, self._args.lineage_log
        if path is None:
            return ""
        content = located(path).read_bytes()
        # Another file is another boot script, and so other nodes.
        digest = hashlib.sha256(content).hexdigest()[:16]
        return aws.s3.BucketObjectv2(
            f"{self._name}-authorities",
            bucket=log.bucket,
            key=f"{DEPLOY}rds-ca-{digest}.pem",
            content=content.decode(),
            content_type="application/x-pem-file",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[log]),
        ).key

    def _nodes(
        self, node_group: aws.ec2.SecurityGroup, database: Aurora, targets: list[aws.lb.TargetGroup]
    ) -> aws.autoscaling.Group:
        group_name = (
            f"{self._args.name}-marquez"  # fixed, because the nodes' boot script and role need it in advance
        )
        template, permissions = self._launch_template(node_group, database, group_name)
        group = aws.autoscaling.Group(
            f"{self._name}-nodes",
            name=group_name,
            min_size=MIN_NODES,
            max_size=MAX_NODES,
            vpc_zone_identifiers=self._args.private_subnet_ids,
            target_group_arns=[target.arn for target in targets],
            health_check_type="EC2",  # see the module's docstring
            health_check_grace_period=300,
            default_instance_warmup=60,
            launch_template=aws.autoscaling.GroupLaunchTemplateArgs(
                id=template.id, version=template.latest_version.apply(str)
            ),
            initial_lifecycle_hooks=[_launch_hook()],
            instance_refresh=_rolling_refresh(),
            enabled_metrics=[
                aws.autoscaling.Metric.GROUP_IN_SERVICE_INSTANCES,
                aws.autoscaling.Metric.GROUP_DESIRED_CAPACITY,
            ],
            wait_for_capacity_timeout="20m",
            tags=[
                aws.autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=False)
                for key, value in {**self._args.settings.all_tags, **self._tags("nodes")}.items()
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=permissions),
        )
        self._scaling(group)
        return group

    def _scaling(self, group: aws.autoscaling.Group) -> None:
        aws.autoscaling.Policy(
            f"{self._name}-cpu",
            autoscaling_group_name=group.name,
            policy_type="TargetTrackingScaling",
            target_tracking_configuration=aws.autoscaling.PolicyTargetTrackingConfigurationArgs(
                predefined_metric_specification=(
                    aws.autoscaling.PolicyTargetTrackingConfigurationPredefinedMetricSpecificationArgs(
                        predefined_metric_type="ASGAverageCPUUtilization"
                    )
                ),
                target_value=TARGET_CPU,
            ),
            opts=self._child,
        )


def _launch_hook() -> aws.autoscaling.GroupInitialLifecycleHookArgs:
    """A node is in service once its Marquez answers; one that never does is abandoned and replaced."""
    return aws.autoscaling.GroupInitialLifecycleHookArgs(
        name=LAUNCH_HOOK,
        lifecycle_transition="autoscaling:EC2_INSTANCE_LAUNCHING",
        heartbeat_timeout=900,
        default_result="ABANDON",
    )


def _rolling_refresh() -> aws.autoscaling.GroupInstanceRefreshArgs:
    """A new node serves before an old one is removed.

    No auto_rollback: AWS does not offer it for an image that is a parameter. A failed refresh stops instead,
    and the old nodes that it has not reached stay.
    """
    return aws.autoscaling.GroupInstanceRefreshArgs(
        strategy="Rolling",
        preferences=aws.autoscaling.GroupInstanceRefreshPreferencesArgs(
            min_healthy_percentage=100, max_healthy_percentage=150, skip_matching=True
        ),
    )
