"""What AWS or its provider would refuse, and neither Pulumi's types nor an emulator notices."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import pytest

from components.config.policies import LONGEST
from tests.fakes.pulumi_mocks import MODES, Deployment, deploy, plain

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
LONG_NAME = "a_stack.with-a-long-name" * 3

# From the AWS API references: the texts that each service takes.
GROUP_TEXT = r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}"
TEXTS = {
    ("aws:ec2/securityGroup:SecurityGroup", "description"): GROUP_TEXT,
    ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "description"): GROUP_TEXT,
    ("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", "description"): GROUP_TEXT,
    ("aws:iam/role:Role", "description"): r"[\t\n\r -~\xa1-\xff]{0,1000}",
    ("aws:ssm/parameter:Parameter", "description"): r".{0,1024}",
    ("aws:ssm/parameter:Parameter", "name"): r"/(?!aws|ssm)[a-zA-Z0-9_.\-]+(/[a-zA-Z0-9_.\-]+){0,14}",
    (
        "aws:rds/cluster:Cluster",
        "finalSnapshotIdentifier",
    ): r"(?!.*--)[a-zA-Z][a-zA-Z0-9\-]{0,253}[a-zA-Z0-9]",
    ("aws:rds/cluster:Cluster", "databaseName"): r"[a-z][a-z0-9_]{0,62}",
    ("aws:rds/cluster:Cluster", "masterUsername"): r"(?!rdsadmin$|admin$|postgres$)[a-z][a-z0-9_]{0,15}",
    ("aws:mwaa/environment:Environment", "name"): r"[a-zA-Z][a-zA-Z0-9_\-]{0,79}",
    (
        "aws:mwaa/environment:Environment",
        "weeklyMaintenanceWindowStart",
    ): r"(MON|TUE|WED|THU|FRI|SAT|SUN):([01]\d|2[0-3]):(00|30)",
    ("aws:autoscaling/group:Group", "name"): r"[ -~]{1,255}",
    ("aws:cloudwatch/metricAlarm:MetricAlarm", "alarmDescription"): r".{0,1024}",
    ("aws:cloudwatch/compositeAlarm:CompositeAlarm", "alarmDescription"): r".{0,1024}",
    ("aws:cloudwatch/compositeAlarm:CompositeAlarm", "alarmRule"): r".{1,10240}",
    ("aws:cloudwatch/dashboard:Dashboard", "dashboardName"): r"[A-Za-z0-9_\-]{1,255}",
    ("aws:cloudwatch/eventRule:EventRule", "description"): r".{0,512}",
    ("aws:secretsmanager/secret:Secret", "description"): r".{0,2048}",
    ("aws:route53/zone:Zone", "comment"): r".{0,256}",
}

# Of each row, a resource of any type may have one only.
EXCLUSIVE = (
    ("name", "namePrefix"),
    ("securityGroups", "vpcSecurityGroupIds"),
    ("networkInterfaces", "vpcSecurityGroupIds"),
    ("aliases", "records"),
    ("aliases", "ttl"),
    ("source", "content", "contentBase64"),
    ("userData", "userDataBase64"),
    ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId"),
    ("masterPassword", "manageMasterUserPassword"),
    ("launchTemplate", "launchConfiguration", "mixedInstancesPolicy"),
)
USER_DATA_BYTES = 16 * 1024


def all_deployments() -> Iterator[Deployment]:
    statement = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*", "Sid": ""}
    statement["Sid"] = "x" * (LONGEST - len(_document(statement)))
    everything = {
        "production": True,
        "vpc_endpoints": True,
        "alarm_email": "on-call@example.com",
        "marquez_image_registry": "123456789012.dkr.ecr.us-east-1.amazonaws.com/mirror",
        "create_kms_key": True,
        "nightly_audit": True,
        "lineage_intake": True,
        **dict.fromkeys(("execution_policy", "marquez_policy", "snapshot_policy"), _document(statement)),
    }
    for mode in MODES:
        certificate = {"marquez_certificate_arn": CERTIFICATE} if mode in ("hamarquez", "fullha") else {}
        yield deploy(mode, {**everything, **certificate})
        yield deploy(mode, stack=LONG_NAME)


def _document(statement: dict[str, str]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))


@pytest.fixture(scope="module")
def deployments() -> list[Deployment]:
    """Every mode, plain with a long name and with all that settings add."""
    return list(all_deployments())


def test_texts_are_of_the_letters_and_lengths_that_each_service_takes(
    deployments: list[Deployment],
) -> None:
    met = set()
    for deployment in deployments:
        for each in deployment.resources:
            for key, value in each.inputs.items():
                allowed = TEXTS.get((each.type, key))
                if allowed is not None:
                    met.add((each.type, key))
                    assert re.fullmatch(allowed, plain(value)), f"{each.name} {key}: {plain(value)}"
    assert met == set(TEXTS), "each row is about something that this program registers"


def test_no_argument_excludes_another(deployments: list[Deployment]) -> None:
    for deployment in deployments:
        for each in deployment.resources:
            for row in EXCLUSIVE:
                assert len(each.inputs.keys() & set(row)) <= 1, f"{each.urn}: {row}"


def test_a_record_has_an_alias_or_addresses_with_a_lifetime(deployments: list[Deployment]) -> None:
    for deployment in deployments:
        for each in deployment.of_type("Record"):
            assert ("aliases" in each.inputs) != ({"records", "ttl"} <= each.inputs.keys())


def test_boot_scripts_are_as_short_as_ec2_demands(deployments: list[Deployment]) -> None:
    for deployment in deployments:
        scripts = [e.inputs["userData"] for e in deployment.of_type("Instance")]
        scripts += [
            base64.b64decode(e.inputs["userData"]).decode() for e in deployment.of_type("LaunchTemplate")
        ]
        assert len(scripts) == 1
        assert len(scripts[0].encode()) <= USER_DATA_BYTES


def test_inline_policies_are_as_short_as_iam_demands(deployments: list[Deployment]) -> None:
    for deployment in deployments:
        of_roles: dict[str, str] = {}
        for each in deployment.of_type("RolePolicy"):
            role = each.inputs["role"]
            of_roles[role] = of_roles.get(role, "") + re.sub(r"\s", "", each.inputs["policy"])
        assert of_roles
        for role, policies in of_roles.items():
            assert len(policies) <= 10_240, role
