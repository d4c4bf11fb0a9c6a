"""Marquez on one instance in a private subnet: the lineage back end of the modes without `enable_ha_marquez`.

The data is on a volume of its own. The instance is expendable: the recovery alarm moves it to healthy
hardware, and a change of the boot script replaces it (about two minutes without Marquez; events wait in the
log). The new instance mounts the same volume.
"""

from __future__ import annotations

import pulumi
import pulumi_aws as aws
import pulumi_random as random

from components.marquez.back_end import AMI_PARAMETER, Marquez, MarquezArgs, database_login
from components.marquez.userdata import INTAKE_PORT, Ec2Boot, ec2_user_data
from components.monitoring.marquez_alarms import WatchedNode
from components.role import Added, RoleArgs, create_role

DATA_GIB = 30
BACKUP_ROLE_POLICY = "service-role/AWSBackupServiceRolePolicyForBackup"
PORT = 80


class MarquezEc2(Marquez):
    """One instance and its data volume.

    When Pulumi removes the volume, a final snapshot remains. In production the volume and its daily snapshots
    remain, and only Pulumi can terminate the instance.
    """

    def __init__(self, name: str, args: MarquezArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        volume = self._volume()
        secret, login = self._secret()
        group = self._security_group("node", "Marquez node")
        self._from_network(group, "node", [PORT, INTAKE_PORT] if self._intake else [PORT])
        self._to_https(group, "node")
        instance = self._instance(volume, secret, login, group)
        aws.ec2.VolumeAttachment(
            f"{name}-data",
            instance_id=instance.id,
            volume_id=volume.id,
            device_name="/dev/sdf",
            stop_instance_before_detaching=True,  # the database must close its files first
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=True,  # a volume can be attached to one instance only
            ),
        )
        self._repair_alarms(instance)
        self._snapshots(volume)
        self.watched = WatchedNode(instance=instance.id, log=args.lineage_log.bucket)
        self._publish(
            backend="ec2", scheme="http", target=instance.id, port=PORT, address=instance.private_ip
        )

    def _volume(self) -> aws.ebs.Volume:
        return aws.ebs.Volume(
            f"{self._name}-data",
            availability_zone=self._args.availability_zones[0],
            size=DATA_GIB,
            type="gp3",
            encrypted=True,
            kms_key_id=self._args.kms_key_arn,
            final_snapshot=True,  # the log may not reach back as far as the volume
            tags=self._tags("data"),
            opts=pulumi.ResourceOptions(
                parent=self,
                retain_on_delete=self._args.settings.production,  # then the volume itself is kept
                # Deletion waits for the snapshot, and the first one of a full volume takes long.
                custom_timeouts=pulumi.CustomTimeouts(delete="1h"),
            ),
        )

    def _secret(self) -> tuple[aws.secretsmanager.Secret, aws.secretsmanager.SecretVersion]:
        password = random.RandomPassword(
            f"{self._name}-database",
            length=40,
            special=False,
            opts=self._child,
        )
        secret = aws.secretsmanager.Secret(
            f"{self._name}-database",
            description="Login of Marquez's database",
            kms_key_id=self._args.kms_key_arn,
            # A new deployment creates a new secret; in development, the old one is deleted at once.
            recovery_window_in_days=7 if self._args.settings.production else 0,
            opts=self._child,
        )
        login = aws.secretsmanager.SecretVersion(
            f"{self._name}-database",
            secret_id=secret.id,
            secret_string=database_login(password.result),
            opts=self._child,
        )
        return secret, login

    def _instance(
        self,
        volume: aws.ebs.Volume,
        secret: aws.secretsmanager.Secret,
        login: aws.secretsmanager.SecretVersion,
        group: aws.ec2.SecurityGroup,
    ) -> aws.ec2.Instance:
        args, settings = self._args, self._args.settings
        profile, permissions = self._node_profile("node", secret_arn=secret.arn)
        image = aws.ssm.get_parameter_output(name=AMI_PARAMETER, opts=pulumi.InvokeOptions(parent=self))
        user_data = pulumi.Output.all(
            secret=secret.arn,
            bucket=args.lineage_log.bucket,
            key=self._forwarder.key,
            checkpoint=self._checkpoint(volume.id),
            volume=volume.id,
        ).apply(lambda values: ec2_user_data(Ec2Boot(**self._boot(values), data_volume_id=values["volume"])))
        return aws.ec2.Instance(
            f"{self._name}-node",
            ami=pulumi.Output.unsecret(image.value),  # the provider treats every parameter as a secret
            instance_type=settings.marquez_instance_type,
            subnet_id=pulumi.Output.from_input(args.private_subnet_ids).apply(lambda ids: ids[0]),
            vpc_security_group_ids=[group.id],
            iam_instance_profile=profile.name,
            associate_public_ip_address=False,
            ebs_optimized=True,
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint="enabled",
                http_tokens="required",
                http_put_response_hop_limit=1,  # no container may use the node's role
            ),
            root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
                encrypted=True, volume_type="gp3", volume_size=20, delete_on_termination=True
            ),
            user_data=user_data,
            user_data_replace_on_change=True,  # it runs at the first boot only
            disable_api_termination=settings.production,
            force_destroy=settings.production,  # Pulumi itself may still terminate it
            tags=self._tags("node"),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*permissions, login],
                ignore_changes=["ami"],  # a newer image must not replace the running node
            ),
        )

    def _repair_alarms(self, instance: aws.ec2.Instance) -> None:
        """What EC2 itself does about a node that fails its status checks; the watchdog does the rest."""
        for action, failed, minutes, description in (
            ("recover", "System", 2, "Moves the Marquez node to sound hardware when its host fails"),
            # Later than a recovery: the checks of the instance fail with the host, too.
            ("reboot", "Instance", 5, "Reboots the Marquez node when its system no longer answers"),
        ):
            aws.cloudwatch.MetricAlarm(
                f"{self._name}-{action}",
                alarm_description=description,
                namespace="AWS/EC2",
                metric_name=f"StatusCheckFailed_{failed}",
                dimensions={"InstanceId": instance.id},
                statistic="Minimum",
                comparison_operator="GreaterThanThreshold",
                threshold=0,
                period=60,
                evaluation_periods=minutes,
                alarm_actions=[f"arn:{self._partition.name}:automate:{self._args.region}:ec2:{action}"],
                opts=self._child,
            )

    def _snapshots(self, volume: aws.ebs.Volume) -> None:
        """Daily snapshots by AWS Backup; those of a DLM policy would outlive a development stack."""
        production = self._args.settings.production
        days = self._args.settings.backup_retention_days or (14 if production else 3)
        vault = aws.backup.Vault(
            f"{self._name}-snapshots",
            kms_key_arn=self._args.kms_key_arn,
            force_destroy=not production,
            opts=pulumi.ResourceOptions(
                parent=self,
                retain_on_delete=production,  # a vault with snapshots in it cannot be deleted
            ),
        )
        plan = aws.backup.Plan(
            f"{self._name}-snapshots",
            rules=[
                aws.backup.PlanRuleArgs(
                    rule_name="daily",
                    target_vault_name=vault.name,
                    schedule="cron(0 3 * * ? *)",
                    lifecycle=aws.backup.PlanRuleLifecycleArgs(delete_after=days),
                )
            ],
            opts=self._child,
        )
        role, permissions = create_role(
            f"{self._name}-snapshots",
            RoleArgs(
                settings=self._args.settings,
                description="Takes snapshots of Marquez's data volume",
                services=["backup.amazonaws.com"],
                managed={"backup": self._partition.managed_policy(BACKUP_ROLE_POLICY)},
                added=Added(
                    policy=self._args.settings.snapshot_policy,
                    policy_arns=self._args.settings.snapshot_policy_arns,
                ),
            ),
            self._child,
        )
        aws.backup.Selection(
            f"{self._name}-snapshots",
            plan_id=plan.id,
            iam_role_arn=role.arn,
            resources=[volume.arn],
            # AWS Backup assumes the role when it creates the selection.
            opts=pulumi.ResourceOptions(parent=self, depends_on=permissions),
        )
