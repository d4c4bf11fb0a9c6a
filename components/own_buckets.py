"""Buckets that exist: whether they are as Amazon MWAA needs them, and have the DAGs that run now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pulumi
import pulumi_aws as aws
from bluegreen.proof import WRITTEN_FILES
from bluegreen.timeline import Colour

from components.airflow.definition import PLUGINS, REQUIREMENTS, STARTUP
from components.config.settings import Settings
from components.guard import environments_of

BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
MOST_KEYS = 100_000
SHOWN = 3


class Problem(NamedTuple):
    """What is wrong with a bucket, and the command that puts it right."""

    text: str
    command: str


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
        try:
            found = aws.cloudcontrol.get_resource(type_name="AWS::S3::Bucket", identifier=bucket)
        except Exception as error:  # noqa: BLE001 - an invoke raises nothing narrower
            command = f"pulumi config set {settings.path(colour, 'dags_bucket')} <value> -s {settings.stack}"
            problems.append(Problem(f"{bucket} cannot be read: {error}", command))
            continue
        problems += _of_bucket(bucket, json.loads(found.properties), settings, colour)
        problems += _without_its_dags(bucket, settings, colour, environments_of(previous).get(colour, {}))
    if problems:
        lines = "\n".join(f"  {each.text}\n      {each.command}" for each in problems)
        raise pulumi.RunError(f"Buckets that cannot be used (dags_bucket); nothing was changed:\n{lines}")


def _of_bucket(
    bucket: str, properties: Mapping[str, Any], settings: Settings, colour: Colour
) -> Iterator[Problem]:
    """What Amazon MWAA, or this program, could not work with. `properties`: as CloudFormation has them."""
    setting = settings.path(colour, "dags_bucket")
    if f".{settings.region}." not in properties["RegionalDomainName"]:
        yield Problem(
            f"{bucket} is not in the stack's region, {settings.region} ({properties['RegionalDomainName']})",
            f"pulumi config set {setting} <value> -s {settings.stack}",
        )
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


def _warn_of_another_key(bucket: str, properties: Mapping[str, Any], settings: Settings) -> None:
    rules = properties.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", ())
    keys = (rule.get("ServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", "") for rule in rules)
    ours = settings.kms_key_arn or ""
    for key in keys:
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
            f"{bucket} has not the DAGs that {colour} has in {before}: {folder} lacks {shown}",
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
