"""Buckets that exist: whether they are as Amazon MWAA needs them, and have the DAGs that run now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pulumi
import pulumi_aws as aws
from bluegreen.proof import WRITTEN_FILES
from bluegreen.timeline import Colour

from components.airflow.definition import PLUGINS, REQUIREMENTS, STARTUP
from components.config.settings import Settings
from components.guard import environments_of
from components.partition import Partition

BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
MOST_KEYS = 100_000
SHOWN = 3
S3_LOGS = "logging.s3.amazonaws.com"
S3S_OWN = "AES256"  # encryption with S3's own key


class Problem(NamedTuple):
    """What is wrong with a bucket, and the command that puts it right."""

    text: str
    command: str


def check_log_bucket(settings: Settings) -> None:
    """Ask AWS for the bucket of the access logs. Raises pulumi.RunError with all that does not fit.

    S3 takes any bucket for one, and drops the logs that it may not deliver, without a word.
    """
    bucket = settings.access_log_bucket
    if bucket is None:
        return
    choose = f"pulumi config set access_log_bucket <value> -s {settings.stack}"
    properties = _properties(bucket)
    if isinstance(properties, str):
        raise pulumi.RunError(_refusal("access_log_bucket", [Problem(properties, choose)]))
    problems = [*_elsewhere(bucket, properties, settings, choose)]
    for default in _encryption(properties):
        if (algorithm := default.get("SSEAlgorithm", S3S_OWN)) != S3S_OWN:
            by = default.get("KMSMasterKeyID", algorithm)  # no key: Amazon's own of KMS, aws/s3
            only = f"AWS delivers access logs only where S3's own key encrypts ({S3S_OWN})"
            problems.append(Problem(f"{bucket} is encrypted with {by}: {only}", choose))
    if not any(_delivers(each) for each in _statements(bucket)):
        wanted = {
            "Effect": "Allow",
            "Principal": {"Service": S3_LOGS},
            "Action": "s3:PutObject",
            "Resource": f"arn:{Partition.current().name}:s3:::{bucket}/{settings.name}/*",
        }
        text = (
            f"{bucket} does not let {S3_LOGS} deliver. Its policy needs this statement: {json.dumps(wanted)}"
        )
        problems.append(Problem(text, f"aws s3api get-bucket-policy --bucket {bucket}"))
    if problems:
        raise pulumi.RunError(_refusal("access_log_bucket", problems))


def check_own_buckets(settings: Settings, previous: Mapping[str, Any]) -> None:
    """Ask AWS for each bucket that the settings name. Raises pulumi.RunError with all that does not fit.

    `previous`: the stack's outputs. An environment that exists must find its DAGs in the new bucket: until
    it does it would run none, and where the old one is the program's, its DAGs go with it.
    """
    problems: list[Problem] = []
    for colour in settings.colours:
        bucket = settings.environment(colour).dags_bucket
        if bucket is None:
            continue
        properties = _properties(bucket)
        if isinstance(properties, str):
            problems.append(Problem(properties, _choose(settings, colour)))
            continue
        problems += _of_bucket(bucket, properties, settings, colour)
        problems += _without_its_dags(bucket, settings, colour, environments_of(previous).get(colour, {}))
    if problems:
        raise pulumi.RunError(_refusal("dags_bucket", problems))


def _refusal(setting: str, problems: Sequence[Problem]) -> str:
    lines = "\n".join(f"  {each.text}\n      {each.command}" for each in problems)
    return f"Buckets that cannot be used ({setting}); nothing was changed:\n{lines}"


def _choose(settings: Settings, colour: Colour) -> str:
    return f"pulumi config set {settings.path(colour, 'dags_bucket')} <value> -s {settings.stack}"


def _properties(bucket: str) -> Mapping[str, Any] | str:
    """A bucket's properties as CloudFormation has them, or why they cannot be read."""
    try:
        found = aws.cloudcontrol.get_resource(type_name="AWS::S3::Bucket", identifier=bucket)
    except Exception as error:  # noqa: BLE001 - an invoke raises nothing narrower
        return f"{bucket} cannot be read: {error}"
    properties: Mapping[str, Any] = json.loads(found.properties)
    return properties


def _elsewhere(
    bucket: str, properties: Mapping[str, Any], settings: Settings, command: str
) -> Iterator[Problem]:
    host = properties["RegionalDomainName"]
    if f".{settings.region}." not in host:
        yield Problem(f"{bucket} is not in the stack's region, {settings.region} ({host})", command)


