"""The table of AWS resource types: what forces a replacement, names, identifiers, computed outputs.

Replacements are those of the AWS provider (terraform-provider-aws, `ForceNew`). A type that is missing here
is an error, which is better than a guess. `ec2` has the part for EC2; `KINDS` is the whole table.
"""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from local.provider.kinds.ec2 import EC2
from local.provider.kinds.kind import BUCKET, MANAGED, NAMED, Inputs, Kind, iam


def major_upgrade(old: Inputs, new: Inputs) -> tuple[str, ...]:
    """The provider replaces an environment whose major version of Airflow is raised, and only then.

    (Amazon MWAA by now upgrades 2.11.x to 3.x in place; the provider's code does not know it.)
    """
    before, after = (_major(inputs.get("airflowVersion")) for inputs in (old, new))
    raised = before is not None and after is not None and after > before
    return ("airflowVersion",) if raised else ()


def _major(version: object) -> int | None:
    """None for a version that is not set, or not known before the update."""
    try:
        return Version(str(version)).major
    except InvalidVersion:
        return None


KINDS: dict[str, Kind] = {
    # Storage: created for real
    "aws:s3/bucket:Bucket": Kind(
        ("bucket", "bucketPrefix", "objectLockEnabled"),
        "{bucket}",
        {
            "arn": "arn:aws:s3:::{bucket}",
            "bucketDomainName": "{bucket}.s3.amazonaws.com",
            "bucketRegionalDomainName": "{bucket}.s3.{region}.amazonaws.com",
            "bucketRegion": "{region}",
            "hostedZoneId": "Z3AQBSTGFYJSTF",
        },
        name="bucket",
        longest_name=63,
        defaults={"forceDestroy": False},
    ),
    "aws:s3/bucketVersioning:BucketVersioning": Kind(BUCKET, "{bucket}", name=None),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": Kind(
        BUCKET, "{bucket}", name=None
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": Kind(("bucket",), "{bucket}", name=None),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": Kind(("bucket",), "{bucket}", name=None),
    "aws:s3/bucketLogging:BucketLogging": Kind(BUCKET, "{bucket}", name=None),
    "aws:s3/bucketPolicy:BucketPolicy": Kind(("bucket",), "{bucket}", name=None),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": Kind(BUCKET, "{bucket}", name=None),
    "aws:s3/bucketObjectv2:BucketObjectv2": Kind(
        ("bucket", "key"),
        "{bucket}/{key}",
        {"arn": "arn:aws:s3:::{bucket}/{key}", "storageClass": "STANDARD"},
        name=None,
        renewed=dict.fromkeys(
            ("versionId", "etag"), ("source", "content", "contentBase64", "etag", "sourceHash", "kmsKeyId")
        ),
    ),
    # Parameters, secrets, logs: created for real
    "aws:ssm/parameter:Parameter": Kind(
        ("name", "dataType"),
        "{name}",
        {"arn": "arn:aws:ssm:{region}:{account}:parameter{name}", "dataType": "text", "tier": "Standard"},
        longest_name=1011,
        renewed={
            "version": ("value", "insecureValue", "description", "tier", "type", "allowedPattern", "keyId")
        },
    ),
    "aws:secretsmanager/secret:Secret": Kind(
        NAMED, longest_name=512, defaults={"recoveryWindowInDays": 30, "forceOverwriteReplicaSecret": False}
    ),
    "aws:secretsmanager/secretVersion:SecretVersion": Kind(
        ("secretId", "secretString", "secretBinary"), name=None
    ),
    "aws:cloudwatch/logGroup:LogGroup": Kind(
        (*NAMED, "logGroupClass"),
        "{name}",
        {"arn": "arn:aws:logs:{region}:{account}:log-group:{name}", "logGroupClass": "STANDARD"},
        longest_name=512,
        defaults={"skipDestroy": False},
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": Kind(
        ("name", "logGroupName"), "{name}", longest_name=512, defaults={"applyOnTransformedLogs": False}
    ),
    # Airflow: created for real, in local/mwaa/
    "aws:mwaa/environment:Environment": Kind(
        ("name", "kmsKey", "endpointManagement", "networkConfiguration.subnetIds"),
        "{name}",
        longest_name=80,
        also_replaces=major_upgrade,
        given_back=(
            "airflowVersion",
            "dagS3Path",
            "endpointManagement",
            "environmentClass",
            "executionRoleArn",
            "maxWorkers",
            "maxWebservers",
            "minWebservers",
            "minWorkers",
            "pluginsS3ObjectVersion",
            "requirementsS3ObjectVersion",
            "schedulers",
            "sourceBucketArn",
            "startupScriptS3ObjectVersion",
            "webserverAccessMode",
            "weeklyMaintenanceWindowStart",
            "workerReplacementStrategy",
        ),
    ),
    **EC2,
    # Load balancing
    "aws:lb/loadBalancer:LoadBalancer": Kind(
        (*NAMED, "internal", "loadBalancerType", "customerOwnedIpv4Pool", "subnetMappings"),
        "arn:aws:elasticloadbalancing:{region}:{account}:loadbalancer/app/{name}/{hex16}",
        {
            "arn": "{id}",
            "arnSuffix": "app/{name}/{hex16}",
            "dnsName": "internal-{name}-{digits}.{region}.elb.amazonaws.com",
            "zoneId": "Z35SXDOTRQ7X7K",
            "ipAddressType": "ipv4",
        },
        longest_name=32,
        defaults={
            "enableCrossZoneLoadBalancing": True,
            "enableDeletionProtection": False,
            "enableHttp2": True,
            "idleTimeout": 60,
            "loadBalancerType": "application",
        },
    ),
    "aws:lb/targetGroup:TargetGroup": Kind(
        (
            *NAMED,
            "port",
            "protocol",
            "protocolVersion",
            "vpcId",
            "targetType",
            "ipAddressType",
            "targetControlPort",
        ),
        "arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/{name}/{hex16}",
        {"arn": "{id}", "arnSuffix": "targetgroup/{name}/{hex16}", "loadBalancerArns": []},
        longest_name=32,
        defaults={"targetType": "instance", "slowStart": 0},
    ),
    "aws:lb/listener:Listener": Kind(
        ("loadBalancerArn",),
        "arn:aws:elasticloadbalancing:{region}:{account}:listener/app/{hex8}/{hex16}/{hex16}",
        {"arn": "{id}"},
        name=None,
    ),
    "aws:lb/listenerRule:ListenerRule": Kind(
        ("listenerArn",),
        "arn:aws:elasticloadbalancing:{region}:{account}:listener-rule/app/{hex8}/{hex16}/{hex16}/{hex16}",
        {"arn": "{id}"},
        name=None,
    ),
    # Database
    "aws:rds/cluster:Cluster": Kind(
        (
            "clusterIdentifier",
            "clusterIdentifierPrefix",
            "engine",
            "engineMode",
            "databaseName",
            "masterUsername",
            "dbSubnetGroupName",
            "storageEncrypted",
            "kmsKeyId",
            "availabilityZones",
            "snapshotIdentifier",
            "sourceRegion",
            "restoreToPointInTime",
            "s3Import",
            "dbSystemId",
        ),
        "{clusterIdentifier}",
        {
            "arn": "arn:aws:rds:{region}:{account}:cluster:{clusterIdentifier}",
            "clusterResourceId": "cluster-{hex24}",
            "endpoint": "{clusterIdentifier}.cluster-{hex12}.{region}.rds.amazonaws.com",
            "readerEndpoint": "{clusterIdentifier}.cluster-ro-{hex12}.{region}.rds.amazonaws.com",
            "engineVersionActual": "{engineVersion}",
            "hostedZoneId": "Z2R2ITUGPM61AM",
            "masterUserSecrets": [
                {
                    "secretArn": "arn:aws:secretsmanager:{region}:{account}:secret:rds!cluster-{hex32}",
                    "secretStatus": "active",
                    "kmsKeyId": "arn:aws:kms:{region}:{account}:key/{hex32}",
                }
            ],
        },
        name="clusterIdentifier",
        longest_name=63,
        defaults={"skipFinalSnapshot": False, "engineMode": "provisioned"},
    ),
    "aws:rds/clusterInstance:ClusterInstance": Kind(
        (
            "identifier",
            "identifierPrefix",
            "clusterIdentifier",
            "engine",
            "availabilityZone",
            "dbSubnetGroupName",
            "customIamInstanceProfile",
        ),
        "{identifier}",
        {
            "arn": "arn:aws:rds:{region}:{account}:db:{identifier}",
            "dbiResourceId": "db-{hex24}",
            "endpoint": "{identifier}.{hex12}.{region}.rds.amazonaws.com",
            "engineVersionActual": "{engineVersion}",
            "port": 5432,
            "writer": False,
        },
        name="identifier",
        longest_name=63,
        defaults={"autoMinorVersionUpgrade": True, "copyTagsToSnapshot": False, "promotionTier": 0},
    ),
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": Kind(
        (*NAMED, "family", "description"),
        "{name}",
        {"arn": "arn:aws:rds:{region}:{account}:cluster-pg:{name}"},
        longest_name=255,
        defaults=MANAGED,
    ),
    "aws:rds/subnetGroup:SubnetGroup": Kind(
        NAMED,
        "{name}",
        {"arn": "arn:aws:rds:{region}:{account}:subgrp:{name}", "vpcId": "vpc-0{hex16}"},
        longest_name=255,
        defaults=MANAGED,
    ),
    # Identity
    "aws:iam/role:Role": iam("role", maxSessionDuration=3600, forceDetachPolicies=False),
    "aws:iam/instanceProfile:InstanceProfile": iam("instance-profile"),
    "aws:iam/rolePolicy:RolePolicy": Kind((*NAMED, "role"), "{role}:{name}"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Kind(
        ("role", "policyArn"), "{role}/{policyArn}", name=None
    ),
    "aws:kms/key:Key": Kind(
        ("customKeyStoreId", "xksKeyId", "keyUsage", "customerMasterKeySpec", "multiRegion"),
        "{hex8}-0000-4000-8000-{hex12}",
        {"arn": "arn:aws:kms:{region}:{account}:key/{id}", "keyId": "{id}"},
        name=None,
        defaults={"isEnabled": True, "bypassPolicyLockoutSafetyCheck": False},
    ),
    "aws:kms/alias:Alias": Kind(
        NAMED,
        "{name}",
        {"arn": "arn:aws:kms:{region}:{account}:{name}", "targetKeyArn": "{targetKeyId}"},
        longest_name=256,
    ),
    # Names, alarms, snapshots
    "aws:route53/zone:Zone": Kind(
        ("name", "delegationSetId"),
        "Z{hex20}",
        {
            "arn": "arn:aws:route53:::hostedzone/{id}",
            "zoneId": "{id}",
            "nameServers": ["ns-0.awsdns-00.com", "ns-512.awsdns-00.net"],
            "primaryNameServer": "ns-0.awsdns-00.com",
        },
        name=None,
        defaults={"comment": "Managed by Pulumi", "forceDestroy": False},
    ),
    "aws:route53/record:Record": Kind(
        ("zoneId", "name", "setIdentifier"), "{zoneId}_{name}_{type}", {"fqdn": "{name}"}, name=None
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Kind(
        ("name",),
        "{name}",
        {"arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}"},
        longest_name=255,
        defaults={"actionsEnabled": True, "treatMissingData": "missing"},
    ),
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": Kind(
        ("alarmName",),
        "{alarmName}",
        {"arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{alarmName}"},
        name=None,
        defaults={"actionsEnabled": True},
    ),
    "aws:cloudwatch/dashboard:Dashboard": Kind(
        ("dashboardName",),
        "{dashboardName}",
        {"dashboardArn": "arn:aws:cloudwatch::{account}:dashboard/{dashboardName}"},
        name=None,
    ),
    "aws:cloudwatch/eventRule:EventRule": Kind(
        ("name", "namePrefix", "eventBusName"),
        "{name}",
        {"arn": "arn:aws:events:{region}:{account}:rule/{name}"},
        longest_name=64,
        defaults={"eventBusName": "default", "forceDestroy": False},
    ),
    "aws:cloudwatch/eventTarget:EventTarget": Kind(
        ("rule", "targetId", "eventBusName"),
        "{rule}-{targetId}",
        name=None,
        defaults={"eventBusName": "default", "forceDestroy": False},
    ),
    "aws:sns/topic:Topic": Kind(
        ("name", "namePrefix", "fifoTopic"),
        "arn:aws:sns:{region}:{account}:{name}",
        {"arn": "arn:aws:sns:{region}:{account}:{name}", "owner": "{account}"},
        longest_name=256,
    ),
    "aws:sns/topicPolicy:TopicPolicy": Kind(("arn",), "{arn}", {"owner": "{account}"}, name=None),
    "aws:sns/topicSubscription:TopicSubscription": Kind(
        ("endpoint", "protocol", "topic"),
        "{topic}:{hex16}",
        {"arn": "{id}", "pendingConfirmation": True, "ownerId": "{account}"},
        name=None,
        defaults={
            "confirmationTimeoutInMinutes": 1,
            "endpointAutoConfirms": False,
            "rawMessageDelivery": False,
        },
    ),
    "aws:backup/vault:Vault": Kind(
        ("name", "kmsKeyArn"),
        "{name}",
        {
            "arn": "arn:aws:backup:{region}:{account}:backup-vault:{name}",
            "kmsKeyArn": "arn:aws:kms:{region}:{account}:key/{hex32}",
            "recoveryPoints": 0,
        },
        longest_name=50,
        defaults={"forceDestroy": False},
    ),
    "aws:backup/plan:Plan": Kind(
        ("name",),
        "{hex32}",
        {"arn": "arn:aws:backup:{region}:{account}:backup-plan:{id}", "version": "{hex16}"},
        longest_name=50,
        renewed={"version": ()},
    ),
    "aws:backup/selection:Selection": Kind(
        ("name", "planId", "iamRoleArn", "resources", "notResources", "selectionTags", "conditions"),
        "{hex32}",
        longest_name=50,
    ),
}
