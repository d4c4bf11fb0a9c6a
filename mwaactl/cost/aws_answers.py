"""What AWS would answer to the program: the types that it may register, and their computed outputs.

None of it costs anything or takes time: the answers only have to let the program run to its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
from pulumi.runtime import mocks

ACCOUNT = "123456789012"
REGION = "us-east-1"

Invoke = Callable[[Mapping[str, Any]], dict[str, Any]]

# Types that the program may register, with the service and resource part of their ARN.
ARNS = {
    "aws:autoscaling/group:Group": "autoscaling:autoScalingGroup:id:autoScalingGroupName/{id}",
    "aws:autoscaling/policy:Policy": "autoscaling:scalingPolicy:{id}",
    "aws:backup/plan:Plan": "backup:backup-plan:{id}",
    "aws:backup/selection:Selection": "",
    "aws:backup/vault:Vault": "backup:backup-vault:{id}",
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": "cloudwatch:alarm:{id}",
    "aws:cloudwatch/dashboard:Dashboard": "",
    "aws:cloudwatch/eventRule:EventRule": "events:rule/{id}",
    "aws:cloudwatch/eventTarget:EventTarget": "",
    "aws:sns/topic:Topic": "sns:{id}",
    "aws:sns/topicPolicy:TopicPolicy": "",
    "aws:sns/topicSubscription:TopicSubscription": "",
    "aws:cloudwatch/logGroup:LogGroup": "logs:log-group:{id}",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": "",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "cloudwatch:alarm:{id}",
    "aws:ebs/volume:Volume": "ec2:volume/{id}",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "ec2:security-group/{id}",
    "aws:ec2/flowLog:FlowLog": "ec2:vpc-flow-log/{id}",
    "aws:ec2/instance:Instance": "ec2:instance/{id}",
    "aws:ec2/launchTemplate:LaunchTemplate": "ec2:launch-template/{id}",
    "aws:ec2/securityGroup:SecurityGroup": "ec2:security-group/{id}",
    "aws:ec2/volumeAttachment:VolumeAttachment": "",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "ec2:vpc-endpoint/{id}",
    "aws:iam/instanceProfile:InstanceProfile": "iam:instance-profile/{id}",
    "aws:iam/role:Role": "iam:role/{id}",
    "aws:iam/rolePolicy:RolePolicy": "",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "",
    "aws:kms/alias:Alias": "kms:{id}",
    "aws:kms/key:Key": "kms:key/{id}",
    "aws:lb/listener:Listener": "elasticloadbalancing:listener/app/{id}/1/2",
    "aws:lb/listenerRule:ListenerRule": "elasticloadbalancing:listener-rule/app/{id}/1/2/3",
    "aws:lb/loadBalancer:LoadBalancer": "elasticloadbalancing:loadbalancer/app/{id}/1",
    "aws:lb/targetGroup:TargetGroup": "elasticloadbalancing:targetgroup/{id}/1",
    "aws:mwaa/environment:Environment": "airflow:environment/{id}",
    "aws:rds/cluster:Cluster": "rds:cluster:{id}",
    "aws:rds/clusterInstance:ClusterInstance": "rds:db:{id}",
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": "rds:cluster-pg:{id}",
    "aws:rds/subnetGroup:SubnetGroup": "rds:subgrp:{id}",
    "aws:route53/record:Record": "",
    "aws:route53/zone:Zone": "route53:hostedzone/{id}",
    "aws:s3/bucket:Bucket": "s3:{id}",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "",
    "aws:s3/bucketLogging:BucketLogging": "",
    "aws:s3/bucketObjectv2:BucketObjectv2": "s3:object/{id}",
    "aws:s3/bucketPolicy:BucketPolicy": "",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": "",
    "aws:s3/bucketVersioning:BucketVersioning": "",
    "aws:secretsmanager/secret:Secret": "secretsmanager:secret:{id}",
    "aws:secretsmanager/secretVersion:SecretVersion": "",
    "aws:ssm/parameter:Parameter": "ssm:parameter{id}",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "ec2:security-group-rule/{id}",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "ec2:security-group-rule/{id}",
    "awsx:ec2:Vpc": "",
    "pulumi:index:Stash": "",
    "random:index/randomId:RandomId": "",
    "random:index/randomPassword:RandomPassword": "",
}
GET_PARTITION = "aws:index/getPartition:getPartition"
PARTITIONS = {
    "aws": {"partition": "aws", "dnsSuffix": "amazonaws.com"},
    "aws-cn": {"partition": "aws-cn", "dnsSuffix": "amazonaws.com.cn"},
    "aws-us-gov": {"partition": "aws-us-gov", "dnsSuffix": "amazonaws.com"},
}
GLOBAL_SERVICES = {"s3": "arn:aws:s3:::", "iam": f"arn:aws:iam::{ACCOUNT}:", "route53": "arn:aws:route53:::"}

# What AWS would answer, beside what went in.
COMPUTED: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
    "awsx:ec2:Vpc": lambda name, inputs: {
        "vpcId": "vpc-1",
        "privateSubnetIds": ["subnet-private-1", "subnet-private-2"],
        "publicSubnetIds": ["subnet-public-1", "subnet-public-2"],
    },
    "aws:s3/bucket:Bucket": lambda name, inputs: {"bucket": f"{name}-1234567"},
    "aws:s3/bucketObjectv2:BucketObjectv2": lambda name, inputs: {"versionId": f"version-of-{name}"},
    "aws:mwaa/environment:Environment": lambda name, inputs: {
        "webserverUrl": f"{name}.airflow.example",
        "databaseVpcEndpointService": f"com.amazonaws.vpce.{REGION}.{name}-database",
        "webserverVpcEndpointService": f"com.amazonaws.vpce.{REGION}.{name}-webserver",
        "workerReplacementStrategy": "",
    },
    "aws:iam/role:Role": lambda name, inputs: {
        "name": inputs.get("name", f"{name}-1234567"),
        "arn": f"arn:aws:iam::{ACCOUNT}:role{inputs['path']}{name}-id",
    },
    "aws:iam/instanceProfile:InstanceProfile": lambda name, inputs: {"name": f"{name}-1234567"},
    "aws:ec2/instance:Instance": lambda name, inputs: {"privateIp": "10.0.0.10"},
    "aws:ec2/launchTemplate:LaunchTemplate": lambda name, inputs: {"latestVersion": 1},
    "aws:autoscaling/group:Group": lambda name, inputs: {"name": inputs.get("name", f"{name}-1234567")},
    "aws:lb/loadBalancer:LoadBalancer": lambda name, inputs: {
        "dnsName": f"{name}.elb.example",
        "zoneId": "Z1",
        "arnSuffix": f"app/{name}/1",
    },
    "aws:kms/key:Key": lambda name, inputs: {"keyId": f"{name}-id"},
    "aws:lb/targetGroup:TargetGroup": lambda name, inputs: {"arnSuffix": f"targetgroup/{name}/1"},
    "aws:rds/cluster:Cluster": lambda name, inputs: {
        "clusterIdentifier": f"{name}-1234567",
        "clusterResourceId": "cluster-ABC",
        "endpoint": f"{name}.cluster.example",
        "port": 5432,
        "masterUserSecrets": [
            {"secretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!cluster-1-AbCdEf"}
        ],
    },
    "aws:route53/zone:Zone": lambda name, inputs: {"zoneId": "Z2"},
    "aws:rds/subnetGroup:SubnetGroup": lambda name, inputs: {"name": f"{name}-1234567"},
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": lambda name, inputs: {"name": f"{name}-1234567"},
    "aws:backup/vault:Vault": lambda name, inputs: {"name": f"{name}-1234567"},
    "random:index/randomPassword:RandomPassword": lambda name, inputs: {"result": "s3cret"},
    "random:index/randomId:RandomId": lambda name, inputs: {"hex": "1234abcd", "b64Url": "EjSrzQ"},
}


class AwsMocks(mocks.Mocks):
    """Answers what AWS would, for the types in the tables above; `asked`: the invokes so far.

    What is not in a table is an error, unless `lenient`: then a type gets an ARN of the usual form.
    """

    def __init__(self, invokes: Mapping[str, Invoke], *, lenient: bool = False) -> None:
        self.invokes, self.lenient = invokes, lenient
        self.asked: list[str] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ.startswith("mwaa-openlineage:index:"):
            return "", dict(args.inputs)
        resource_id = str(args.inputs.get("name") or f"{args.name}-id")
        # A remote component (awsx) has outputs of its own only, some under the name of an input.
        echoed = {} if args.typ.startswith("awsx:") else args.inputs
        outputs = {"id": resource_id, **echoed, **self._arn(args.typ, args.name, resource_id)}
        if args.typ in COMPUTED:
            outputs |= COMPUTED[args.typ](args.name, dict(args.inputs))
        return resource_id, self._in_partition(outputs)

    def _in_partition(self, outputs: dict[str, Any]) -> dict[str, Any]:
        partition = self.invokes[GET_PARTITION]({})["partition"] if GET_PARTITION in self.invokes else "aws"
        files = {key: value for key, value in outputs.items() if isinstance(value, pulumi.Asset)}
        texts = json.dumps({key: value for key, value in outputs.items() if key not in files})
        moved: dict[str, Any] = json.loads(texts.replace("arn:aws:", f"arn:{partition}:"))
        return moved | files

    def _arn(self, typ: str, name: str, resource_id: str) -> dict[str, str]:
        usual = {typ: f"{typ.split(':')[1].partition('/')[0]}:{{id}}"} if self.lenient else {}
        pattern = (usual | ARNS)[typ]
        if not pattern:
            return {}
        service, _, rest = pattern.partition(":")
        prefix = GLOBAL_SERVICES.get(service, f"arn:aws:{service}:{REGION}:{ACCOUNT}:")
        physical = f"{name}-1234567" if typ == "aws:s3/bucket:Bucket" else resource_id
        return {"arn": prefix + rest.format(id=physical)}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        self.asked.append(args.token)
        return self.invokes[args.token](args.args), []


def usual_answers(region: str) -> dict[str, Invoke]:
    """What AWS answers about a region that has everything, to a stack that is not deployed yet."""
    zones = [f"{region}{letter}" for letter in "ab"]
    partition = "aws-cn" if region.startswith("cn-") else "aws"
    return {
        "pulumi:pulumi:readStackOutputs": lambda args: {"outputs": {}},
        "pulumi:pulumi:readStackResourceOutputs": lambda args: {"outputs": {}},
        "aws:ec2/getInstanceType:getInstanceType": lambda args: {
            "memorySize": 8192,
            "supportedArchitectures": ["x86_64"],
        },
        "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": lambda args: {"locations": zones},
        "aws:ec2/getVpcEndpointService:getVpcEndpointService": lambda args: {
            "serviceName": args["filters"][0]["values"][0],
            "availabilityZones": zones,
        },
        "aws:index/getAvailabilityZones:getAvailabilityZones": lambda args: {"names": zones},
        "aws:index/getCallerIdentity:getCallerIdentity": lambda args: {"accountId": ACCOUNT},
        GET_PARTITION: lambda args: PARTITIONS["aws-us-gov" if region.startswith("us-gov-") else partition],
        "aws:servicequotas/getServiceQuota:getServiceQuota": lambda args: {"value": 1000},
        "aws:rds/getEngineVersion:getEngineVersion": lambda args: {
            "version": args["version"],
            "versionActual": args["version"],
        },
        "aws:ssm/getParameter:getParameter": lambda args: {"value": "ami-1"},
    }
