"""The table of AWS resource types: what forces a replacement, names, identifiers, computed outputs.

Replacements are the AWS provider's (terraform-provider-aws, `ForceNew`). A type that is not here is an error:
better than a guess. In templates `{name}` is the resource's own input of that name, `{id}` its identifier,
`{hexN}` N random hexadecimal digits, `{digits}` ten decimal ones; `{region}` and `{account}` are what they
say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One resource type. Dotted paths name what lies inside nested blocks."""

    replaces: tuple[str, ...] = ()
    id: str = "{hex16}"
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Computed outputs, as templates; an input of the same name wins."""
    name: str | None = "name"
    """The input that Pulumi fills with `<logical name>-<random>` when the program leaves it out."""
    longest_name: int = 128
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that the provider sets when the program does not."""
    renewed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Outputs that an update computes anew, and the inputs whose change does it (none: any)."""


NAMED = ("name", "namePrefix")
BUCKET = ("bucket", "expectedBucketOwner")
MANAGED = {"description": "Managed by Pulumi"}


def ec2(resource: str, prefix: str, *replaces: str, **outputs: Any) -> Kind:
    """A resource of EC2's API: no name, an identifier like `vpc-0123456789abcdef0`."""
    arn = f"arn:aws:ec2:{{region}}:{{account}}:{resource}/{{id}}"
    return Kind(replaces, f"{prefix}-0{{hex16}}", {"arn": arn, **outputs}, name=None)


def iam(resource: str) -> Kind:
    return Kind(
        (*NAMED, "path"),
        "{name}",
        {
            "arn": f"arn:aws:iam::{{account}}:{resource}/{{name}}",
            "uniqueId": "A{hex20}",
            "createDate": "2026-01-01T00:00:00Z",
            "path": "/",
            "maxSessionDuration": 3600,
            "forceDetachPolicies": False,
        },
        longest_name=64,
    )


RULE = ec2("security-group-rule", "sgr", "securityGroupId", securityGroupRuleId="{id}")

