"""The type of each setting: what is allowed for it on its own. The descriptions complete "must be ..."."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from components.config.airflow_versions import AIRFLOW_VERSIONS

ENVIRONMENT_CLASSES = ("micro", "small", "medium", "large", "xlarge", "2xlarge")


# RFC 1918, and RFC 6598, which carriers share.
PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))


def _matching(pattern: str, description: str) -> Any:
    return Field(pattern=rf"^(?:{pattern})$", description=description)


def _none_if_empty(value: Any) -> Any:
    """In Pulumi.yaml, only an empty string can mean "not set"."""
    return None if value == "" else value


def _nothing_if_empty(value: Any) -> Any:
    """`pulumi config set` makes no empty list, with which an override could replace the stack's."""
    return () if value == "" else value


def _network(value: str) -> str:
    network = IPv4Network(value)  # rejects host bits, which AWS would silently drop
    usable = network.is_global or any(network.subnet_of(private) for private in PRIVATE)
    if not 16 <= network.prefixlen <= 24 or network.is_multicast or not usable:
        raise ValueError(value)
    return str(network)


def _two_or_none(value: tuple[str, ...]) -> tuple[str, ...]:
    if value and len(set(value)) != 2:
        raise ValueError(value)
    return value


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise ValueError(value)
    return value


def _of_cloudwatch(value: int) -> int:
    if value not in LOG_RETENTIONS:
        raise ValueError(value)
    return value


def _part_of_an_hour(value: int) -> int:
    if not 1 <= value <= 30 or 60 % value:
        raise ValueError(value)
    return value


def _half_steps(value: float) -> float:
    if value * 2 != int(value * 2):
        raise ValueError(value)
    return value


def _not_arm(value: str) -> str:
    """The nodes' AMI is for x86_64; a g after the generation in a family's name means Graviton."""
    if re.match(r"(?:[a-z]+\d+g|a1\.)", value):
        raise ValueError(value)
    return value


def _not_amazons(value: str) -> str:
    if value.lower().startswith(("aws", "ssm")):
        raise ValueError(value)
    return value


def _locatable(value: str) -> str:
    """Raises ValueError for what no system takes for a path, and for the home of a user that there is not."""
    try:
        if b"\0" in os.fsencode(Path(value).expanduser()):
            raise ValueError(value)
    except RuntimeError as error:
        raise ValueError(value) from error
    return value


