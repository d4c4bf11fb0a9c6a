"""The EC2 part of the table: the network and the machines in it. See `kinds`."""

from __future__ import annotations

from local.provider.kinds.kind import MANAGED, NAMED, Inputs, Kind, ec2

RULE = ec2("security-group-rule", "sgr", "securityGroupId", securityGroupRuleId="{id}")


def new_user_data(_old: Inputs, new: Inputs) -> tuple[str, ...]:
    return ("userData", "userDataBase64") if new.get("userDataReplaceOnChange") else ()


EC2: dict[str, Kind] = {
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
    "aws:ec2/natGateway:NatGateway": Kind(
        ("allocationId", "subnetId", "connectivityType", "privateIp"),
        "nat-0{hex16}",
        {
            "connectivityType": "public",
            "networkInterfaceId": "eni-0{hex16}",
            "privateIp": "10.0.0.10",
            "publicIp": "203.0.113.10",
        },
        name=None,
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
        also_replaces=new_user_data,
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
}