def _statements(bucket: str) -> list[Mapping[str, Any]]:
    """Of its policy; none if it has none."""
    try:
        statements = json.loads(aws.s3.get_bucket_policy(bucket=bucket).policy)["Statement"]
    except Exception as error:  # an invoke raises nothing narrower
        if "NoSuchBucketPolicy" in str(error):
            return []
        raise pulumi.RunError(f"The policy of {bucket} cannot be read: {error}") from error
    return [statements] if isinstance(statements, dict) else statements


def _delivers(statement: Mapping[str, Any]) -> bool:
    """Whether it allows S3 to write logs; where, and on which conditions, only a delivery shows."""
    principal = statement.get("Principal", {})
    services = principal.get("Service", ()) if isinstance(principal, dict) else ()
    return statement["Effect"] == "Allow" and S3_LOGS in (
        [services] if isinstance(services, str) else services
    )


def _of_bucket(
    bucket: str, properties: Mapping[str, Any], settings: Settings, colour: Colour
) -> Iterator[Problem]:
    """What Amazon MWAA, or this program, could not work with. `properties`: as CloudFormation has them."""
    yield from _elsewhere(bucket, properties, settings, _choose(settings, colour))
    if properties.get("VersioningConfiguration", {}).get("Status") != "Enabled":
        yield Problem(
            f"{bucket} is not versioned: an environment takes its files by their versions",
            f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
        )
    blocked = properties.get("PublicAccessBlockConfiguration", {})
    if not all(blocked.get(each) for each in BLOCKS):
        wanted = f"--public-access-block-configuration {','.join(f'{each}=true' for each in BLOCKS)}"
        yield Problem(
            f"{bucket} does not block all public access, as Amazon MWAA demands",
            f"aws s3api put-public-access-block --bucket {bucket} {wanted}",
        )
    folder = settings.environment(colour).dags_folder
    for rule in properties.get("LifecycleConfiguration", {}).get("Rules", ()):
        if _expires(rule, (folder, REQUIREMENTS, PLUGINS, STARTUP)):
            name = rule.get("Id", "(without a name)")
            yield Problem(
                f"{bucket} has the lifecycle rule {name}, by which DAGs or files of the environment expire: "
                f"give it a prefix other than {folder}",
                f"aws s3api get-bucket-lifecycle-configuration --bucket {bucket}",
            )
    _warn_of_another_key(bucket, properties, settings)


def _expires(rule: Mapping[str, Any], places: tuple[str, ...]) -> bool:
    """Whether a rule ends the current version of what is in one of these places."""
    if rule["Status"] != "Enabled" or not rule.keys() & {"ExpirationInDays", "ExpirationDate"}:
        return False
    prefix = rule.get("Prefix", "")
    return any(
        place.startswith(prefix) or (place[-1] == "/" and prefix.startswith(place)) for place in places
    )


def _encryption(properties: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    """How it encrypts what comes without a wish."""
    for rule in properties.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", ()):
        yield rule.get("ServerSideEncryptionByDefault", {})


def _warn_of_another_key(bucket: str, properties: Mapping[str, Any], settings: Settings) -> None:
    ours = settings.kms_key_arn or ""
    for default in _encryption(properties):
        key = default.get("KMSMasterKeyID")  # a principal of the account needs no leave for Amazon's own
        if key and key.rpartition("/")[2] != ours.rpartition("/")[2]:
            pulumi.warn(
                f"{bucket} is encrypted with {key}, which is not the stack's key (kms_key_arn). Its policy "
                "and execution_policy must let the execution role decrypt, and who runs pulumi up encrypt."
            )


def _without_its_dags(
    bucket: str, settings: Settings, colour: Colour, existing: Mapping[str, Any]
) -> Iterator[Problem]:
    before = existing.get("bucket")
    if before in (None, bucket):
        return
    folder = settings.environment(colour).dags_folder
    missing = _files(before, existing["dags_prefix"]) - _files(bucket, folder)
    if missing:
        first = sorted(missing)
        shown = ", ".join(first[:SHOWN]) + (f" and {len(first) - SHOWN} more" if len(first) > SHOWN else "")
        yield Problem(
            f"{bucket} lacks DAGs that {colour} has in {before}: {shown}",
            f"aws s3 sync s3://{before}/{existing['dags_prefix']} s3://{bucket}/{folder}",
        )


def _files(bucket: str, folder: str) -> set[str]:
    """The names below a folder of a bucket, but for the program's own; none of a bucket that is gone."""
    try:
        keys = aws.s3.get_objects(bucket=bucket, prefix=folder, max_keys=MOST_KEYS).keys
    except Exception as error:  # an invoke raises nothing narrower
        if "NoSuchBucket" in str(error):
            return set()
        raise pulumi.RunError(f"The DAGs in s3://{bucket}/{folder} cannot be listed: {error}") from error
    return {key.removeprefix(folder) for key in keys} - {"", *WRITTEN_FILES}