def _as_text(value: Any) -> Any:
    """`pulumi config set --path` stores a whole number, true or false as such."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def _as_option(value: Any) -> Any:
    """Also a fraction, which Airflow reads as a number."""
    return str(value) if isinstance(value, float) else _as_text(value)


def _in_order(value: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(value.items()))


Switch = Annotated[bool, Field(description="true or false")]
# Amazon's default quota is 25; `components.region` asks for the account's where more are wanted.
Workers = Annotated[int, Field(ge=1, le=1000, description="a whole number from 1 to 25 (or your quota)")]
Webservers = Annotated[
    Annotated[int, Field(ge=1, le=5)] | None,
    BeforeValidator(_none_if_empty),
    Field(description="a whole number from 2 to 5 (mw1.micro: 1), or empty"),
]
Schedulers = Annotated[int, Field(ge=1, le=5, description="a whole number from 2 to 5 (mw1.micro: 1)")]
RetentionDays = Annotated[int, Field(ge=1, le=3650, description="a whole number of days from 1 to 3650")]
LogDays = Annotated[
    int, Field(ge=0, le=3650, description="a whole number of days from 1 to 3650, or 0 for no logs")
]
# Those that CloudWatch Logs takes.
LOG_RETENTIONS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
LogRetentionDays = Annotated[
    Annotated[int, AfterValidator(_of_cloudwatch)] | None,
    BeforeValidator(_none_if_empty),
    Field(description=f"one of {', '.join(map(str, LOG_RETENTIONS))} days, or empty"),
]
BackupDays = Annotated[
    Annotated[int, Field(ge=1, le=35)] | None,
    BeforeValidator(_none_if_empty),
    Field(description="a whole number of days from 1 to 35, or empty"),
]
LeadSeconds = Annotated[float, Field(ge=1, le=300, description="a number of seconds from 1 to 300")]
AuroraVersion = Annotated[
    str, _matching(r"\d{2}(\.\d{1,2})?", "a version of Aurora PostgreSQL, like 16 or 16.8")
]
ProbeMinutes = Annotated[
    int, AfterValidator(_part_of_an_hour), Field(description="a divisor of 60, at most 30: 1, 2, 3, 5, 10...")
]
AuroraCapacity = Annotated[
    float,
    Field(ge=0.5, le=256, description="Aurora capacity units from 0.5 to 256 in steps of 0.5"),
    AfterValidator(_half_steps),
]

VpcCidr = Annotated[
    str,
    AfterValidator(_network),
    Field(
        description="an IPv4 network of /16 to /24 without host bits, of addresses that hosts can have, "
        "like 10.0.0.0/16"
    ),
]
VpcId = Annotated[
    Annotated[str, Field(pattern=r"^vpc-[0-9a-f]{8,17}$")] | None,
    BeforeValidator(_none_if_empty),
    Field(description="the id of a VPC, like vpc-0123456789abcdef0, or empty"),
]
SubnetIds = Annotated[
    tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")], ...],
    AfterValidator(_two_or_none),
    Field(description="the ids of two different subnets, or none"),
]
SecurityGroupIds = Annotated[
    tuple[Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")], ...],
    AfterValidator(_each_once),
    Field(max_length=4, description="a list of up to 4 different ids of security groups"),
]
Region = Annotated[str, _matching(r"[a-z]{2,}(-[a-z]+)+-\d", "an AWS region, like us-east-1")]
AvailabilityZones = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z]{2,}(-[a-z]+)+-\d[a-z]$")], ...],
    AfterValidator(_two_or_none),
    Field(description="two different zones of the stack's region, like us-east-1a and us-east-1b, or none"),
]

AirflowVersionName = Annotated[
    str, _matching("|".join(map(re.escape, AIRFLOW_VERSIONS)), f"one of {', '.join(AIRFLOW_VERSIONS)}")
]
EnvironmentClass = Annotated[
    str,
    _matching(
        rf"mw1\.({'|'.join(ENVIRONMENT_CLASSES)})",
        f"one of {', '.join(f'mw1.{each}' for each in ENVIRONMENT_CLASSES)}",
    ),
]
AirflowOptions = Annotated[
    dict[str, Annotated[str, BeforeValidator(_as_option)]],
    AfterValidator(_in_order),
    Field(description='an object like {"core.parallelism": "64"}'),
]
Requirements = Annotated[
    tuple[str, ...], Field(description='a list of lines for pip, like ["pandas==2.3.3"]')
]
FilePath = Annotated[
    Annotated[str, AfterValidator(_locatable)] | None,
    BeforeValidator(_none_if_empty),
    Field(
        description="a path from the project's folder, or a whole one, or empty (~NAME is the home of a user "
        "of this machine)"
    ),
]
DagsFolder = Annotated[
    str,
    _matching(
        r"(?:[A-Za-z0-9][A-Za-z0-9_.-]*/)+", "a folder in the bucket that ends with a slash, like dags/"
    ),
]
# No dots: with them, S3's certificate does not fit the host's name.
BucketName = Annotated[
    Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")] | None,
    BeforeValidator(_none_if_empty),
    Field(description="the name of a bucket, of 3 to 63 small letters, digits and hyphens, or empty"),
]
# The provider allows 37 characters before what it adds; the longest role, `traffic-logs-`, takes 13.
BucketPrefix = Annotated[
    Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,23}$")] | None,
    BeforeValidator(_none_if_empty),
    Field(description="at most 24 small letters, digits and hyphens, like acme-data-, or empty"),
]
LogLevels = Annotated[
    dict[
        Literal["dag_processing", "scheduler", "task", "webserver", "worker"],
        Literal["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"],
    ],
    AfterValidator(_in_order),
    Field(description='an object like {"scheduler": "DEBUG"}'),
]
# Of Amazon MWAA's API (EnvironmentName).
AdoptedName = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z][0-9A-Za-z_-]*$", max_length=80)] | None,
    BeforeValidator(_none_if_empty),
    Field(description="the name of an Amazon MWAA environment, or empty"),
]
SecretPrefix = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9_+=.@-]+(?:/[A-Za-z0-9_+=.@-]+)*$", max_length=256)] | None,
    BeforeValidator(_none_if_empty),
    Field(description="the beginning of the names of secrets, like airflow/connections, or empty"),
]
MaintenanceWindow = Annotated[
    Annotated[str, Field(pattern=r"^(MON|TUE|WED|THU|FRI|SAT|SUN):([01]\d|2[0-3]):(00|30)$")] | None,
    BeforeValidator(_none_if_empty),
    Field(description="a day and a full or half hour in UTC, like TUE:02:00, or empty"),
]
Overrides = Annotated[
    dict[str, Any], Field(description='an object of settings, like {"airflow_version": "3.0.6"}')
]

# Exactly the ARNs of keys that Amazon MWAA's API takes (KmsKey): none of a multi-Region key, and only
# regions of three parts, so none of GovCloud.
KEY_ARN = (
    r"arn:aws(-[a-z]+)?:kms:[a-z]{2}-[a-z]+-\d:\d+:key\/"
    r"[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}"
)
KmsKeyArn = Annotated[
    Annotated[str, Field(pattern=rf"^(?:{KEY_ARN})$")] | None,
    BeforeValidator(_none_if_empty),
    Field(
        description="the ARN of a KMS key that Amazon MWAA takes (of no alias or multi-Region key), or empty"
    ),
]
AlarmTopicArn = Annotated[
    Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$")] | None,
    BeforeValidator(_none_if_empty),
    Field(description="the ARN of an SNS topic (standard, not FIFO), or empty"),
]
AlarmEmail = Annotated[
    Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254)] | None,
    BeforeValidator(_none_if_empty),
    Field(description="an e-mail address, or empty"),
]
CertificateArn = Annotated[
    Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[A-Za-z0-9-]+$")] | None,
    BeforeValidator(_none_if_empty),
    Field(description="the ARN of an ACM certificate, or empty"),
]
# Paths and names of IAM: at most 512 and 128 (of roles 64) characters.
IAM_PATH, IAM_NAME = r"/(?:[!-.0-~]+/)*", r"[A-Za-z0-9+=,.@_-]"
POLICY_ARN = rf"arn:aws[a-z-]*:iam::(?:aws|\d{{12}}):policy{IAM_PATH}{IAM_NAME}{{1,128}}"
ROLE_ARN = rf"arn:aws[a-z-]*:iam::\d{{12}}:role{IAM_PATH}{IAM_NAME}{{1,64}}"
IamPath = Annotated[
    str,
    Field(max_length=512),
    _matching(IAM_PATH, "a path of IAM that begins and ends with a slash, like /data/, or / alone"),
]
BoundaryArn = Annotated[
    Annotated[str, Field(pattern=rf"^(?:{POLICY_ARN})$")] | None,
    BeforeValidator(_none_if_empty),
    Field(description="the ARN of a managed policy of IAM, or empty"),
]
RoleArn = Annotated[
    Annotated[str, Field(pattern=rf"^(?:{ROLE_ARN})$")] | None,
    BeforeValidator(_none_if_empty),
    Field(description="the ARN of a role of IAM, or empty"),
]
# At most 20 for a role, one of them Amazon's; `components.own_policies` asks for the account's quota.
PolicyArns = Annotated[
    tuple[Annotated[str, Field(pattern=rf"^(?:{POLICY_ARN})$")], ...],
    BeforeValidator(_nothing_if_empty),
    AfterValidator(_each_once),
    Field(max_length=19, description="a list of up to 19 different ARNs of managed policies of IAM"),
]
# `components.config.policies` says what is wrong with one.
PolicyDocument = Annotated[
    str | None,
    BeforeValidator(_none_if_empty),
    Field(description="an IAM policy document as JSON, or empty"),
]
LineageNamespace = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/@+-]{1,255}$")] | None,
    BeforeValidator(_none_if_empty),
    Field(description="letters, digits and ._:/@+-, at most 255, or empty for one namespace per environment"),
]
# `components.config.sinks` says what is wrong with one.
LineageSinks = Annotated[
    dict[str, dict[str, str]],
    AfterValidator(_in_order),
    Field(description='an object like {"datahub": {"url": "https://...", "header_arn": "arn:..."}}'),
]
# Docker would take a first part without a dot for a namespace on Docker Hub. No port: nodes reach 443 only.
HOST = r"[a-z0-9-]+(?:\.[a-z0-9-]+)+"
REPOSITORY = rf"{HOST}(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)"
DIGEST = r"@sha256:[0-9a-f]{64}"
Image = Annotated[
    str,
    _matching(
        rf"{REPOSITORY}+:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}(?:{DIGEST})?",
        "a container image with registry and tag, and if possible a digest, "
        "like docker.io/marquezproject/marquez:0.51.1@sha256:...",
    ),
]
PostgresImage = Annotated[
    str,
    _matching(
        rf"{REPOSITORY}+:16(?:[.-][A-Za-z0-9_.-]{{0,124}})?(?:{DIGEST})?",
        "an image of PostgreSQL 16, as its data is, like public.ecr.aws/docker/library/postgres:16.11",
    ),
]
ImageRegistry = Annotated[
    Annotated[str, Field(pattern=rf"^{REPOSITORY}*$")] | None,
    BeforeValidator(_none_if_empty),
    Field(
        description="a registry, and if you like a path in it, "
        "like 123456789012.dkr.ecr.us-east-1.amazonaws.com/mirror, or empty"
    ),
]
InstanceType = Annotated[
    str,
    _matching(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", "an EC2 instance type with x86_64 processors, like t3.medium"),
    AfterValidator(_not_arm),
]
Project = Annotated[
    str,
    AfterValidator(_not_amazons),
    Field(description="a name that does not begin with aws or ssm: Parameter Store keeps those for Amazon"),
]
Tags = Annotated[
    dict[str, Annotated[str, BeforeValidator(_as_text)]],
    AfterValidator(_in_order),
    Field(description='an object like {"team": "data"}'),
]

EndpointManagement = Literal["SERVICE", "CUSTOMER", "VPC_OWNER"]
Lineage = Literal["marquez", "log", "none"]
Nat = Literal["single", "per_az", "none"]
WebserverAccess = Literal["PUBLIC_ONLY", "PRIVATE_ONLY", "PUBLIC_AND_PRIVATE"]
WorkerReplacement = Literal["FORCED", "GRACEFUL"]