KINDS: dict[str, Kind] = {
    # Storage: made for real
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
    "aws:s3/bucketPolicy:BucketPolicy": Kind(("bucket",), "{bucket}", name=None),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": Kind(BUCKET, "{bucket}", name=None),
    "aws:s3/bucketObjectv2:BucketObjectv2": Kind(
        ("bucket", "key"),
        "{bucket}/{key}",
        {"arn": "arn:aws:s3:::{bucket}/{key}", "storageClass": "STANDARD"},
        name=None,
        renewed=dict.fromkeys(
            ("versionId", "etag"), ("content", "contentBase64", "etag", "sourceHash", "kmsKeyId")
        ),
    ),
    # Parameters, secrets, logs: made for real
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
    # Airflow: made for real, by local/mwaa.py
    "aws:mwaa/environment:Environment": Kind(
        ("name", "kmsKey", "endpointManagement", "networkConfiguration.subnetIds"), "{name}", longest_name=80
    ),
    # Network
    "aws:ec2/vpc:Vpc": ec2(
        "vpc",
        "vpc",
        "cidrBlock",
        "ipv4IpamPoolId",
        "ipv4NetmaskLength",
        defaultNetworkAclId="acl-0{hex16}",
        defaultRouteTableId="rtb-0{hex16}",
        defaultSecurityGroupId="sg-0{hex16}",
        mainRouteTableId="rtb-0{hex16}",
        dhcpOptionsId="dopt-0{hex16}",
        ownerId="{account}",
        instanceTenancy="default",
        enableDnsSupport=True,
        enableDnsHostnames=False,
    ),
    "aws:ec2/subnet:Subnet": ec2(
        "subnet",
        "subnet",
        "vpcId",
        "cidrBlock",
        "availabilityZone",
        "availabilityZoneId",
        "ipv6Native",
        "outpostArn",
        ownerId="{account}",
        mapPublicIpOnLaunch=False,
    ),
    "aws:ec2/internetGateway:InternetGateway": ec2("internet-gateway", "igw", ownerId="{account}"),
    "aws:ec2/routeTable:RouteTable": ec2("route-table", "rtb", "vpcId", ownerId="{account}"),
    "aws:ec2/route:Route": Kind(
        ("routeTableId", "destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId"),
        "r-{routeTableId}{digits}",
        {"origin": "CreateRoute", "state": "active"},
        name=None,
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Kind(
        ("subnetId", "gatewayId"), "rtbassoc-0{hex16}", name=None
    ),
    "aws:ec2/eip:Eip": ec2(
        "elastic-ip",
        "eipalloc",
        "address",
        "domain",
        "networkBorderGroup",
        "publicIpv4Pool",
        allocationId="{id}",
        domain="vpc",
        publicIp="203.0.113.10",
        publicDns="ec2-203-0-113-10.compute-1.amazonaws.com",
    ),
    "aws:ec2/natGateway:NatGateway": ec2(
        "natgateway",
        "nat",
        "allocationId",
        "subnetId",
        "connectivityType",
        "privateIp",
        connectivityType="public",
        networkInterfaceId="eni-0{hex16}",
        privateIp="10.0.0.10",
        publicIp="203.0.113.10",
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ec2(
        "vpc-endpoint",
        "vpce",
        "vpcId",
        "serviceName",
        "vpcEndpointType",
        "serviceRegion",
        "resourceConfigurationArn",
        "serviceNetworkArn",
        ownerId="{account}",
        state="available",
        vpcEndpointType="Gateway",
        prefixListId="pl-{hex8}",
        ipAddressType="ipv4",
    ),
    "aws:ec2/securityGroup:SecurityGroup": Kind(
        (*NAMED, "description", "vpcId"),
        "sg-0{hex16}",
        {
            "arn": "arn:aws:ec2:{region}:{account}:security-group/{id}",
            "ownerId": "{account}",
            "ingress": [],
            "egress": [],
        },
        longest_name=255,
        defaults={**MANAGED, "revokeRulesOnDelete": False},
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": ec2(
        "security-group",
        "sg",
        "vpcId",
        name="default",
        ownerId="{account}",
        description="default VPC security group",
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": RULE,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": RULE,
    # Computers
    "aws:ec2/instance:Instance": Kind(
        (
            "ami",
            "availabilityZone",
            "subnetId",
            "keyName",
            "privateIp",
            "placementGroup",
            "tenancy",
            "hibernation",
            "enclaveOptions",
            "cpuOptions",
            "associatePublicIpAddress",
            "networkInterfaces",
            "securityGroups",
            "secondaryNetworkInterfaces",
            "ipv6AddressCount",
            "ipv6Addresses",
            "ephemeralBlockDevices",
            "ebsBlockDevices.deviceName",
            "ebsBlockDevices.encrypted",
            "ebsBlockDevices.kmsKeyId",
            "ebsBlockDevices.snapshotId",
            "rootBlockDevice.encrypted",
            "rootBlockDevice.kmsKeyId",
            "launchTemplate.id",
            "launchTemplate.name",
        ),
        "i-0{hex16}",
        {
            "arn": "arn:aws:ec2:{region}:{account}:instance/{id}",
            "privateIp": "10.0.0.20",
            "privateDns": "ip-10-0-0-20.ec2.internal",
            "primaryNetworkInterfaceId": "eni-0{hex16}",
            "instanceState": "running",
            "availabilityZone": "{region}a",
        },
        name=None,
        defaults={"getPasswordData": False, "sourceDestCheck": True, "userDataReplaceOnChange": False},
    ),
    "aws:ec2/launchTemplate:LaunchTemplate": Kind(
        NAMED,
        "lt-0{hex16}",
        {
            "arn": "arn:aws:ec2:{region}:{account}:launch-template/{id}",
            "latestVersion": 1,
            "defaultVersion": 1,
        },
        renewed={"latestVersion": (), "defaultVersion": ()},
    ),
    "aws:ebs/volume:Volume": ec2(
        "volume",
        "vol",
        "availabilityZone",
        "encrypted",
        "kmsKeyId",
        "multiAttachEnabled",
        "outpostArn",
        "snapshotId",
        "volumeInitializationRate",
        createTime="2026-01-01T00:00:00Z",
        type="gp2",
        iops=3000,
        throughput=125,
    ),
    "aws:ec2/volumeAttachment:VolumeAttachment": Kind(
        ("deviceName", "instanceId", "volumeId"), "vai-{digits}", name=None
    ),
    "aws:autoscaling/group:Group": Kind(
        NAMED,
        "{name}",
        {
            "arn": "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{hex8}"
            ":autoScalingGroupName/{name}",
            "desiredCapacity": "{minSize}",
            "defaultCooldown": 300,
        },
        longest_name=255,
        defaults={
            "forceDelete": False,
            "healthCheckGracePeriod": 300,
            "metricsGranularity": "1Minute",
            "protectFromScaleIn": False,
            "waitForCapacityTimeout": "10m",
            "ignoreFailedScalingActivities": False,
            "forceDeleteWarmPool": False,
        },
    ),
    "aws:autoscaling/policy:Policy": Kind(
        ("name", "autoscalingGroupName"),
        "{name}",
        {"arn": "arn:aws:autoscaling:{region}:{account}:scalingPolicy:{hex8}:policyName/{name}"},
        defaults={"enabled": True, "policyType": "SimpleScaling"},
    ),
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
            "characterSetName",
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
    "aws:iam/role:Role": iam("role"),
    "aws:iam/instanceProfile:InstanceProfile": iam("instance-profile"),
    "aws:iam/rolePolicy:RolePolicy": Kind((*NAMED, "role"), "{role}:{name}"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Kind(
        ("role", "policyArn"), "{role}/{policyArn}", name=None
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
